# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where a host's apt and dnf take a component's packages from.

A distribution's own archive is taken from where the host takes it from already, so that a mirror
of the company's is kept to; what its sources have is not written once more.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Callable, NamedTuple

from .. import steps, urls
from ..facts_shape import Identity
from ..refusal import Refusal
from ..system import commands, distribution, download, text_files
from ..system.commands import Execute
from ..system.root import Root
from . import deb_version, openpgp

# A source of packages in the form of deb822: {field: value}.
Stanza = dict[str, str]


class Files(NamedTuple):
    """What a component places, each an absolute path.

    :ivar title: its packages in words.
    :ivar option: the one that names another address.
    """

    source: str
    keyring: str
    dnf_repository: str
    dnf_key: str
    title: str
    option: str


def _files(name: str, title: str, option: str) -> Files:
    return Files(
        f"/etc/apt/sources.list.d/gpunode-{name}.sources",
        f"/etc/apt/keyrings/gpunode-{name}.asc",
        f"/etc/yum.repos.d/gpunode-{name}.repo",
        f"/etc/pki/rpm-gpg/RPM-GPG-KEY-gpunode-{name}",
        title,
        option,
    )


DRIVER = _files("nvidia", "NVIDIA driver", "nvidia_driver_repository_url")
RDMA = _files("rdma", "DOCA-OFED", "mlnx_ofed_repository_url")
_MARK = "# Written by gpunode; what is changed here by hand is lost.\n"
_LIST, _PARTS = "/etc/apt/sources.list", "/etc/apt/sources.list.d"
_OURS = "gpunode-"
_LINE = re.compile(r"(deb(?:-src)?)\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)((?:\s+[^#\s]\S*)*)")
# sources.list(5): an option of a line and the field of that meaning.
_FIELDS = {"arch": "Architectures", "lang": "Languages", "target": "Targets"}
# No list of another source is thrown away; what fails is told by the status.
_REFRESH = (
    *("apt-get", "--quiet", "update"),
    *("-o", "APT::Get::List-Cleanup=0", "-o", "APT::Update::Error-Mode=any"),
)
# What the lists have beside all that is installed, and without a copy of that on disk.
_ALONE = (
    *("-o", "Dir::State::status=/dev/null"),
    *("-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache="),
)
# The one that is installed is told by stars, and stays.
_STOPPED = re.compile(r"     (\S+) -?[0-9]+ \(phased 0%\)")
_PATIENCE_S = 30
_ENVIRONMENT = {"LC_ALL": "C.UTF-8"}


def own(tree: Root) -> list[Stanza]:
    """Return the stanzas of a host's sources that are in use, as {field: value}.

    Both forms of sources.list(5); our own files are none of them.
    """
    names = [name for name in tree.names(_PARTS) if not name.startswith(_OURS)]
    paths = [_LIST, *(f"{_PARTS}/{name}" for name in names)]
    found: list[Stanza] = []
    for path in paths:
        if path.endswith(".list"):
            found += _of_lines(tree.text(path))
        elif path.endswith(".sources"):
            found += _of_stanzas(tree.text(path))
    return [
        fields
        for fields in found
        if "deb" in fields.get("Types", "").split()
        and fields.get("Enabled", "yes").lower() in ("yes", "true", "1", "on")
    ]


class Sources:
    """A repository and what tells a host's package manager of it.

    :param files: the Files of the component.
    :param repository: a row of the catalog's repositories.
    :param facts: the general facts.
    :param tree: the host.
    :param address: where the user says that it is; '' for where it is usually.
    """

    def __init__(
        self,
        files: Files,
        repository: Mapping[str, Any],
        facts: Identity,
        tree: Root,
        address: str,
    ) -> None:
        self._files = files
        self._repository = repository
        self._facts = facts
        self._tree = tree
        self._address = address
        self._distribution = distribution.catalog_name(facts)

    def stale(self) -> dict[str, text_files.TextFile]:
        """Return {path: TextFile} of what :meth:`offer` changes; of a key, not its text.

        :raises Refusal: it is not known where the repository is.
        """
        wanted = self.wanted()
        stale = {path: wanted[path] for path in text_files.stale(wanted)}
        if self._has_own_key and not self._is_key_there():
            stale[self._keyring] = text_files.of("")
        return stale

    def offering(self, execute: Execute) -> list[steps.Step]:
        """Return the step that does :meth:`offer`, [] where nothing tells otherwise.

        :raises Refusal: it is not known where the repository is.
        """
        return self.offering_of(self.stale(), execute)

    def offering_of(
        self, stale: Mapping[str, text_files.TextFile], execute: Execute
    ) -> list[steps.Step]:
        """Return the same for what :meth:`stale` returned, without a look at the host."""
        words = ", ".join(text_files.sentence(path, file) for path, file in stale.items())
        return [steps.Step(words, functools.partial(self.offer, execute))] if stale else []

    def offer(self, execute: Execute) -> None:
        """Put all in place and fetch the lists.

        :raises Refusal: the key is another one, or the lists cannot be had; all is as it was then.
        """
        wanted = self.wanted()
        if self._has_own_key:
            given = key(self._repository, self._distribution, self._address)
            wanted = {self._keyring: text_files.of(given), **wanted}
        offer(self._files, wanted, execute)

    def wanted(self) -> dict[str, text_files.TextFile]:
        """Return {path: TextFile} of what tells of the repository, apart from its key.

        :raises Refusal: it is not known where the repository is.
        """
        at = (self._files, self._repository, self._distribution)
        if self._facts["pkg_mgr"] != "apt":
            return {self._files.dnf_repository: text_files.of(dnf_text(*at, self._address))}
        release = self._facts["distribution_release"]
        content = text(*at, release, own(self._tree), self._address)
        return {self._files.source: text_files.of(content or None)}

    @property
    def _has_own_key(self) -> bool:
        """Whether the key is fetched and held to its fingerprint, where that is known for dnf.

        apt is given none that is not.
        """
        if "address" not in self._repository:
            return False
        is_apt = self._facts["pkg_mgr"] == "apt"
        return is_apt or bool(self._part().get("fingerprint"))

    @property
    def _keyring(self) -> str:
        is_apt = self._facts["pkg_mgr"] == "apt"
        return self._files.keyring if is_apt else self._files.dnf_key

    def _is_key_there(self) -> bool:
        found = openpgp.fingerprints(text_files.read(self._keyring) or "")
        return found == [self._part().get("fingerprint")]

    def _part(self) -> Mapping[str, Any]:
        return _part_of(self._repository, self._distribution)


def only(files: Files) -> tuple[str, ...]:
    """Return the options by which apt knows of a component's source and of no other."""
    return ("-o", f"Dir::Etc::sourcelist={files.source}", "-o", "Dir::Etc::sourceparts=-")


def offered(tree: Root, names: Sequence[str], options: Iterable[str] = ()) -> dict[str, list[str]]:
    """Return {name: [version]} of what apt's lists on the host have, the newest first.

    Whatever pins say of it.

    :param tree: the host.
    :param names: of packages.
    :param options: of apt's.
    """
    found: dict[str, list[str]] = {}
    argv = ("apt-cache", *options, "madison", *names)
    answer = tree.answer(*argv, patience_s=_PATIENCE_S) if names else ""
    for line in answer.splitlines():
        name, version, where = (part.strip() for part in line.split("|"))
        if where.endswith(" Packages"):
            found.setdefault(name, []).append(version)
    for offers in found.values():
        offers.sort(key=deb_version.key, reverse=True)
    return found


def stopped(tree: Root, names: Sequence[str]) -> dict[str, list[str]]:
    """Return {name: [version]} of what the archive offers and gives to no host any more.

    Ubuntu hands an update out to a growing share of hosts, and to none once harm is seen of it;
    apt_preferences(5), "Phased Updates". `apt-cache policy` tells the share of a version behind
    its priority (apt, cmdline/apt-cache.cc, Policy).

    :param names: of packages.
    """
    found: dict[str, list[str]] = {}
    name = ""
    argv = ("apt-cache", "policy", *names)
    answer = tree.answer(*argv, patience_s=_PATIENCE_S) if names else ""
    for line in answer.splitlines():
        match = _STOPPED.fullmatch(line)
        if not line.startswith(" "):
            name = line.rstrip(":")
        elif match:
            found.setdefault(name, []).append(match.group(1))
    return found


def offered_by(tree: Root, files: Files) -> dict[str, list[str]]:
    """Return {name: [version]} of all that a component's source has, and no other one.

    :param tree: the host.
    :param files: the Files of the component.
    """
    alone = (*only(files), *_ALONE)
    names = tree.answer("apt-cache", *alone, "pkgnames", patience_s=_PATIENCE_S).split()
    return offered(tree, names, alone)


def paths(files: Files) -> list[str]:
    """Return the paths of a component's Files."""
    return [files.source, files.keyring, files.dnf_repository, files.dnf_key]


def text(
    files: Files,
    repository: Mapping[str, Any],
    distribution: str,
    release: str,
    stanzas: Sequence[Stanza],
    address: str = "",
) -> str:
    """Return the text of a source, '' where the host's own sources have all that is needed.

    :param files: the Files of the component.
    :param repository: a row of the catalog's repositories.
    :param distribution: as distribution.catalog_name names it: 'Debian 12'.
    :param release: the code name of the distribution's release: 'bookworm'.
    :param stanzas: what :func:`own` says.
    :param address: where the user says that it is; '' for where it is usually.
    :raises Refusal: the host has no source of its distribution to go by.
    """
    if "address" not in repository:
        suites = [suite.format(release=release) for suite in repository["suites"]]
        found = _of_archive(
            files.title, release, suites, repository["components"], stanzas, address
        )
        return _file_of(found)
    where = base(repository, distribution, address)
    found = [{"Types": "deb", "URIs": where, "Suites": "/", "Signed-By": files.keyring}]
    besides = _part_of(repository, distribution).get("components", [])
    # A host without sources of its distribution may have all in one mirror.
    if besides and any(release in _suites(fields) for fields in stanzas):
        found += _of_archive(files.title, release, [release], besides, stanzas)
    return _file_of(found)


def base(repository: Mapping[str, Any], distribution: str, address: str = "") -> str:
    """Return the address of a repository that is none of the distribution's, with a '/' at its end.

    :raises Refusal: it is not known for this distribution.
    """
    part = _part_of(repository, distribution)
    return (address or repository["address"].format(**part)).rstrip("/") + "/"


def key(
    repository: Mapping[str, Any],
    distribution: str,
    address: str = "",
    read: Callable[[str], bytes] = download.read,
) -> str:
    """Return the armored key that a repository is signed with, from that repository.

    :raises Refusal: it cannot be had, or is another one than the catalog knows.
    """
    part = _part_of(repository, distribution)
    url = base(repository, distribution, address) + part["key"]
    given = openpgp.armored(read(url))
    found = openpgp.fingerprints(given)
    if found != [part["fingerprint"]]:
        raise Refusal(
            f"signing key {urls.shown(url)}",
            f"its fingerprint is {', '.join(found) or 'none'}, wanted is {part['fingerprint']}; "
            "nothing was changed",
            "Do not trust it; name an address that has the vendor's own key",
        )
    return given


def dnf_text(
    files: Files, repository: Mapping[str, Any], distribution: str, address: str = ""
) -> str:
    """Return the text of a component's repository for dnf, dnf.conf(5).

    The key is ours where its fingerprint is known, and what lies in the repository where it is not.
    module_hotfixes: exact versions are asked for, and a stream that somebody enabled, or the one
    that is the default, would hide all others.
    """
    where, part = base(repository, distribution, address), _part_of(repository, distribution)
    key_at = f"file://{files.dnf_key}" if part.get("fingerprint") else f"{where}{part['key']}"
    return (
        f"{_MARK}[{name_of(files)}]\nname={files.title}\nbaseurl={where}\nenabled=1\ngpgcheck=1\n"
        f"gpgkey={key_at}\nmodule_hotfixes=1\n"
    )


def offer(files: Files, wanted: Mapping[str, text_files.TextFile], execute: Execute) -> None:
    """Put files in place, {path: TextFile}, and fetch the lists of a component's source.

    :raises Refusal: its lists cannot be had; the files are as they were then.
    """
    before = {path: text_files.of(text_files.read(path)) for path in wanted}
    text_files.put_all(wanted)
    if os.path.exists(files.dnf_repository):
        refresh = ["dnf", "--quiet", f"--repo={name_of(files)}", "makecache", "--refresh"]
    elif os.path.exists(files.source):
        refresh = [*_REFRESH, *only(files)]
    else:
        return
    what = f"fetch the lists of {files.title}"
    answer = commands.run_long(what, refresh, _ENVIRONMENT, execute, "/var")
    if answer.returncode:
        text_files.put_all(before)
        lines = commands.lines_of(answer.stderr)
        errors = [line for line in lines if line.startswith(("E:", "Error:"))]
        raise Refusal(
            what,
            " / ".join(errors) or commands.last_words(answer, answer.stderr),
            f"Correct {files.option} or the way to it, and run again",
        )


def name_of(files: Files) -> str:
    """Return what dnf calls a component's repository."""
    return os.path.basename(files.dnf_repository).rpartition(".")[0]


def _of_archive(
    title: str,
    release: str,
    suites: Sequence[str],
    components: Sequence[str],
    stanzas: Sequence[Stanza],
    address: str = "",
) -> list[Stanza]:
    """Return the stanzas of what the host's sources lack of its distribution's archive.

    What is not there yet, such as backports, lies beside the release itself; but a host that goes
    without updates or fixes was meant to.
    """
    named = [fields for fields in stanzas if release in _suites(fields)]
    if not named:
        raise Refusal(
            f"packages of {title} from the archive of {release}",
            f"no source of this host has the suite {release}, so that nothing tells where that is "
            "and who signs it",
            "Name one in /etc/apt/sources.list",
        )
    if address:
        # A mirror of the archive; one for security is another.
        mirrored = [suite for suite in suites if suite == release or _is_backports(suite)]
        return [_like(named[0], address, mirrored, components)]
    found = []
    for suite in suites:
        there = [fields for fields in stanzas if suite in _suites(fields)]
        offered = {name for fields in there for name in fields.get("Components", "").split()}
        lacking = [name for name in components if name not in offered]
        if lacking and (there or _is_backports(suite)):
            fields = (there or named)[0]
            found.append(_like(fields, fields["URIs"], [suite], lacking))
    return _merged(found)


def _merged(stanzas: Sequence[Stanza]) -> list[Stanza]:
    """Return stanzas that differ in nothing but their suites as one."""
    merged: list[Stanza] = []
    for fields in stanzas:
        rest = {**fields, "Suites": ""}
        like = next((other for other in merged if {**other, "Suites": ""} == rest), None)
        if like:
            like["Suites"] += f" {fields['Suites']}"
        else:
            merged.append(fields)
    return merged


def _suites(fields: Stanza) -> list[str]:
    return fields.get("Suites", "").split()


def _is_backports(suite: str) -> bool:
    return suite.endswith("-backports")


def _file_of(stanzas: Sequence[Stanza]) -> str:
    return _MARK + "\n".join(map(_rendered, stanzas)) if stanzas else ""


def _like(fields: Stanza, address: str, suites: Sequence[str], components: Sequence[str]) -> Stanza:
    """Return a stanza like another one, for other suites and components."""
    return {
        **fields,
        "Types": "deb",
        "URIs": address,
        "Suites": " ".join(suites),
        "Components": " ".join(components),
    }


def _part_of(repository: Mapping[str, Any], distribution: str) -> Mapping[str, Any]:
    for part in repository["distributions"]:
        if part["distribution"] == distribution:
            return part
    raise Refusal(
        f"repository {repository['name']}",
        f"it is not known where it is for {distribution}",
        "Choose another repository, or a .run file",
    )


def _rendered(fields: Stanza) -> str:
    lines = [f"{name}: {value}".replace(": \n", ":\n") for name, value in fields.items()]
    return "".join(f"{line}\n" for line in lines)


def _of_stanzas(content: str) -> Iterator[Stanza]:
    """Yield the stanzas of a file in deb822 form, continued lines with their line ends."""
    for block in re.split(r"\n[ \t]*\n", content):
        fields: Stanza = {}
        name = ""
        for line in block.splitlines():
            if line.startswith("#"):
                continue
            if line[:1].isspace():
                fields[name] = f"{fields.get(name, '')}\n{line}"
            else:
                name, _colon, value = line.partition(":")
                name = "-".join(part.capitalize() for part in name.split("-"))
                name = {"Uris": "URIs"}.get(name, name)
                fields[name] = value.strip()
        yield fields


def _of_lines(content: str) -> Iterator[Stanza]:
    """Yield the sources of a file that has one a line, as stanzas."""
    for line in content.splitlines():
        match = _LINE.match(line.strip())
        if not match:
            continue
        kind, options, address, suite, components = match.groups()
        fields = {"Types": kind, "URIs": address, "Suites": suite}
        if components.strip():
            fields["Components"] = " ".join(components.split())
        for option in (options or "").split():
            name, _equals, value = option.partition("=")
            name = _FIELDS.get(name, "-".join(part.capitalize() for part in name.split("-")))
            fields[name] = value.replace(",", " ")
        yield fields
