"""On a host without a kernel of its own the daemon is told all, and starts with the next boot."""

from __future__ import annotations


def test_the_daemon_is_told_what_was_asked_for(host):
    lines = host.file("/etc/nvidia/gridd.conf").content_string.splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        "ServerAddress=licenses.example",
        "ServerPort=7071",
        "BackupServerAddress=fd00::7",
        "BackupServerPort=7072",
        "FeatureType=4",
    ]


def test_the_daemon_starts_with_the_next_boot_and_not_before(host):
    unit = host.service("nvidia-gridd")
    assert unit.is_enabled
    assert not unit.is_running
