"""The machine of a kernel host: its power button, which works on a machine that hangs too."""

from __future__ import annotations

import itertools
import json
import socket
import threading

import pytest

from lab.kernel_host import qemu

EVENT = {"event": "RTC_CHANGE", "timestamp": {"seconds": 1, "microseconds": 2}, "data": {}}


class Machine:
    """A server of QEMU's machine protocol (docs/interop/qmp-spec.rst), for one connection.

    :ivar asked: the names of the commands that came.
    """

    def __init__(self, path, *said_before):
        self.asked = []
        self._said_before = said_before
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def ended(self):
        self._thread.join(5)
        assert not self._thread.is_alive()
        self._server.close()

    def _serve(self):
        connection, _address = self._server.accept()
        with connection, connection.makefile("rw") as stream:
            self._say(stream, {"QMP": {"version": {}, "capabilities": []}})
            for line in stream:
                self.asked.append(json.loads(line)["execute"])
                for one in (*self._said_before, {"return": {}}):
                    self._say(stream, one)

    def _say(self, stream, answer):
        stream.write(json.dumps(answer) + "\r\n")
        stream.flush()


@pytest.mark.parametrize("said_before", [(), (EVENT,), (EVENT, EVENT)])
def test_the_power_button_is_pressed_whatever_events_come_between(tmp_path, said_before):
    machine = Machine(tmp_path / "qmp", *said_before)
    qemu.press_power_button(tmp_path)
    machine.ended()
    assert machine.asked == ["qmp_capabilities", "system_powerdown"]


def test_a_machine_that_is_off_or_gone_is_not_asked(tmp_path):
    qemu.press_power_button(tmp_path)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "qmp"))
    qemu.press_power_button(tmp_path)


def test_one_that_hangs_is_waited_for_no_longer_than_its_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(qemu, "_CONTROL_TIMEOUT_S", 0.1)
    with socket.socket(socket.AF_UNIX) as hanging:
        hanging.bind(str(tmp_path / "qmp"))
        hanging.listen()
        qemu.press_power_button(tmp_path)


def test_each_card_is_at_its_own_cable():
    cards = [("cable-a", "52:00:00:00:01:01"), ("cable-b", "52:00:00:00:01:02")]
    words = qemu.command("kernel1", "/lab/kernel1", cards, [])
    joined = " ".join(map(str, words))
    for number, (model, (cable, address)) in enumerate(
        zip(("virtio-net-pci", "igb"), cards, strict=True)
    ):
        assert f"-netdev tap,id=net{number},ifname={cable}," in joined
        assert f"-device {model},netdev=net{number},mac={address}," in joined


def test_each_folder_of_the_machine_is_shown_by_its_tag_and_cannot_be_changed():
    cards = [("cable-a", "52:00:00:00:01:01"), ("cable-b", "52:00:00:00:01:02")]
    words = qemu.command("kernel1", "/lab/kernel1", cards, ["/opt/wheels", "/srv/mirror"])
    shares = [after for word, after in itertools.pairwise(words) if word == "-virtfs"]
    for number, (share, path) in enumerate(
        zip(shares, ("/opt/wheels", "/srv/mirror"), strict=True)
    ):
        options = share.split(",")
        assert f"mount_tag={qemu.shown_as(number)}" in options
        assert "readonly=on" in options
        assert next(word for word in options if word.startswith("path=")).endswith(path)
