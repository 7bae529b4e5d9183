"""Nodes shaped as Enterprise Linux; el.yml has the facts and their sources."""

from __future__ import annotations

from pathlib import Path

import yaml

from lab import kernel, rpms, textfile
from lab.shell import Shell

_FACTS = yaml.safe_load(Path(__file__).with_suffix(".yml").read_text(encoding="utf-8"))
_PACKAGES = Path(__file__).with_name("el_packages.yml")
_TABLE = yaml.safe_load(_PACKAGES.read_text(encoding="utf-8"))
_TIMEOUT_S = 300
_BASE = "/srv/base"
_REPO = """\
[baseos]
name=Base
baseurl=file://{path}
gpgkey=file://{key}
"""
# Debian's plugin `local` breaks dnf there, and versionlock comes as a package.
_PLUGINS = """
set -e
mkdir -p /srv/shape
cd /usr/lib/python3/dist-packages/dnf-plugins
mv versionlock.py /etc/dnf/plugins/versionlock.conf /srv/shape
rm -rf local.py /etc/dnf/plugins/versionlock.list /etc/dnf/plugins/local.conf __pycache__
: >/srv/shape/empty
mkdir -p /etc/rpm /var/lib/rpm /usr/lib64
echo '%_dbpath /var/lib/rpm' >/etc/rpm/macros
echo /usr/lib64 >/etc/ld.so.conf.d/lib64.conf
rpm --initdb
"""
# What says which kernel a tree of headers is for; its links lead to what Debian has apart.
_HEADERS = """
set -e
tree=/srv/shape/kernels/{release}
mkdir -p /srv/shape/kernels
cp -a /usr/src/linux-headers-{debian} "$tree"
ln -sfn "$(readlink -f /usr/src/linux-headers-{debian}/scripts)" "$tree/scripts"
ln -sfn "$(readlink -f /usr/src/linux-headers-{debian}/tools)" "$tree/tools"
echo {release} >"$tree/include/config/kernel.release"
echo '#define UTS_RELEASE "{release}"' >"$tree/include/generated/utsrelease.h"
sed -i 's/{debian}/{release}/g' "$tree/.kernelvariables"
"""
# A host that has apt or dpkg is taken for one of Debian.
_SHAPE = """
set -e
rm -rf /lib/modules/{debian} /etc/debian_version /etc/dpkg /etc/apt
mkdir -p /srv/aside /boot/grub2
for name in apt apt-get apt-cache apt-config apt-key apt-mark dpkg dpkg-query dpkg-deb \
    dpkg-divert dpkg-statoverride dpkg-trigger dpkg-split; do
    [ ! -e /usr/bin/$name ] || mv /usr/bin/$name /srv/aside
done
mv /var/lib/dpkg /srv/aside/var-lib-dpkg
: >/boot/grub2/grub.cfg
printf 'GRUB_DEFAULT=saved\n' >/etc/default/grub
printf '# GRUB Environment Block\nsaved_entry=0123-{release}\n' >/boot/grub2/grubenv
dnf -y -q install {installed} {image}-{kernel}
"""


class EnterpriseLinux:
    """A release of Enterprise Linux, or of what is like it, that a node can be shaped as.

    :ivar name: what it is called here, "el9".
    :ivar has_streams: whether NVIDIA's repository for it tells of module streams.
    :ivar kernel_packages: those of a kernel: its image first, and what modules are built with.
    :ivar base: the release of Debian that the node has to lie on.
    :ivar kernel: the release of its kernel.
    :ivar next_kernel: that of the one that arrives later.
    """

    def __init__(self, name, row):
        self._row = row
        self.name, self.has_streams = name, row["streams"]
        self.kernel_packages = row["kernel_packages"]
        self.base = row["base"]
        self.kernel, self.next_kernel = (f"{name}.x86_64" for name in row["kernels"])

    @property
    def key(self):
        """A text that changes with all that is done to a node."""
        texts = [
            path.read_text(encoding="utf-8")
            for path in (Path(__file__), Path(rpms.__file__), _PACKAGES)
        ]
        return "\n".join([*texts, repr(self._row), repr(_FACTS["packages"])])

    def prepare(self, lab, node):
        """Give a fresh node the shape."""
        shell, tree = Shell(lab, node), lab.tree(node)
        debian = kernel.install(lab, node, *_FACTS["packages"])
        shell.says(_PLUGINS)
        for release in (self.kernel, self.next_kernel):
            shell.says(_HEADERS.format(debian=debian, release=release))
        self._make_repository(shell, tree)
        told = "".join(f'{name}="{value}"\n' for name, value in self._row["os_release"].items())
        for path, text in {
            "/usr/lib/os-release": told,
            "/etc/dnf/dnf.conf": self._dnf_conf(),
            "/etc/yum.repos.d/base.repo": _REPO.format(path=_BASE, key=rpms.KEY),
            **{path: f"{text}\n" for path, text in self._row["releases"].items()},
        }.items():
            textfile.put(textfile.inside(tree, path), text)
        installed = " ".join(self._row["installed"])
        first = self._row["kernels"][0]
        words = {"debian": debian, "release": self.kernel, "installed": installed, "kernel": first}
        shell.says(_SHAPE.format(image=self.kernel_packages[0], **words), _TIMEOUT_S)

    def packages(self, group):
        """Return the rows of el_packages.yml that the distribution has of a group."""
        found = []
        for row in _TABLE[group]:
            if self.name in row.get("of", row.get("versions", [self.name])):
                own = row.get("versions", {}).get(self.name)
                found.append({**row, **(_numbers(own) if own else {})})
        return found

    def _make_repository(self, shell, tree):
        """Make the repository of the distribution, and the key that packages are signed with."""
        builder = rpms.Builder(shell, tree)
        builder.make_key()
        builder.build(self.packages("base"), _BASE, {})
        for kernel_release in self._row["kernels"]:
            version, _dash, release = kernel_release.partition("-")
            known = {"release": kernel_release, "kernel_version": version}
            builder.build(self.packages("kernel"), _BASE, known | {"kernel_release": release})
        shell.says(f"createrepo_c -q {_BASE}")

    def _dnf_conf(self):
        platform = {"module_platform_id": self._row["os_release"]["PLATFORM_ID"]}
        settings = {**self._row["dnf_conf"], **platform}
        return "".join(["[main]\n", *(f"{name}={value}\n" for name, value in settings.items())])


def _numbers(own):
    """Return what a row has of a version and its release: "4.3.0-20.el9"."""
    version, _dash, release = own.partition("-")
    said = {"own": own, "major": version.partition(".")[0]}
    return {"version": version, "release": release, "own": said}


#: {name: EnterpriseLinux}.
SHAPES = {name: EnterpriseLinux(name, row) for name, row in _FACTS["shapes"].items()}
