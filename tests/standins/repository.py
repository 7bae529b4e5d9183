"""APT repositories of driver packages, built and signed here; see tests/standins/packages."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from email.utils import formatdate
from pathlib import Path

import yaml

from lab import textfile
from lab.command import run
from lab.paths import CHECKOUT

_STANDINS = CHECKOUT / "tests" / "standins"
_TABLE = {
    family: rows
    for name in ("packages.yml", "ubuntu.yml")
    for family, rows in yaml.safe_load(
        (_STANDINS / "packages" / name).read_text(encoding="utf-8")
    ).items()
}
FAULTS = frozenset(row["name"] for row in _TABLE["faults"])
_MODULE = _STANDINS / "module"
_PATH = "/srv/repository"
#: Where the repository is for the node. `lab.mirror.running` serves it over HTTPS.
URL = f"file://{_PATH}"
#: The suite of a repository without suites, as NVIDIA's own is; sources.list(5).
FLAT = "/"
# Those of Debian, and the one that all packages are in here: a host as it was delivered has main.
_COMPONENTS = ("main", "contrib", "non-free", "non-free-firmware")
_COMPONENT = "non-free"
# A program that does nothing, where the builder is given none.
_PROGRAM = "#!/bin/sh\nexit 0\n"
_REPRODUCIBLE = ("--root-owner-group", "-Znone")
_KERNEL = "linux-image-cloud-amd64"
_SCRIPT = '#!/bin/sh\nset -e\ncase "$1" in\n{when})\n{body}\n;;\nesac\n'
_DKMS_POSTINST = '/usr/lib/dkms/common.postinst {dkms} {upstream} /usr/share/{dkms}-dkms "" $2'
_DKMS_PRERM = """\
if [ "$(dkms status -m {dkms} -v {upstream})" ]; then
  dkms remove -m {dkms} -v {upstream} --all
fi"""
_UNIT_POSTINST = """\
deb-systemd-helper enable {unit} >/dev/null || true
if [ -d /run/systemd/system ]; then
  systemctl --system daemon-reload >/dev/null || true
  deb-systemd-invoke ${2:+re}start {unit} >/dev/null || true
fi"""
# Once, where the file is there: whoever repairs it meets no other fault.
_INTERRUPTION = "[ ! -e /run/interrupt ] || { rm /run/interrupt; kill -KILL $PPID; sleep 1; }"
_UNIT_PRERM = "[ ! -d /run/systemd/system ] || deb-systemd-invoke stop {unit} >/dev/null || true"


class Repository:
    """A folder on a node that its apt can take packages from, with a key of its own.

    :ivar root: the folder, as it lies on this machine.
    :ivar key: the key that its suites are signed with, armored.
    :ivar fingerprint: that of the key, 40 upper-case hexadecimal digits.
    """

    def __init__(self, tree, programs=None, path=_PATH):
        """Make the folder and the key.

        :param tree: the node's root folder on this machine.
        :param programs: a folder with the programs that packages bring, by name, "@VERSION@" in
            them being the driver's version.
        :param path: where the folder is for the node.
        """
        self._path = path
        self.root = textfile.inside(tree, path)
        self._programs = programs and Path(programs)
        self.root.mkdir(parents=True)
        self._gnupg = Path(tempfile.mkdtemp(prefix="gpunode-lab-"))
        self._gpg("--quick-generate-key", "Stand-in <standin@example.com>", "ed25519", "sign")
        self.key = self._gpg("--armor", "--export").stdout
        listed = self._gpg("--with-colons", "--fingerprint").stdout
        self.fingerprint = next(
            line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr")
        )

    def publish(
        self, suite, family, versions, origin="Debian", label="Debian", faults=None, phased=None
    ):
        """Make a suite hold a family of packages in some versions and nothing else.

        What it held before is gone, as it is from a real archive: lists that are older name files
        that are not there.

        :param suite: such as "bookworm-security", or FLAT.
        :param family: "debian", "debian-tesla-470", "cuda" or "ubuntu".
        :param versions: of packages, such as "535.161.08-1".
        :param label: "Debian-Security" is that of the archive for security.
        :param faults: {name of a package: one of FAULTS}, of every version.
        :param phased: {version: percentage of hosts that it is for}, apt_preferences(5).
        """
        pool = self._emptied(suite)
        index = ""
        made = set()
        for version in versions:
            for row in _TABLE[family]:
                name, control, path = build(
                    pool, row, version, (faults or {}).get(row["name"], ""), self._programs
                )
                if path not in made:
                    made.add(path)
                    if version in (phased or {}):
                        control += f"Phased-Update-Percentage: {phased[version]}\n"
                    index += f"{control}{_place_of(path, self.root)}\n"
                if (faults or {}).get(name) == "damaged":
                    damage(path)
        self._offer(suite, index, origin, label)

    def hold(self, suite, fill, origin="Debian", label="Debian"):
        """Make a suite hold the packages that are put into its folder and nothing else.

        :param fill: is called with the folder.
        """
        pool = self._emptied(suite)
        fill(pool)
        self._offer(suite, listing(pool, self.root), origin, label)

    def source(self, *suites, components=_COMPONENTS):
        """Return the text of a .sources file that offers some suites, the key in it.

        apt reads lists in place where the address begins with file:, and a copy of them may be
        older than what is published, as over a network.
        """
        key = "".join(f" {line or '.'}\n" for line in self.key.splitlines())
        where = f"Suites: {' '.join(suites)}\n"
        where += f"Components: {' '.join(components)}\n" * (FLAT not in suites)
        return f"Types: deb\nURIs: copy:{self._path}\n{where}Signed-By:\n{key}"

    def _emptied(self, suite):
        """Return the folder of a suite's packages, with none in it."""
        pool = self.root / "pool" / ("flat" if suite == FLAT else suite)
        shutil.rmtree(pool, ignore_errors=True)
        pool.mkdir(parents=True)
        return pool

    def _offer(self, suite, index, origin, label):
        """Write what a suite says of its packages."""
        fields = {"Origin": origin, "Label": label}
        if suite == FLAT:
            self._sign(self.root, {"Packages": index}, fields)
            return
        fields |= {"Suite": suite, "Codename": suite}
        fields |= {"Components": "main", "Architectures": "amd64"}
        self._sign(self.root / "dists" / suite, {"main/binary-amd64/Packages": index}, fields)

    def close(self):
        """Forget the private key."""
        run(["gpgconf", "--homedir", self._gnupg, "--kill", "all"], check=False)
        # Its agent removes its sockets at the same time.
        shutil.rmtree(self._gnupg, ignore_errors=True)

    def _sign(self, folder, texts, fields):
        """Write the index files of a suite and its InRelease."""
        describe(folder, texts, fields)
        signed = folder / "InRelease"
        self._gpg("--yes", "--clearsign", "--output", signed, folder / "Release")

    def _gpg(self, *arguments):
        quiet = ("--batch", "--quiet", "--passphrase", "", "--pinentry-mode", "loopback")
        return run(["gpg", "--homedir", self._gnupg, *quiet, *arguments])


def build(pool, row, version, fault="", programs=None, module=None, **more):
    """Build a package of the table and return (its name, its control file, its path).

    :param pool: the folder that the package is put into.
    :param version: of the driver's packages; one with a version of its own keeps that.
    :param module: what is in the file of a kernel module, bytes.
    :param more: what else its row names: {name}. By ``release``, that of the distribution, go
        versions that it has of its own.
    """
    version = row.get("versions", {}).get(more.get("release"), version)
    upstream = version.rpartition("-")[0]
    known = {"upstream": upstream, "branch": upstream.partition(".")[0], "driver": version, **more}
    version = row.get("version", version).format(**known)
    known |= {"version": version, "dkms": row.get("dkms", ""), "unit": row.get("unit", "")}
    name = row["name"].format(**known)
    fields = {
        "Package": name,
        "Version": version,
        "Architecture": "amd64",
        "Maintainer": "Nobody <nobody@example.com>",
        **{field: value.format(**known) for field, value in row.get("fields", {}).items()},
    }
    if fault == "needs-kernel":
        fields["Depends"] = f"{fields['Depends']}, {_KERNEL}"
    control = "".join(f"{field}: {value}\n" for field, value in fields.items())
    control += "Description: Stand-in\n"
    path = pool / f"{name}_{version.replace(':', '%3a')}_amd64.deb"
    with tempfile.TemporaryDirectory() as temporary:
        tree = Path(temporary)
        _place(tree, row, known, programs, module)
        if "dkms" in row:
            _place_module(tree, row, known, "open" in name, fault == "broken-module")
        textfile.put(tree / "DEBIAN" / "control", control)
        for script, text in _scripts(row, known, fault).items():
            textfile.put(tree / "DEBIAN" / script, text, 0o755)
        tree.chmod(0o755)
        # The same package, wherever it is published.
        run(["env", "SOURCE_DATE_EPOCH=0", "dpkg-deb", *_REPRODUCIBLE, "--build", tree, path])
    return name, control, path


def build_family(pool, family, version, **more):
    """Build all packages of a family in one version; see :func:`build`."""
    for row in _TABLE[family]:
        build(pool, row, version, **more)


def _place(tree, row, known, programs, module):
    """Put a package's files and links into its tree."""
    for path, text in row.get("files", {}).items():
        place = textfile.inside(tree, path.format(**known))
        if text and text.startswith("program "):
            program = _program(text.partition(" ")[2], programs)
            textfile.put(place, program.replace("@VERSION@", known["upstream"]), 0o755)
        elif text == "module":
            textfile.put(place, module)
        else:
            textfile.put(place, text or "")
    for path, target in row.get("links", {}).items():
        os.symlink(target.format(**known), textfile.inside(tree, path.format(**known)))
    if row.get("conffiles"):
        textfile.put(tree / "DEBIAN" / "conffiles", "".join(f"{path}\n" for path in row["files"]))
    if "triggers" in row:
        textfile.put(tree / "DEBIAN" / "triggers", row["triggers"])


def _program(name, programs):
    path = programs and programs / name
    return path.read_text(encoding="utf-8") if path and path.exists() else _PROGRAM


def _place_module(tree, row, known, is_open, is_broken):
    """Put the source of a kernel module into a package's tree, under its name in DKMS.

    Another package may bring its dkms.conf, or this one nothing else.
    """
    dkms, upstream = known["dkms"], known["upstream"]
    source = tree / "usr" / "src" / f"{dkms}-{upstream}"
    for name, text in sources(upstream, is_open, is_broken).items():
        if name in row.get("brings", (name,)):
            textfile.put(source / name, text)
    configuration = source / "dkms.conf"
    if configuration.exists():
        text = configuration.read_text(encoding="utf-8")
        text = text.replace('PACKAGE_NAME="nvidia"', f'PACKAGE_NAME="{dkms}"')
        name = row.get("module", dkms)
        configuration.write_text(f'{text}DEST_MODULE_NAME[0]="{name}"\n', encoding="utf-8")


def sources(upstream, is_open, is_broken=False):
    """Return {name: text} of the source of a driver's kernel module."""
    texts = {path.name: path.read_text(encoding="utf-8") for path in _MODULE.iterdir()}
    texts = {name: text.replace("535.161.08", upstream) for name, text in texts.items()}
    if not is_open:
        texts["nvidia.c"] = texts["nvidia.c"].replace("Dual MIT/GPL", "NVIDIA")
    texts["nvidia.c"] += "#error this kernel is not supported\n" if is_broken else ""
    return texts


def _scripts(row, known, fault):
    """Return {name: text} of a package's scripts."""
    after, before = [row.get("postinst", "")], [row.get("prerm", "")]
    if "dkms.conf" in row.get("brings", ["dkms.conf"] if "dkms" in row else []):
        after.append(_DKMS_POSTINST)
        before.append(_DKMS_PRERM)
    if "unit" in row:
        after.append(_UNIT_POSTINST)
        before.append(_UNIT_PRERM)
    if fault == "broken-postinst":
        after.append('echo "ERROR: it does not work" >&2\nexit 1')
    if fault == "interrupted":
        after.append(_INTERRUPTION)
    found = {}
    for script, when, parts in (
        ("postinst", "configure|triggered", after),
        ("prerm", "remove|upgrade|deconfigure", before),
    ):
        body = "\n".join(part for part in parts if part)
        if body:
            found[script] = _filled(_SCRIPT, {"when": when, "body": _filled(body, known)})
    return found


def _filled(text, known):
    """Return a script with values in place of their names; all other braces are the shell's."""
    for key, value in known.items():
        text = text.replace("{" + key + "}", value)
    return text


def describe(folder, texts, fields):
    """Write index files, {path: text}, and the Release that goes with them."""
    release = "".join(f"{name}: {value}\n" for name, value in fields.items())
    release += f"Date: {formatdate(usegmt=True)}\nSHA256:\n"
    for path, text in texts.items():
        textfile.put(folder / path, text)
        data = text.encode()
        release += f" {hashlib.sha256(data).hexdigest()} {len(data)} {path}\n"
    textfile.put(folder / "Release", release)


def listing(folder, root):
    """Return what an index says of the packages in a folder.

    :param root: that of the repository.
    """
    index = ""
    for path in sorted(folder.glob("*.deb")):
        index += f"{run(['dpkg-deb', '--field', path]).stdout}{_place_of(path, root)}\n"
    return index


def _place_of(path, root):
    """Return what an index says of a package's file."""
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    return f"Filename: {path.relative_to(root)}\nSize: {len(data)}\nSHA256: {digest}\n"


def damage(path):
    """Change a file, not its size."""
    data = bytearray(path.read_bytes())
    data[-1] ^= 0xFF
    path.write_bytes(data)
