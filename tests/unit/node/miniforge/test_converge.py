"""Miniforge: what is asked for is resolved or refused; a prefix converges from what it holds."""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import shutil
import struct
import subprocess

import pytest
import trustme
import yaml

from ansible_collections.gpunode.stack.plugins.module_utils._node.miniforge import (
    converge,
    installer,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.miniforge import (
    removal as miniforge_removal,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import (
    disk,
    own_paths,
    unfinished_file,
    unfinished_folder,
)
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import wanted_state
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.components import miniforge
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.inputs import catalog

NEWEST, OLDER = catalog.rows("miniforge")[:2]
OWN = {
    "miniforge_version": "24.7.1-0",
    "miniforge_url": "https://mirror.example/Miniforge3-24.7.1-0-Linux-x86_64.sh",
    "miniforge_sha256": "c" * 64,
}
FREE = {"kind": "absent", "empty": True, "conda": False, "unfinished": False}

as_root = pytest.mark.skipif(
    getpass.getuser() != "root", reason="files belong to root; run as root"
)


def state(**variables):
    return wanted_state.Site(variables, "/inventory").wanted("miniforge")


def facts(prefix=None, room=2 * disk.GIB, **changes):
    return {
        "architecture": "x86_64",
        "mounts": [
            {"mount": "/", "fstype": "ext4", "size_total": room, "size_available": room},
        ],
        "paths": {"/opt/miniforge3": prefix or FREE, **changes.pop("paths", {})},
        **changes,
    }


def test_the_newest_of_the_catalog_is_wanted_unless_said_otherwise():
    assert state()["version"] == NEWEST["version"]
    assert state()["installer"] == {"url": NEWEST["url"], "sha256": NEWEST["sha256"]}
    assert state()["conda_version"] == NEWEST["version"].split("-")[0]
    assert state(miniforge_version=OLDER["version"])["installer"]["url"] == OLDER["url"]


def test_a_mirror_of_a_known_file_is_held_to_the_catalogs_digest():
    mirror = "https://mirror.example/m.sh"
    found = state(miniforge_version=OLDER["version"], miniforge_url=mirror)
    assert found["installer"] == {"url": mirror, "sha256": OLDER["sha256"]}


def test_an_installer_of_ones_own_needs_no_catalog():
    assert state(**OWN)["installer"] == {"url": OWN["miniforge_url"], "sha256": "c" * 64}
    assert state(**OWN)["conda_version"] == "24.7.1"


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"miniforge_version": "1.0-0"}, f"catalog knows {NEWEST['version']}"),
        ({"miniforge_sha256": "c" * 64}, "without miniforge_url"),
        ({**OWN, "miniforge_sha256": None}, "there is no miniforge_sha256"),
        ({**OWN, "miniforge_sha256": "C" * 64}, "64 digits from 0 to f"),
        ({**OWN, "miniforge_sha256": "c" * 40}, "64 digits from 0 to f"),
        ({**OWN, "miniforge_version": None}, "has to name the version"),
        ({**OWN, "miniforge_url": "ftp://mirror.example/m.sh"}, "no http, https or file"),
        ({"miniforge_prefix": "miniforge3"}, "not an absolute path"),
        ({"miniforge_ca_bundle": "/etc/gpunode/ca.pem"}, "made and removed by this role"),
    ],
)
def test_what_cannot_be_resolved_is_refused(variables, words):
    with pytest.raises(Refusal, match=words):
        state(**variables)


ADOPTED = {"kind": "directory", "empty": False, "conda": True, "unfinished": False, "sha256": ""}
CONDARC, PIP_CONF = "/opt/miniforge3/.condarc", "/opt/miniforge3/pip.conf"


def a_file(text):
    digest = hashlib.sha256(text.encode()).hexdigest()
    return {**FREE, "kind": "file", "empty": False, "sha256": digest}


def told(receipts=(), **paths):
    """Return what is told of an installation that is there, with files at .condarc and pip.conf."""
    found = {CONDARC: paths.get("condarc", FREE), PIP_CONF: paths.get("pip_conf", FREE)}
    seen = facts(ADOPTED, paths=found, receipts={name: {} for name in receipts})
    return [notice["says"].split()[0] for notice in miniforge.notices(state(), seen)]


def test_settings_of_an_adopted_installation_are_told_before_they_are_replaced():
    assert {CONDARC, PIP_CONF} <= set(miniforge.probe(state())["paths"])
    assert told() == []
    assert told(condarc=a_file("channels: [https://own.example]\n")) == [CONDARC]
    assert told(pip_conf=a_file("[global]\n"), condarc={**FREE, "kind": "link", "sha256": ""}) == [
        CONDARC, PIP_CONF,
    ]  # fmt: skip


def test_settings_that_are_as_wanted_or_ours_already_are_not_told():
    assert told(condarc=a_file(state()["condarc"])) == []
    assert told(["miniforge"], condarc=a_file("changed by hand")) == []


def test_nothing_is_told_of_settings_that_go():
    assert miniforge.notices(state(miniforge_state="absent"), facts(ADOPTED, receipts={})) == []


def test_a_mirror_is_configured_as_public_ones_document_it():
    text = state(
        miniforge_channels=["defaults"],
        miniforge_default_channels=["https://mirror.example/anaconda/pkgs/main"],
        miniforge_custom_channels={"conda-forge": "https://mirror.example/anaconda/cloud"},
        miniforge_channel_alias="https://mirror.example/anaconda/cloud",
        miniforge_proxy={"https": "http://proxy.example:3128"},
        miniforge_ca_bundle="/etc/ssl/own.pem",
    )["condarc"]
    assert yaml.safe_load(text) == {
        "auto_update_conda": False,
        "channel_alias": "https://mirror.example/anaconda/cloud",
        "channels": ["defaults"],
        "custom_channels": {"conda-forge": "https://mirror.example/anaconda/cloud"},
        "default_channels": ["https://mirror.example/anaconda/pkgs/main"],
        "notify_outdated_conda": False,
        "proxy_servers": {"https": "http://proxy.example:3128"},
        "show_channel_urls": True,
        "ssl_verify": "/etc/ssl/own.pem",
    }


def test_nothing_asked_for_leaves_conda_at_its_own_defaults():
    assert yaml.safe_load(state()["condarc"]) == {
        "auto_update_conda": False,
        "channels": ["conda-forge"],
        "notify_outdated_conda": False,
        "show_channel_urls": True,
    }
    assert state()["pip_conf"].splitlines()[1:] == ["[global]"]


def test_pip_gets_the_index_the_proxy_and_the_certificates():
    text = state(
        miniforge_pip_index_url="https://mirror.example/simple?a=%20",
        miniforge_pip_extra_index_urls=["https://a.example", "https://b.example"],
        miniforge_proxy={"http": "http://proxy.example:3128"},
        miniforge_ca_bundle="/etc/ssl/own.pem",
    )["pip_conf"]
    assert text.splitlines()[1:] == [
        "[global]",
        "index-url = https://mirror.example/simple?a=%20",
        "extra-index-url = https://a.example",
        "\thttps://b.example",
        "proxy = http://proxy.example:3128",
        "cert = /etc/ssl/own.pem",
    ]


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (facts(), None),
        (facts({**FREE, "kind": "directory"}), None),
        (facts({**FREE, "kind": "directory", "empty": False, "conda": True}, room=0), None),
        (facts({**FREE, "kind": "directory", "empty": False, "unfinished": True}), None),
        (facts({**FREE, "kind": "directory", "empty": False}), "something else"),
        (facts({**FREE, "kind": "file", "empty": False}), "something else"),
        (facts({**FREE, "kind": "link", "empty": False}), "something else"),
        (facts(room=disk.GIB), "1.0 GiB free, 1.2 GiB is needed"),
        (facts(architecture="aarch64"), "installer is for x86_64, the host is aarch64"),
    ],
)
def test_the_plan_refuses_what_cannot_work_on_the_host(found, words):
    refusals = [str(refusal) for refusal in miniforge.refusals(state(), found)]
    assert len(refusals) == (0 if words is None else 1)
    assert all(words in refusal for refusal in refusals)


def test_certificates_have_to_be_on_the_host():
    asked = state(miniforge_ca_bundle="/etc/ssl/own.pem")
    assert "/etc/ssl/own.pem" in miniforge.probe(asked)["paths"]
    (refusal,) = miniforge.refusals(asked, facts(paths={"/etc/ssl/own.pem": FREE}))
    assert "miniforge_ca_bundle /etc/ssl/own.pem" in str(refusal)
    there = {"/etc/ssl/own.pem": {**FREE, "kind": "file", "empty": False}}
    assert miniforge.refusals(asked, facts(paths=there)) == []


@pytest.fixture
def authority(tmp_path):
    path = tmp_path / "authority.pem"
    trustme.CA().cert_pem.write_to_path(path)
    return path


def test_certificates_of_the_controller_are_handed_over_and_trusted_by_all(authority):
    asked = state(miniforge_ca_source=str(authority))
    assert asked["ca_text"] == authority.read_text()
    assert asked["ca_bundle"] == asked["ca_path"] == "/etc/gpunode/ca.pem"
    assert yaml.safe_load(asked["condarc"])["ssl_verify"] == "/etc/gpunode/ca.pem"
    assert "cert = /etc/gpunode/ca.pem" in asked["pip_conf"].splitlines()
    assert "/etc/gpunode/ca.pem" not in miniforge.probe(asked)["paths"]
    assert miniforge.refusals(asked, facts()) == []


def test_certificates_lie_beside_the_inventory(authority):
    site = wanted_state.Site({"miniforge_ca_source": authority.name}, authority.parent)
    assert site.wanted("miniforge")["ca_text"] == authority.read_text()


def test_what_cannot_be_handed_over_as_certificates_is_refused(authority):
    both = {"miniforge_ca_source": str(authority), "miniforge_ca_bundle": "/etc/ssl/own.pem"}
    with pytest.raises(Refusal, match="miniforge_ca_bundle as well"):
        state(**both)
    with pytest.raises(Refusal, match=r"miniforge_ca_source: /none\.pem"):
        state(miniforge_ca_source="/none.pem")
    key = trustme.CA().private_key_pem.bytes().decode()
    authority.write_text(authority.read_text() + key)
    with pytest.raises(Refusal, match="holds a private key") as refused:
        state(miniforge_ca_source=str(authority))
    assert key.splitlines()[1] not in str(refused.value)
    authority.write_text("no certificate")
    with pytest.raises(Refusal, match="holds no -----BEGIN CERTIFICATE"):
        state(miniforge_ca_source=str(authority))


# An installer with the options of Miniforge's own, whose conda knows its version and no more. As
# the real one (conda 24.7, conda/common/configuration.py and conda/base/context.py) it says nothing
# but an error where its .condarc is no YAML, or names certificates that are not there.
INSTALLER = """#!/bin/sh
set -eu
FORCE=0
while getopts bfup: option; do case $option in
    p) PREFIX=$OPTARG;; u|f) FORCE=1;; b) ;; *) exit 1;;
esac; done
[ $FORCE = 1 ] || [ ! -e "$PREFIX" ] || { echo "ERROR: already exists: $PREFIX"; exit 1; }
FAIL
mkdir -p "$PREFIX/bin" "$PREFIX/conda-meta" "$PREFIX/pkgs"
rm -f "$PREFIX"/conda-meta/conda-*.json
touch "$PREFIX/conda-meta/history"
echo '{"name": "conda"}' > "$PREFIX/conda-meta/conda-VERSION-0.json"
cat > "$PREFIX/bin/conda" <<'END'
#!/bin/sh
[ -x "$(dirname "$0")/python" ] || exit 127
RC=$(dirname "$0")/../.condarc
die() { echo "{\\"exception_name\\": \\"$1\\", \\"message\\": \\"$2\\"}"; exit 1; }
[ ! -e "$RC" ] || ! grep -q '^[{[]' "$RC" || die ConfigurationLoadError "Unable to load it."
CA=$(sed -n 's/^ssl_verify: //p' "$RC" 2>/dev/null)
[ -z "$CA" ] || [ -e "$CA" ] || die CustomValidationError "ssl_verify must be a path that exists"
echo '{"conda_version": "VERSION"}'
END
printf '#!/bin/sh\\necho VERSION\\n' > "$PREFIX/bin/python"
chmod 755 "$PREFIX/bin/conda" "$PREFIX/bin/python"
"$PREFIX/bin/conda" info > /dev/null
"""


def execute(argv, environment):
    return subprocess.run(
        argv,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class Host:
    """A host's folders below tmp_path, and installers to ask for."""

    def __init__(self, path):
        self.path = path
        self.prefix = path / "miniforge3"
        self.places = {"state_dir": str(path / "state"), "work_dir": str(path / "cache")}

    def wanted(self, version="24.7.1", fail="", **variables):
        content = INSTALLER.replace("VERSION", version).replace("FAIL", fail)
        installer = self.path / f"{version}.sh"
        installer.write_text(content)
        return state(
            miniforge_prefix=str(self.prefix),
            miniforge_version=f"{version}-0",
            miniforge_url=f"file://{installer}",
            miniforge_sha256=hashlib.sha256(content.encode()).hexdigest(),
            **variables,
        )

    def die_building(self):
        with unfinished_folder.building(str(self.prefix), self.places["state_dir"]):
            (self.prefix / "half").mkdir(parents=True)
            raise KeyboardInterrupt

    def converge(self, asked, check_mode=False):
        return converge.converge_present(asked, execute, check_mode, **self.places)


@pytest.fixture
def host(tmp_path, monkeypatch):
    monkeypatch.setattr(own_paths, "CA_PATH", str(tmp_path / "etc" / "ca.pem"))
    return Host(tmp_path)


@as_root
def test_a_bare_host_gets_conda_and_the_prediction_comes_true(host):
    asked = host.wanted()
    predicted = host.converge(asked, check_mode=True)
    assert not host.prefix.exists()
    done = host.converge(asked)
    assert (
        predicted.changes
        == done.changes
        == [
            f"install Miniforge 24.7.1-0 in {host.prefix}",
            f"write {host.prefix}/.condarc",
            f"write {host.prefix}/pip.conf",
        ]
    )
    assert predicted.diff == done.diff
    assert {entry["path"] for entry in done.manifest} == {
        f"{host.prefix}/{name}"
        for name in ("bin/conda", "conda-meta/conda-24.7.1-0.json", ".condarc", "pip.conf")
    }
    assert not os.path.exists(host.places["work_dir"])
    assert host.converge(asked).changes == []


@as_root
def test_a_conda_of_the_wanted_version_is_adopted_however_it_came(host):
    asked = host.wanted()
    execute(["sh", str(host.path / "24.7.1.sh"), "-p", str(host.prefix)], {})
    changes = host.converge(asked).changes
    assert changes == [f"write {host.prefix}/.condarc", f"write {host.prefix}/pip.conf"]


@as_root
def test_an_empty_folder_is_taken_such_as_the_mount_point_of_a_disk(host):
    host.prefix.mkdir()
    host.converge(host.wanted())
    assert host.converge(host.wanted()).changes == []


@as_root
def test_an_update_that_was_cut_off_is_brought_to_its_end(host):
    host.converge(host.wanted())
    (host.prefix / "bin" / "conda").unlink()
    (host.prefix / "conda-meta" / "conda-24.7.1-0.json").unlink()
    host.converge(host.wanted("25.1.0"))
    assert host.converge(host.wanted("25.1.0")).changes == []


@as_root
def test_conda_is_asked_once_at_rest_and_once_more_after_each_change(host):
    asked = []

    def counted(argv, environment):
        asked.append(argv[1])
        return execute(argv, environment)

    for questions in (["info", "info"], ["info"]):
        asked.clear()
        converge.converge_present(host.wanted(), counted, False, **host.places)
        assert [argv for argv in asked if argv == "info"] == questions


@as_root
def test_what_an_update_writes_over_is_put_right(host):
    host.converge(host.wanted())
    spoil = 'echo spoilt > "$PREFIX/.condarc"'
    host.converge(host.wanted("25.1.0", fail=spoil))
    assert "spoilt" not in (host.prefix / ".condarc").read_text()
    assert host.converge(host.wanted("25.1.0", fail=spoil)).changes == []


@as_root
def test_another_version_is_updated_in_place(host):
    host.converge(host.wanted())
    (host.prefix / "envs").mkdir()
    changes = host.converge(host.wanted("25.1.0")).changes
    assert changes == [f"bring {host.prefix} from conda 24.7.1 to Miniforge 25.1.0-0"]
    assert (host.prefix / "envs").exists()


@as_root
def test_a_conda_that_does_not_answer_is_put_right(host):
    host.converge(host.wanted())
    (host.prefix / "bin" / "conda").unlink()
    (sentence,) = host.converge(host.wanted()).changes
    assert "from conda that does not answer to" in sentence


@as_root
@pytest.mark.parametrize("name", [".condarc", "pip.conf"])
def test_a_changed_file_is_written_again(host, name):
    host.converge(host.wanted())
    (host.prefix / name).write_text("changed")
    result = host.converge(host.wanted())
    assert result.changes == [f"write {host.prefix}/{name}"]
    (host.prefix / name).chmod(0o666)
    assert host.converge(host.wanted()).changes == [f"write {host.prefix}/{name}"]
    assert host.converge(host.wanted()).changes == []


def in_place_of(path):
    """Remove a file; return its path."""
    path.unlink()
    return path


# How the configuration that is ours, or what it names, came to keep conda from answering.
BROKEN = {
    "no YAML": lambda host: (host.prefix / ".condarc").write_text("[channels\n"),
    "YAML of something else": lambda host: (host.prefix / ".condarc").write_text("{a: {b\n"),
    "vanished certificates": lambda host: (host.path / "etc" / "ca.pem").unlink(),
    "the folder of certificates vanished": lambda host: shutil.rmtree(host.path / "etc"),
    "certificates of an earlier option": lambda host: (host.prefix / ".condarc").write_text(
        "ssl_verify: /gone/own.pem\n"
    ),
    "bytes that are no text": lambda host: (host.prefix / ".condarc").write_bytes(b"\xff\xfe\0x"),
    "nothing": lambda host: (host.prefix / ".condarc").write_text(""),
    "a link to nothing": lambda host: in_place_of(host.prefix / ".condarc").symlink_to("/gone"),
    "a link to another file": lambda host: in_place_of(host.prefix / ".condarc").symlink_to(
        host.prefix / "pip.conf"
    ),
    "settings of pip that are none": lambda host: (host.prefix / "pip.conf").write_text("[global"),
}


@as_root
@pytest.mark.parametrize("way", BROKEN)
def test_our_own_files_are_put_right_before_conda_is_asked_as_foretold(host, authority, way):
    asked = host.wanted(fail="exit 1", miniforge_ca_source=str(authority))
    host.converge(host.wanted(miniforge_ca_source=str(authority)))
    BROKEN[way](host)
    predicted = host.converge(asked, check_mode=True).changes
    assert host.converge(asked).changes == predicted
    assert [sentence.split()[0] for sentence in predicted] == ["write"]
    assert host.converge(asked).changes == []


@as_root
@pytest.mark.parametrize("check_mode", [True, False])
def test_a_folder_in_the_place_of_our_own_files_is_refused_by_its_path(host, check_mode):
    host.converge(host.wanted())
    in_place_of(host.prefix / ".condarc").mkdir()
    with pytest.raises(Refusal, match=r"\.condarc: it is a folder.* Move it away"):
        host.converge(host.wanted(), check_mode=check_mode)


@as_root
@pytest.mark.parametrize("way", BROKEN)
def test_an_update_comes_after_our_own_files_are_put_right(host, authority, way):
    host.converge(host.wanted(miniforge_ca_source=str(authority)))
    BROKEN[way](host)
    asked = host.wanted("25.1.0", miniforge_ca_source=str(authority))
    predicted = host.converge(asked, check_mode=True).changes
    assert host.converge(asked).changes == predicted
    assert predicted[-1] == f"bring {host.prefix} from conda 24.7.1 to Miniforge 25.1.0-0"
    assert host.converge(asked).changes == []


@as_root
@pytest.mark.parametrize("program", ["conda", "python"])
def test_a_conda_that_is_damaged_as_well_is_put_right_as_foretold(host, program):
    host.converge(host.wanted())
    (host.prefix / ".condarc").write_text("[channels\n")
    (host.prefix / "bin" / program).unlink()
    predicted = host.converge(host.wanted(), check_mode=True).changes
    assert host.converge(host.wanted()).changes == predicted
    assert "from conda that does not answer to" in predicted[-1]
    assert host.converge(host.wanted()).changes == []


@as_root
def test_certificates_are_there_before_the_download_and_go_with_the_option(host, authority):
    path = host.path / "etc" / "ca.pem"
    asked = host.wanted(fail=f"[ -f {path} ] || exit 1", miniforge_ca_source=str(authority))
    predicted = host.converge(asked, check_mode=True).changes
    assert not path.exists()
    done = host.converge(asked)
    assert predicted == done.changes
    assert f"write {path}" in done.changes
    assert path.read_text() == authority.read_text()
    assert str(path) in {entry["path"] for entry in done.manifest}
    assert host.converge(asked).changes == []
    path.write_text("changed")
    assert host.converge(asked).changes == [f"write {path}"]
    assert f"remove {path}" in host.converge(host.wanted()).changes
    assert not path.parent.exists()
    assert host.converge(host.wanted()).changes == []


@as_root
def test_an_installer_that_fails_leaves_nothing(host):
    with pytest.raises(Refusal, match="the installer failed: sorry"):
        host.converge(host.wanted(fail='mkdir "$PREFIX"; echo sorry; exit 1'))
    assert not host.prefix.exists()
    assert not os.path.exists(host.places["work_dir"])


@as_root
def test_what_has_come_of_an_installer_stays_only_where_it_is_gone_on_with(host, monkeypatch):
    def come_to_a_part(_url, path, *_more):
        os.makedirs(os.path.dirname(path))
        raise error("download", "it broke off", "Run again")

    monkeypatch.setattr(installer.download, "fetch", come_to_a_part)
    for error, stays in ((unfinished_file.ToBeContinued, True), (Refusal, False)):
        shutil.rmtree(host.places["work_dir"], ignore_errors=True)
        with pytest.raises(error):
            host.converge(host.wanted())
        assert os.path.exists(host.places["work_dir"]) == stays
        assert not host.prefix.exists()


@as_root
def test_a_full_disk_is_said_and_leaves_nothing(host):
    with pytest.raises(Refusal, match="is full"):
        host.converge(host.wanted(fail='mkdir "$PREFIX"; echo No space left on device; exit 1'))
    assert not host.prefix.exists()


@as_root
def test_an_installer_of_another_version_is_found_out(host):
    asked = {**host.wanted(), "conda_version": "25.1.0"}
    with pytest.raises(Refusal, match=r"conda says it is 24\.7\.1, wanted is 25\.1\.0"):
        host.converge(asked)
    assert not host.prefix.exists()


@as_root
def test_a_half_built_prefix_of_ours_is_built_anew(host):
    with pytest.raises(KeyboardInterrupt):
        host.die_building()
    host.converge(host.wanted())
    assert not (host.prefix / "half").exists()


@as_root
@pytest.mark.parametrize("content", ["notes.txt", "conda-meta/history"])
def test_what_is_no_conda_installation_is_refused_and_left_alone(host, content):
    path = host.prefix / content
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    for check_mode in (True, False):
        with pytest.raises(Refusal, match="holds something else"):
            host.converge(host.wanted(), check_mode)
    assert path.read_text() == "mine"


@as_root
def test_passwords_are_for_root_and_in_no_diff(host):
    asked = host.wanted(
        miniforge_pip_index_url="https://ob:geheim@mirror.example/simple",
        miniforge_proxy={"http": "http://ob:geheim@proxy.example:3128"},
    )
    result = host.converge(asked)
    assert "geheim" not in json.dumps([result.diff, result.changes])
    for name in (".condarc", "pip.conf"):
        assert "geheim" in (host.prefix / name).read_text()
        assert (host.prefix / name).stat().st_mode & 0o777 == 0o600


def removal(host, check_mode=False):
    return miniforge_removal.converge(
        str(host.prefix), check_mode, host.places["state_dir"], str(host.path / "root")
    )


def noted(host, *lines):
    notes = host.path / "root" / ".conda" / "environments.txt"
    notes.parent.mkdir(parents=True, exist_ok=True)
    notes.write_text("".join(f"{line}\n" for line in lines))
    return notes


def test_it_is_wanted_to_go_only_with_the_environments():
    asked = state(miniforge_state="absent")
    assert asked == {
        "state": "absent",
        "prefix": "/opt/miniforge3",
        "pip_config": "/opt/miniforge3/pip.conf",
    }
    assert (miniforge.present(asked), miniforge.absent(asked)) == ([], ["/opt/miniforge3"])
    with pytest.raises(Refusal, match="environments are wanted that it makes and repairs: web"):
        state(miniforge_state="absent", conda_env_list=[{"name": "web", "lock": "l"}])
    site = wanted_state.Site({"miniforge_state": "absent"}, "/inventory")
    assert miniforge.is_wanted(site)
    assert not miniforge.is_wanted(wanted_state.Site({}, "/inventory"))


def test_what_is_to_go_needs_no_room_and_must_be_ours():
    asked = state(miniforge_state="absent", miniforge_ca_bundle="/etc/ssl/own.pem")
    assert miniforge.probe(asked)["paths"] == ["/opt/miniforge3"]
    assert miniforge.refusals(asked, facts(room=0, architecture="aarch64")) == []
    foreign = facts({**FREE, "kind": "directory", "empty": False})
    assert "something else" in str(miniforge.refusals(asked, foreign)[0])


@as_root
def test_an_installation_that_is_to_go_leaves_nothing(host):
    host.converge(host.wanted())
    notes = noted(host, host.prefix, f"{host.prefix}/envs/x")
    predicted, done = removal(host, check_mode=True), removal(host)
    assert predicted.changes == done.changes
    assert done.changes == [f"remove {notes}", f"remove {host.prefix}"]
    assert not host.prefix.exists()
    assert not notes.parent.exists()
    assert done.manifest == [{"kind": "absence", "path": str(host.prefix)}]
    assert removal(host).changes == []


@as_root
def test_what_conda_noted_of_others_stays(host):
    host.converge(host.wanted())
    notes = noted(host, f"{host.prefix}-too/envs/x", f"{host.prefix}/envs/x")
    assert removal(host).changes[0] == f"take {host.prefix} out of {notes}"
    assert notes.read_text() == f"{host.prefix}-too/envs/x\n"


@as_root
def test_a_removal_that_was_cut_off_is_brought_to_its_end(host, monkeypatch):
    host.converge(host.wanted())

    def cut_off(path):
        (host.prefix / "conda-meta" / "history").unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", cut_off)
        with pytest.raises(KeyboardInterrupt):
            removal(host)
    assert removal(host).changes == [f"remove {host.prefix}"]
    assert not host.prefix.exists()


@as_root
def test_a_disk_that_is_mounted_there_is_emptied_and_stays(host, monkeypatch):
    host.converge(host.wanted())
    monkeypatch.setattr(os.path, "ismount", lambda path: path == str(host.prefix))
    done = removal(host)
    assert (os.listdir(host.prefix), done.manifest) == ([], [])
    assert removal(host).changes == []


@as_root
def test_an_installation_that_something_lives_in_does_not_go(host):
    host.converge(host.wanted())
    with subprocess.Popen(["cat"], cwd=host.prefix, stdin=subprocess.PIPE) as process:
        for check_mode in (True, False):
            with pytest.raises(Refusal, match=rf"process cat \(pid {process.pid}\)"):
                removal(host, check_mode)
        process.stdin.close()
    assert host.converge(host.wanted()).changes == []


@as_root
def test_an_installation_with_environments_of_others_does_not_go(host):
    host.converge(host.wanted())
    (host.prefix / "envs" / "hers" / "conda-meta").mkdir(parents=True)
    (host.prefix / "envs" / "hers" / "conda-meta" / "history").write_text("")
    with pytest.raises(Refusal, match=r"made by hand: .*/envs/hers"):
        removal(host)
    assert (host.prefix / "bin" / "conda").exists()


@as_root
def test_what_is_no_conda_installation_does_not_go(host):
    host.prefix.mkdir()
    (host.prefix / "notes.txt").write_text("mine")
    with pytest.raises(Refusal, match="holds something else"):
        removal(host)
    assert (host.prefix / "notes.txt").exists()


def given_away(path):
    os.chown(path, 65534, 65534)


def listed(path):
    # A list of the kernel: nobody writes, though owner and mode are root's as ever.
    entries = [(1, 7, -1), (2, 7, 65534), (4, 5, -1), (16, 7, -1), (32, 5, -1)]
    data = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    os.setxattr(path, "system.posix_acl_access", data)


@as_root
@pytest.mark.parametrize("check_mode", [True, False])
@pytest.mark.parametrize("spoil", [given_away, listed, lambda path: path.chmod(0o777)])
@pytest.mark.parametrize("place", ["", "bin", "bin/conda", ".."])
def test_in_a_prefix_that_others_could_change_nothing_is_run(host, place, spoil, check_mode):
    host.converge(host.wanted())
    spoil(host.prefix / place)
    run = []
    with pytest.raises(Refusal, match="others than root decide"):
        converge.converge_present(
            host.wanted("25.1.0"), lambda *asked: run.append(asked), check_mode, **host.places
        )
    assert run == []


@as_root
@pytest.mark.parametrize("check_mode", [True, False])
def test_below_a_folder_of_a_user_nothing_is_installed(host, check_mode):
    given_away(host.prefix.parent)
    run = []
    with pytest.raises(Refusal, match=r"belongs to nobody.*miniforge_prefix"):
        converge.converge_present(
            host.wanted(), lambda *asked: run.append(asked), check_mode, **host.places
        )
    assert run == []
    assert not host.prefix.exists()
