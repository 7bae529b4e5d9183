"""What changes a unit besides its own file, as systemd.unit(5) has it."""

from __future__ import annotations

import os

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.system import drop_ins, root

UNIT = "my-web.service"


@pytest.fixture
def tree(tmp_path):
    """A host's files; and a function that writes one of them."""

    def write(path, text="[Service]\nUser=root\n"):
        place = tmp_path / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        return path

    return root.Root(str(tmp_path)), write


@pytest.mark.parametrize(
    "path",
    [
        "/etc/systemd/system/my-web.service.d/override.conf",
        "/run/systemd/system/my-web.service.d/override.conf",
        "/usr/lib/systemd/system/my-web.service.d/override.conf",
        "/usr/local/lib/systemd/system/my-web.service.d/override.conf",
        "/lib/systemd/system/my-web.service.d/override.conf",
        # systemctl set-property, with --runtime or without.
        "/etc/systemd/system.control/my-web.service.d/50-MemoryMax.conf",
        "/run/systemd/system.control/my-web.service.d/50-MemoryMax.conf",
        "/run/systemd/generator/my-web.service.d/x.conf",
        "/etc/systemd/system/my-.service.d/x.conf",
        "/etc/systemd/system/service.d/x.conf",
        # As LXC's generator and systemd of Fedora have it.
        "/run/systemd/system/service.d/zzz-lxc-service.conf",
        "/usr/lib/systemd/system/service.d/10-timeout-abort.conf",
    ],
)
def test_a_drop_in_is_found_wherever_systemd_looks(tree, path):
    host, write = tree
    write(path)
    assert list(drop_ins.of(UNIT, host)) == [path]


@pytest.mark.parametrize(
    "path",
    [
        "/etc/systemd/system/my-web.socket.d/x.conf",
        "/etc/systemd/system/web.service.d/x.conf",
        "/etc/systemd/system/my-web-.service.d/x.conf",
        "/etc/systemd/system/socket.d/x.conf",
        "/etc/systemd/system/my-web.service.d/x.conf.rpmsave",
        "/etc/systemd/user/my-web.service.d/x.conf",
    ],
)
def test_what_systemd_would_not_read_for_this_unit_is_none(tree, path):
    host, write = tree
    write(path)
    assert drop_ins.of(UNIT, host) == {}


def test_of_two_of_one_name_the_first_one_counts_and_their_names_order_them(tree):
    host, write = tree
    write("/etc/systemd/system/service.d/20-a.conf")
    write("/usr/lib/systemd/system/my-web.service.d/20-a.conf")
    first = write("/etc/systemd/system/my-.service.d/20-a.conf")
    earlier = write("/usr/lib/systemd/system/service.d/10-b.conf")
    assert list(drop_ins.of(UNIT, host)) == [earlier, first]


def test_a_name_with_several_dashes_begins_like_several_folders(tree):
    host, write = tree
    paths = [
        write(f"/etc/systemd/system/{folder}.d/{number}.conf")
        for number, folder in enumerate(("a-b-c.service", "a-b-.service", "a-.service"))
    ]
    write("/etc/systemd/system/a.service.d/9.conf")
    assert list(drop_ins.of("a-b-c.service", host)) == paths


@pytest.mark.parametrize(
    ("first", "other"),
    [
        ("/etc/systemd/system.control", "/run/systemd/system.control"),
        ("/run/systemd/system.control", "/etc/systemd/system"),
        ("/etc/systemd/system", "/run/systemd/system"),
        ("/run/systemd/system", "/usr/lib/systemd/system"),
        ("/usr/local/lib/systemd/system", "/usr/lib/systemd/system"),
    ],
)
def test_of_two_folders_the_first_one_counts_as_with_systemd(tree, first, other):
    host, write = tree
    write(f"{other}/my-web.service.d/x.conf")
    path = write(f"{first}/my-web.service.d/x.conf")
    assert list(drop_ins.of(UNIT, host)) == [path]


@pytest.mark.parametrize(
    ("path", "is_own"),
    [
        ("/etc/systemd/system/my-web.service.d/x.conf", True),
        ("/run/systemd/system.control/my-web.service.d/x.conf", True),
        ("/etc/systemd/system/my-.service.d/x.conf", False),
        ("/etc/systemd/system/service.d/x.conf", False),
    ],
)
def test_a_drop_in_of_a_unit_alone_lies_in_its_own_folder(path, is_own):
    assert drop_ins.is_of(UNIT, path) is is_own


@pytest.mark.parametrize(
    ("path", "is_so"),
    [
        ("/etc/systemd/system.control/my-web.service.d/50-MemoryMax.conf", True),
        ("/run/systemd/system.control/my-web.service.d/50-CPUQuota.conf", True),
        ("/etc/systemd/system/my-web.service.d/50-MemoryMax.conf", False),
        ("/etc/systemd/system.controlled/my-web.service.d/x.conf", False),
    ],
)
def test_what_set_property_writes_holds_at_once(path, is_so):
    assert drop_ins.holds_at_once(path) is is_so


def test_one_that_sets_nothing_is_none_and_hides_what_it_masks(tree, tmp_path):
    host, write = tree
    write("/usr/lib/systemd/system/service.d/10-a.conf")
    write("/etc/systemd/system/service.d/10-a.conf", "# nothing\n[Service]\n; User=root\n")
    write("/usr/lib/systemd/system/my-web.service.d/20-b.conf")
    mask = tmp_path / "etc/systemd/system/my-web.service.d/20-b.conf"
    mask.parent.mkdir()
    mask.symlink_to("/dev/null")
    assert drop_ins.of(UNIT, host) == {}


def test_another_text_is_another_digest(tree):
    host, write = tree
    path = write("/etc/systemd/system/my-web.service.d/x.conf")
    before = drop_ins.of(UNIT, host)
    write(path, "[Service]\nUser=web\n")
    assert drop_ins.of(UNIT, host) != before


SAID = {
    "what it sets": (
        "[Service]\nUser=root\nProtectSystem = no\n[Unit]\nAfter=x.service\n",
        "User=root, ProtectSystem=no, After=x.service",
    ),
    "what it resets": ("[Service]\nSystemCallFilter=\n", "SystemCallFilter="),
    "a setting of several lines": (
        "[Service]\nBindPaths=/a \\\n  /b \\\n  /c\n", "BindPaths=/a  /b  /c",
    ),
    "a variable": ("[Service]\nEnvironment=TOKEN=hush\n", "Environment=..."),
    "a comment of each kind that seems to go on": (
        "[Service]\n; note \\\nUser=root\n# note \\\nNice=1\n", "User=root, Nice=1",
    ),
    "a credential that is encrypted": (
        "[Service]\nSetCredentialEncrypted=t:hush\n", "SetCredentialEncrypted=...",
    ),
    "an input in base64": ("[Service]\nStandardInputData=aHVzaA==\n", "StandardInputData=..."),
    "a credential": ("[Service]\nSetCredential=t:hush\n", "SetCredential=..."),
    "an input": ("[Service]\nStandardInputText=hush\n", "StandardInputText=..."),
    "a command": ("[Service]\nExecStart=\nExecStart=/x --key hush\n", "ExecStart=, ExecStart=..."),
    "an address": ("[Unit]\nDocumentation=https://u:hush@x/\n", "Documentation=https://***@x/"),
    "a terminal's words": ("[Unit]\nDescription=a\x1b[31mb\n", "Description=a?[31mb"),
    "a long value": (f"[Unit]\nDescription={'x' * 99}\n", f"Description={'x' * 80}..."),
    "a value that is as long as is shown": (
        f"[Unit]\nDescription={'x' * 80}\n", f"Description={'x' * 80}",
    ),
    "as many as are shown": ("[Service]\n" + "Nice=1\n" * 8, ", ".join(["Nice=1"] * 8)),
    "many": ("[Service]\n" + "Nice=1\n" * 10, ", ".join(["Nice=1"] * 8 + ["2 more"])),
}  # fmt: skip


@pytest.mark.parametrize("kind", SAID)
def test_what_a_drop_in_sets_is_said_without_secrets(tree, kind):
    host, write = tree
    text, said = SAID[kind]
    path = write("/etc/systemd/system/my-web.service.d/x.conf", text)
    assert drop_ins.says(path, host) == f"{path} ({said})"


def test_a_pipe_in_its_place_keeps_nobody_waiting(tree, tmp_path):
    host, _write = tree
    folder = tmp_path / "etc/systemd/system/my-web.service.d"
    folder.mkdir(parents=True)
    os.mkfifo(folder / "x.conf")
    assert drop_ins.of(UNIT, host) == {}
