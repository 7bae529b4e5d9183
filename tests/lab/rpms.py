"""Packages of RPM, built of a table's rows on a node that has rpmbuild, and signed by its key.

What a row may say stands in shapes/el_packages.yml.
"""

from __future__ import annotations

import shutil

from lab import textfile

#: Where the public part of the key lies that all packages of a node are signed with.
KEY = "/srv/rpms/key"
#: What a row may say that a package stands on, or stands for.
TAGS = ("requires", "provides", "conflicts", "obsoletes")
_WORK = "/srv/build"
_PROGRAM = "#!/bin/sh\nexit 0\n"
_TIMEOUT_S = 300
# A package of many has its own version, and what its files need is told by its row alone.
_PACKAGE = """
%package -n {name}
Version: {version}
Release: {release}
Summary: Stand-in
AutoReqProv: no
{relations}
%description -n {name}
Stand-in
%files -n {name}
{files}
"""
_SPEC = """
Name: standin
Version: 1
Release: 1
Summary: Stand-in
License: MIT
%description
Stand-in
%install
cp -a {tree}/. %{{buildroot}}
{packages}
"""
_BUILD = """
set -e
mkdir -p {out}
rpmbuild -bb --quiet --define '_topdir {work}/top' --define '_rpmdir {out}' \
    --define '_build_name_fmt %%{{NAME}}-%%{{VERSION}}-%%{{RELEASE}}.%%{{ARCH}}.rpm' \
    --define '_binary_payload w1.gzdio' --define 'debug_package %{{nil}}' \
    --define '__os_install_post %{{nil}}' --define '_build_id_links none' {work}/spec
GPG_TTY= rpmsign --define '__gpg /usr/bin/gpg' --define '_gpg_name standin@example.com' \
    --addsign {out}/*.rpm >/dev/null
"""
_MAKE_KEY = """
set -e
gpg --batch --quiet --passphrase '' \
    --quick-generate-key 'Stand-in <standin@example.com>' rsa2048 sign
mkdir -p $(dirname {key})
gpg --armor --export >{key}
"""


class Builder:
    """Builds packages on a node.

    :param shell: a lab.shell.Shell of the node.
    :param tree: its root folder on this machine.
    """

    def __init__(self, shell, tree):
        self._shell = shell
        self._tree = tree

    def make_key(self):
        """Make the key that all packages are signed with, once for the node."""
        self._shell.says(_MAKE_KEY.format(key=KEY), _TIMEOUT_S)

    def build(self, rows, out, known):
        """Build packages, all at once.

        :param rows: of a table; each has a version and a release.
        :param out: the folder that they are put into, as the node has it.
        :param known: {word: text} of what stands in braces in the rows.
        """
        work = textfile.inside(self._tree, _WORK)
        # Of the call before; there is none at first.
        shutil.rmtree(work, ignore_errors=True)
        tree = work / "tree"
        tree.mkdir(parents=True)
        for row in rows:
            self._place(tree, row, _told(row, known))
        packages = "".join(package(row, known) for row in rows)
        textfile.put(work / "spec", _SPEC.format(tree=f"{_WORK}/tree", packages=packages))
        self._shell.says(_BUILD.format(work=_WORK, out=out), _TIMEOUT_S)

    def _place(self, tree, row, told):
        """Put a package's files into the tree that all are taken from."""
        for path, text in row.get("files", {}).items():
            is_program = text == "program" or text.startswith("#!")
            place = textfile.inside(tree, path.format(**told))
            content = _PROGRAM if text == "program" else text
            textfile.put(place, content, 0o755 if is_program else 0o644)
        for path, target in row.get("links", {}).items():
            place = textfile.inside(tree, path.format(**told))
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(target.format(**told))
        for path, original in row.get("copies", {}).items():
            place, there = f"{_WORK}/tree{path.format(**told)}", original.format(**told)
            self._shell.says(f"mkdir -p $(dirname {place}); cp -a {there} {place}")
        for path, folder in row.get("folders", {}).items():
            place = textfile.inside(tree, path.format(**told))
            shutil.copytree(folder, place, dirs_exist_ok=True)


def package(row, known):
    """Return what a spec says of a package.

    :param known: see :meth:`Builder.build`.
    """
    told = _told(row, known)
    relations = [
        f"{tag.capitalize()}: {relation.format(**told)}"
        for tag in TAGS
        for relation in row.get(tag, ())
    ]
    if row.get("epoch"):
        relations.append(f"Epoch: {row['epoch']}")
    if row.get("arch") == "noarch":
        relations.append("BuildArch: noarch")
    paths = [*row.get("files", ()), *row.get("links", ()), *row.get("copies", ())]
    listed = [path.format(**told) for path in [*paths, *row.get("listed", ())]]
    text = _PACKAGE.format(
        name=row["name"],
        version=row["version"].format(**told),
        release=row["release"].format(**told),
        relations="\n".join(relations),
        files="\n".join(listed),
    )
    return text + _scripts(row, told)


def _told(row, known):
    """Return what stands in braces in a row."""
    return {**known, **row.get("own", {})}


def _scripts(row, told):
    """Return a package's scripts as a spec has them."""
    found = ""
    for script in ("pre", "post", "posttrans", "preun"):
        if row.get(script):
            found += f"\n%{script} -n {row['name']}\n{row[script].format(**told)}\n"
    if "triggers" in row:
        trigger = f"%transfiletriggerin -n {row['name']} -- /usr/lib/systemd/system"
        found += f"\n{trigger}\n{row['triggers']}\n"
    return found
