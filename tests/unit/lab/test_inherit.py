"""What nodes take over from the machine: apt, pip, resolver."""

from __future__ import annotations

import configparser

import pytest

from lab import apt_settings, inherit, pip_settings
from lab.errors import LabError

MIRROR = "https://mirror.example/debian"


def sources(text, name="x.list", release="trixie"):
    return apt_settings.debian_sources({name: text}, "bookworm", release)


def test_a_one_line_source_is_rewritten_for_the_other_release():
    assert sources(f"deb {MIRROR} bookworm main contrib # ours\n") == (
        f"Types: deb\nURIs: {MIRROR}\nSuites: trixie\nComponents: main contrib\n"
    )


def test_options_of_a_one_line_source_become_fields():
    text = sources(f"deb [arch=amd64,i386 signed-by=/k.gpg] {MIRROR} bookworm main\n")
    assert "Architectures: amd64 i386\n" in text
    assert "Signed-By: /k.gpg\n" in text


def test_a_deb822_source_keeps_its_fields_and_loses_its_comments():
    text = sources(
        f"# from the installer\nTypes: deb deb-src\nuris: {MIRROR}\n# all of it\n"
        "Suites: bookworm bookworm-updates bookworm-backports\nComponents: main\n"
        "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n key\n",
        "x.sources",
    )
    assert text == (
        f"Types: deb\nURIs: {MIRROR}\nSuites: trixie trixie-updates trixie-backports\n"
        "Components: main\n"
        "Signed-By: \n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n key\n"
    )


def test_the_machines_own_release_stays_what_it_is():
    text = f"deb {MIRROR} bookworm-security main\n"
    assert "Suites: bookworm-security\n" in sources(text, release="bookworm")


def test_a_source_named_stable_is_fixed_to_the_nodes_release():
    assert "Suites: trixie-updates\n" in sources(f"deb {MIRROR} stable-updates main\n")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.list", "deb https://other.example/pg bookworm-pgdg main\n"),
        ("x.list", "deb https://other.example/docker bookworm stable\n"),
        ("x.list", f"deb-src {MIRROR} bookworm main\n"),
        ("x.list", f"# deb {MIRROR} bookworm main\n"),
        (
            "x.sources",
            f"Types: deb\nURIs: {MIRROR}\nSuites: bookworm\nComponents: main\nEnabled: no\n",
        ),
    ],
)
def test_what_is_not_a_debian_source_in_use_does_not_count(name, text):
    kept = f"deb {MIRROR} bookworm main\n"
    both = apt_settings.debian_sources({"a.list": kept, name: text}, "bookworm", "trixie")
    assert both == sources(kept)
    with pytest.raises(LabError, match="component main"):
        sources(text, name)


def test_the_same_source_twice_is_one():
    line = f"deb {MIRROR} bookworm main\n"
    assert sources(line * 2) == sources(line)


DUMP = """\
APT::Update::Post-Invoke:: "rm -f /var/cache/apt/archives/*.deb";
DPkg::Pre-Install-Pkgs:: "/usr/sbin/apt-listchanges --apt";
Acquire::http::Proxy "http://proxy.example:3128";
Acquire::http::Proxy-Auto-Detect "/usr/bin/auto-apt-proxy";
Acquire::https::mirror.example::CaInfo "/etc/ssl/company.pem";
Acquire::Check-Valid-Until "false";
Dir::Cache "var/cache/apt";
"""


def test_apt_takes_over_how_the_mirror_is_reached_and_no_hook():
    assert apt_settings.configuration(DUMP, {}).splitlines() == [
        'Acquire::http::Proxy "http://proxy.example:3128";',
        'Acquire::https::mirror.example::CaInfo "/etc/ssl/company.pem";',
        'Acquire::Check-Valid-Until "false";',
    ]


def test_a_proxy_of_the_environment_reaches_apt_unless_apt_has_its_own():
    environment = {"http_proxy": "http://a.example", "https_proxy": "http://b.example"}
    text = apt_settings.configuration(DUMP, environment)
    assert "a.example" not in text
    assert 'Acquire::https::Proxy "http://b.example";' in text


def test_the_paths_that_apt_settings_name_are_found():
    text = (
        "URIs: mirror+file:///etc/apt/mirrors/debian.list\nSigned-By: /k/a.gpg\n"
        "\nURIs: file:/srv/mirror\nSigned-By: -----BEGIN\n"
    )
    conf = apt_settings.configuration(DUMP, {})
    assert apt_settings.local_paths(text, conf) == [
        "/etc/apt/mirrors/debian.list",
        "/etc/ssl/company.pem",
        "/k/a.gpg",
        "/srv/mirror",
    ]


def node_pip(texts, environment=None, there=()):
    text, paths = pip_settings.for_node(
        pip_settings.merged(texts, environment or {}), exists=set(there).__contains__
    )
    parser = configparser.RawConfigParser()
    parser.read_string(text)
    return {section: dict(parser[section]) for section in parser.sections()}, paths


def test_the_stronger_file_wins():
    texts = [
        "[global]\nindex-url = https://a.example\nretries = 1\n",
        "[global]\nindex_url = https://b.example\n",
    ]
    assert node_pip(texts)[0] == {"global": {"index-url": "https://b.example", "retries": "1"}}


def test_the_environment_is_stronger_than_any_section():
    texts = ["[install]\nindex-url = https://a.example\n"]
    environment = {"PIP_INDEX_URL": "https://c.example", "PIP_NO_INDEX": ""}
    assert node_pip(texts, environment)[0] == {"global": {"index-url": "https://c.example"}}


def test_what_pip_does_with_packages_is_not_taken_over():
    texts = ["[global]\ncache-dir = /c\nrequire-virtualenv = true\n[install]\nuser = true\n"]
    assert node_pip(texts, {"PIP_TARGET": "/t"}) == ({}, [])


def test_a_folder_that_is_not_there_is_left_out_and_one_that_is_there_comes_along():
    texts = ["[global]\nfind-links = /gone\n  /wheels\n  https://w.example\n"]
    settings, paths = node_pip(texts, there=["/wheels"])
    assert settings["global"]["find-links"] == "/wheels https://w.example"
    assert paths == ["/wheels"]


def test_a_local_index_comes_along_with_the_files_beside_it():
    texts = ["[global]\nextra-index-url = file:///opt/pypi/simple/ file:///gone\n"]
    settings, paths = node_pip(texts, there=["/opt/pypi/simple"])
    assert settings["global"]["extra-index-url"] == "file:///opt/pypi/simple/"
    assert paths == ["/opt/pypi"]


def test_a_setting_of_which_nothing_is_left_is_left_out():
    assert node_pip(["[global]\nfind-links = /gone\n"]) == ({}, [])


def test_a_certificate_that_is_there_comes_along():
    settings, paths = node_pip([], {"PIP_CERT": "/etc/company.pem"}, there=["/etc/company.pem"])
    assert settings["global"] == {"cert": "/etc/company.pem"}
    assert paths == ["/etc/company.pem"]


def test_pip_without_configuration_files_has_none():
    assert pip_settings.machine_files({"PIP_CONFIG_FILE": "/dev/null"}, "/root") == []


def test_the_users_file_is_stronger_than_the_machines():
    files = pip_settings.machine_files({"PIP_CONFIG_FILE": "/named"}, "/root")
    assert files.index("/etc/pip.conf") < files.index("/root/.config/pip/pip.conf")
    assert files[-1] == "/named"


def test_a_folder_is_shown_and_a_file_copied_unless_the_base_has_its_own(tmp_path):
    base = tmp_path / "base"
    for name in ("folder", "file", "own"):
        (tmp_path / name).mkdir() if name == "folder" else (tmp_path / name).write_text(name)
    (tmp_path / "file").chmod(0o600)
    own = base / str(tmp_path / "own").lstrip("/")
    own.parent.mkdir(parents=True)
    own.touch()
    inherited = inherit.Inheritance()
    names = ("folder", "file", "own", "gone")
    inherited.add_local([str(tmp_path / name) for name in names], base)
    assert inherited.folders == [str(tmp_path / "folder")]
    assert inherited.files == {str(tmp_path / "file"): (b"file", 0o600)}


def test_a_node_asks_the_machines_name_servers():
    text = "search example.org\nnameserver 192.0.2.53\nnameserver fd00::1\noptions edns0\n"
    assert inherit.resolver_text(text, "", "10.213.7.1") == (
        "nameserver 192.0.2.53\nsearch example.org\noptions edns0\n"
    )


def test_a_node_asks_the_servers_behind_a_local_resolver():
    text = inherit.resolver_text("nameserver 127.0.0.53\n", "nameserver 192.0.2.9\n", "10.213.7.1")
    assert text == "nameserver 192.0.2.9\n"


def test_a_node_asks_the_machine_where_nothing_else_is_known():
    assert inherit.resolver_text("nameserver ::1\n", "", "10.213.7.1") == "nameserver 10.213.7.1\n"
