"""Sources of the driver's packages: the host's own kept to, and no more than is lacking."""

from __future__ import annotations

import base64
import functools
import subprocess

import pytest
from openpgp_key import FINGERPRINT, KEY
from trees import looked_at, planted

from ansible_collections.gpunode.stack.plugins.module_utils._node.packages import (
    openpgp,
    repositories,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import text_files
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.inputs import catalog

ROWS = {row["name"]: row for row in catalog.rows("repositories")}
# As the installer of Debian 12 and Debian's own images write them.
DEB822 = """\
Types: deb deb-src
# http://snapshot.debian.org/archive/debian/20250520T000000Z
URIs: http://mirror.example.com/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example.com/debian-security
Suites: bookworm-security
Components: main non-free-firmware
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""
LINES = """\
# deb cdrom:[Debian GNU/Linux 12.5.0]/ bookworm main
deb [arch=amd64 signed-by=/etc/apt/company.gpg] https://mirror.example.com/debian bookworm main #
deb-src https://mirror.example.com/debian bookworm main
"""
FULL = DEB822.replace("main non-free-firmware", "main").replace(
    "Components: main", "Components: main contrib non-free non-free-firmware"
)
PARTS = "/etc/apt/sources.list.d"


def own(**files):
    """Return the stanzas of a host with some files, {name of a file with _ for '.': text}."""
    paths = {
        "/etc/apt/sources.list"
        if name == "sources_list"
        else f"{PARTS}/{name.replace('_', '.')}": content
        for name, content in files.items()
    }
    return looked_at(repositories.own, paths)


def written(repository, stanzas, address="", distribution="Debian 12", release="bookworm"):
    """Return the stanzas that our file has, as {field: value}."""
    text = repositories.text(
        repositories.DRIVER, ROWS[repository], distribution, release, stanzas, address
    )
    assert not text or text.startswith("# Written by gpunode")
    return looked_at(repositories.own, {f"{PARTS}/x.sources": text})


def test_sources_of_either_form_are_those_in_use():
    stanzas = own(debian_sources=DEB822, sources_list=LINES, off_sources=f"Enabled: no\n{DEB822}")
    assert [(fields["URIs"], fields["Suites"]) for fields in stanzas] == [
        ("https://mirror.example.com/debian", "bookworm"),
        ("http://mirror.example.com/debian", "bookworm bookworm-updates"),
        ("http://mirror.example.com/debian-security", "bookworm-security"),
        ("http://mirror.example.com/debian-security", "bookworm-security"),
    ]


def test_an_option_of_a_line_is_the_field_of_that_meaning():
    (fields,) = own(sources_list=LINES)
    assert fields == {
        "Types": "deb",
        "URIs": "https://mirror.example.com/debian",
        "Suites": "bookworm",
        "Components": "main",
        "Architectures": "amd64",
        "Signed-By": "/etc/apt/company.gpg",
    }


def test_what_the_hosts_sources_lack_is_taken_from_where_they_are():
    assert written("debian", own(debian_sources=DEB822)) == [
        {
            "Types": "deb",
            "URIs": "http://mirror.example.com/debian",
            "Suites": "bookworm bookworm-updates",
            "Components": "contrib non-free non-free-firmware",
            "Signed-By": "/usr/share/keyrings/debian-archive-keyring.gpg",
        },
        {
            "Types": "deb",
            "URIs": "http://mirror.example.com/debian-security",
            "Suites": "bookworm-security",
            "Components": "contrib non-free",
            "Signed-By": "/usr/share/keyrings/debian-archive-keyring.gpg",
        },
    ]


def test_a_mirror_of_the_companys_and_its_key_are_kept_to():
    (fields,) = written("debian", own(sources_list=LINES))
    assert fields["URIs"] == "https://mirror.example.com/debian"
    assert fields["Signed-By"] == "/etc/apt/company.gpg"
    assert fields["Suites"] == "bookworm"


def test_nothing_is_written_where_the_host_has_it_all():
    assert (
        repositories.text(
            repositories.DRIVER, ROWS["debian"], "Debian 12", "bookworm", own(x_sources=FULL)
        )
        == ""
    )


def test_our_own_file_does_not_count_as_the_hosts():
    stanzas = own(**{"gpunode-nvidia_sources": FULL})
    assert stanzas == []


def test_backports_lie_beside_the_release():
    (fields,) = written("debian-backports", own(x_sources=FULL))
    assert (fields["URIs"], fields["Suites"]) == (
        "http://mirror.example.com/debian",
        "bookworm-backports",
    )
    assert fields["Components"] == "main contrib non-free non-free-firmware"


def test_a_key_inside_a_source_goes_along():
    key = "".join(f"\n {line or '.'}" for line in KEY.splitlines())
    before = f"Types: deb\nURIs: http://m/d\nSuites: bookworm\nComponents: main\nSigned-By:{key}\n"
    (fields,) = written("debian", own(x_sources=before))
    assert fields["Signed-By"] == key


def test_a_host_without_a_source_of_its_release_is_refused():
    with pytest.raises(Refusal, match="no source of this host has the suite bookworm"):
        written("debian", own(sources_list=LINES.replace("bookworm", "trixie")))


def test_an_address_of_the_users_is_taken_with_the_distributions_key():
    (fields,) = written("debian-backports", own(x_sources=FULL), "http://other.example.com/debian")
    assert fields["URIs"] == "http://other.example.com/debian"
    assert fields["Suites"] == "bookworm bookworm-backports"
    assert fields["Signed-By"] == "/usr/share/keyrings/debian-archive-keyring.gpg"


def test_nvidias_repository_has_its_address_and_a_keyring_of_its_own():
    fields = written("cuda", own(x_sources=FULL))
    assert fields == [
        {
            "Types": "deb",
            "URIs": "https://developer.download.nvidia.com/compute/cuda/repos/debian12/x86_64/",
            "Suites": "/",
            "Signed-By": "/etc/apt/keyrings/gpunode-nvidia.asc",
        }
    ]
    (mirrored,) = written("cuda", own(x_sources=FULL), "https://mirror.example.com/cuda")
    assert mirrored["URIs"] == "https://mirror.example.com/cuda/"


def test_nvidias_packages_for_debian_have_what_they_need_of_debian():
    assert [fields.get("Components") for fields in written("cuda", own(x_sources=DEB822))] == [
        None,
        "contrib",
    ]
    assert len(written("cuda", own(), "https://mirror.example.com/all")) == 1


def test_a_repository_is_not_guessed_at_for_another_distribution():
    with pytest.raises(Refusal, match="not known where it is for Debian 9"):
        written("cuda", [], distribution="Debian 9")


def cuda(fingerprint):
    part = {"distribution": "Debian 12", "directory": "d", "key": "k.pub"}
    return {**ROWS["cuda"], "distributions": [{**part, "fingerprint": fingerprint}]}


def test_the_key_that_the_catalog_knows_is_taken_from_the_repository():
    asked = []

    def read(url):
        asked.append(url)
        return KEY.encode()

    assert repositories.key(cuda(FINGERPRINT), "Debian 12", "http://m/c", read) == KEY
    assert asked == ["http://m/c/k.pub"]


def test_a_keyring_of_packets_is_taken_as_text():
    data = base64.b64decode("".join(KEY.splitlines()[2:-2]))
    given = repositories.key(cuda(FINGERPRINT), "Debian 12", "http://m/c", lambda _url: data)
    assert openpgp.fingerprints(given) == [FINGERPRINT]


@pytest.mark.parametrize("given", [KEY.encode() * 2, b"<html>", b""])
def test_another_key_and_one_more_are_refused(given):
    with pytest.raises(Refusal, match=f"wanted is {FINGERPRINT}"):
        repositories.key(cuda(FINGERPRINT), "Debian 12", "http://m/c", lambda _url: given)
    with pytest.raises(Refusal, match=f"its fingerprint is {FINGERPRINT}"):
        repositories.key(cuda("0" * 40), "Debian 12", "http://m/c", lambda _url: KEY.encode())


@pytest.mark.parametrize(
    ("distribution", "folder", "key"),
    [
        ("RedHat 9", "rhel9", "file:///etc/pki/rpm-gpg/RPM-GPG-KEY-gpunode-nvidia"),
        # Of which the catalog has no fingerprint.
        (
            *("RedHat 10", "rhel10"),
            "https://developer.download.nvidia.com/compute/cuda/repos/rhel10/x86_64/CDF6BA43.pub",
        ),
    ],
)
def test_dnf_checks_each_package_by_the_key_that_is_known(distribution, folder, key):
    text = repositories.dnf_text(repositories.DRIVER, ROWS["cuda"], distribution)
    where = f"https://developer.download.nvidia.com/compute/cuda/repos/{folder}/x86_64/"
    assert text.splitlines()[1:] == [
        "[gpunode-nvidia]",
        "name=NVIDIA driver",
        f"baseurl={where}",
        "enabled=1",
        "gpgcheck=1",
        f"gpgkey={key}",
        # A stream hides the versions of all others (dnf.conf(5), module_hotfixes).
        "module_hotfixes=1",
    ]


def el9(fingerprint=FINGERPRINT):
    part = {"distribution": "RedHat 9", "directory": "d", "key": "k.pub"}
    return {**ROWS["cuda"], "distributions": [{**part, "fingerprint": fingerprint}]}


EL9 = {"pkg_mgr": "dnf", "distribution": "Rocky", "distribution_major_version": "9"}


@pytest.mark.parametrize(
    ("there", "is_stale"), [(None, True), ("another", True), (KEY * 2, True), (KEY, False)]
)
def test_a_key_that_lies_there_for_dnf_is_held_to_the_fingerprint(
    tmp_path, monkeypatch, there, is_stale
):
    files = repositories.DRIVER._replace(
        dnf_repository=str(tmp_path / "x.repo"), dnf_key=str(tmp_path / "key")
    )
    if there is not None:
        (tmp_path / "key").write_text(there)
    sources = repositories.Sources(files, el9(), EL9, None, "http://m/c")
    assert (files.dnf_key in sources.stale()) is is_stale


def test_the_distributions_own_archive_needs_no_key_of_ours(tmp_path):
    facts = {
        **{"pkg_mgr": "apt", "distribution": "Debian"},
        **{"distribution_major_version": "12", "distribution_release": "bookworm"},
    }
    tree = planted(tmp_path, {"/etc/apt/sources.list.d/debian.sources": DEB822})
    sources = repositories.Sources(repositories.DRIVER, ROWS["debian"], facts, tree, "")
    assert list(sources.stale()) == [repositories.DRIVER.source]


def test_where_no_fingerprint_is_known_for_dnf_no_key_is_fetched(tmp_path, monkeypatch):
    files = repositories.DRIVER._replace(
        dnf_repository=str(tmp_path / "x.repo"), dnf_key=str(tmp_path / "key")
    )
    monkeypatch.setattr(repositories, "key", lambda *_asked: pytest.fail("a key was fetched"))
    placed = []
    monkeypatch.setattr(
        repositories, "offer", lambda _files, wanted, _execute: placed.append(wanted)
    )
    sources = repositories.Sources(files, el9(None), EL9, None, "http://m/c")
    sources.offer(answering(0))
    assert [list(wanted) for wanted in placed] == [[files.dnf_repository]]
    assert list(sources.stale()) == [files.dnf_repository]
    assert "gpgkey=http://m/c/k.pub\n" in placed[0][files.dnf_repository].text


def test_dnf_is_asked_for_our_lists_alone_and_tells_why_it_cannot_have_them(tmp_path, monkeypatch):
    files = repositories.RDMA._replace(dnf_repository=str(tmp_path / "gpunode-rdma.repo"))
    wanted = {files.dnf_repository: text_files.of("[gpunode-rdma]\n")}
    put = {"owner": None, "group": None}
    monkeypatch.setattr(text_files, "_is_as", lambda there, file: there.text == file.text)
    write = text_files.files.write_text
    monkeypatch.setattr(
        text_files.files, "write_text", lambda path, text, mode: write(path, text, **put, mode=mode)
    )
    execute = answering(0)
    repositories.offer(files, wanted, execute)
    assert "--repo=gpunode-rdma" in execute.told[0]
    execute = answering(1, "Errors during downloading metadata:\nError: Failed to download x\n")
    with pytest.raises(Refusal) as refused:
        repositories.offer(files, wanted, execute)
    assert refused.value.because == "Error: Failed to download x"


def test_all_that_tells_of_a_repository_is_known_as_ours():
    for files in (repositories.DRIVER, repositories.RDMA):
        assert repositories.paths(files) == [part for part in files if part.startswith("/etc/")]


def test_another_key_for_dnf_leaves_the_host_as_it_was(tmp_path, monkeypatch):
    files = repositories.DRIVER._replace(
        dnf_repository=str(tmp_path / "x.repo"), dnf_key=str(tmp_path / "key")
    )
    given = functools.partial(repositories.key, read=lambda _url: KEY.encode())
    monkeypatch.setattr(repositories, "key", given)
    sources = repositories.Sources(files, el9("0" * 40), EL9, None, "http://m/c")
    execute = answering(0)
    with pytest.raises(Refusal, match=f"its fingerprint is {FINGERPRINT}"):
        sources.offer(execute)
    assert (execute.told, list(tmp_path.iterdir())) == ([], [])


@pytest.fixture
def paths(tmp_path, monkeypatch):
    """Our files in a folder of the test's, whoever runs it."""
    source, keyring = str(tmp_path / "x.sources"), str(tmp_path / "x.asc")
    monkeypatch.setattr(
        repositories, "DRIVER", repositories.DRIVER._replace(source=source, keyring=keyring)
    )
    monkeypatch.setattr(text_files, "_is_as", lambda there, file: there.text == file.text)
    write = text_files.files.write_text
    monkeypatch.setattr(
        text_files.files, "write_text", lambda path, text, mode: write(path, text, None, None, mode)
    )
    return source, keyring


def answering(status, stderr=""):
    def execute(argv, _environment):
        execute.told.append(argv)
        return subprocess.CompletedProcess(argv, status, "", stderr)

    execute.told = []
    return execute


def test_lists_of_our_source_alone_are_fetched(paths):
    source, keyring = paths
    execute = answering(0)
    repositories.offer(
        repositories.DRIVER, {keyring: text_files.of(KEY), source: text_files.of("new\n")}, execute
    )
    assert text_files.read(source) == "new\n"
    (argv,) = execute.told
    assert "Dir::Etc::sourceparts=-" in argv


@pytest.mark.parametrize("before", [None, "old\n"])
def test_a_repository_that_is_dead_leaves_the_sources_as_they_were(paths, before):
    source, keyring = paths
    if before:
        text_files.put(source, text_files.of(before))
    execute = answering(100, "W: some\nE: Failed to fetch http://m/c/InRelease  404  Not Found\n")
    with pytest.raises(Refusal, match=r"404 {2}Not Found\. Correct nvidia_driver_repository_url"):
        repositories.offer(
            repositories.DRIVER,
            {keyring: text_files.of(KEY), source: text_files.of("new\n")},
            execute,
        )
    assert (text_files.read(source), text_files.read(keyring)) == (before, None)


def test_nothing_is_fetched_for_a_source_that_goes(paths):
    source, _keyring = paths
    text_files.put(source, text_files.of("old\n"))
    execute = answering(0)
    repositories.offer(repositories.DRIVER, {source: text_files.of(None)}, execute)
    assert execute.told == []


def test_offers_are_those_of_binary_packages():
    madison = (
        " libcuda1 | 535.261.03-1 | http://m/debian bookworm/non-free amd64 Packages\n"
        "nvidia-persistenced | 535.171.04-1 | http://m/debian bookworm/contrib amd64 Packages\n"
        "nvidia-persistenced | 535.171.04-1 | http://m/debian bookworm/contrib Sources\n"
    )
    found = looked_at(
        lambda tree: repositories.offered(tree, ["libcuda1"]), answers={"apt-cache": madison}
    )
    assert found == {"libcuda1": ["535.261.03-1"], "nvidia-persistenced": ["535.171.04-1"]}


def test_nothing_is_offered_where_apt_does_not_answer():
    assert looked_at(lambda tree: repositories.offered(tree, ["libcuda1"])) == {}


def test_a_version_that_no_host_is_given_any_more_is_stopped_unless_it_is_installed():
    # As apt 2.6 prints it.
    table = """\
{name}:
  Installed: {installed}
  Candidate: 580.126.20-0ubuntu1
  Version table:
     580.159.03-0ubuntu1 500 (phased 10%)
        500 http://m/ubuntu noble-updates/restricted amd64 Packages
 {mark} 580.126.20-0ubuntu1 500 (phased 0%)
        500 http://m/ubuntu noble-updates/restricted amd64 Packages
     580.95.05-0ubuntu1 500
        500 http://m/ubuntu noble/restricted amd64 Packages
"""
    names = ["nvidia-utils-580-server", "libnvidia-compute-580-server"]
    policy = table.format(name=names[0], installed="(none)", mark="   ")
    policy += table.format(name=names[1], installed="580.126.20-0ubuntu1", mark="***")
    found = looked_at(lambda tree: repositories.stopped(tree, names), answers={"apt-cache": policy})
    assert found == {names[0]: ["580.126.20-0ubuntu1"]}
