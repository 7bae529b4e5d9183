# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the two ways to install a driver have in common: kernels, their headers, and DKMS."""

from __future__ import annotations

import functools
from functools import cached_property

from ..kernel import dkms
from ..packages import package_manager
from ..packages import repositories as apt_sources
from ..system import text_files
from . import kernel_modules, package_family, package_sets

# Which row of the repositories says what belongs to a driver whose repository nobody knows.
_ARCHIVES = {"Debian": "debian", "Ubuntu": "ubuntu"}


class Method:
    """One way to install a driver; see nvidia_driver/converge.py for the order of what it does.

    :param target: the target.Target.
    :param host: the bring.Host.
    """

    def __init__(self, target, host):
        self._target = target
        self._host = host
        self._facts = target.facts
        self._wanted = target.wanted

    @cached_property
    def _headers(self):
        """{release: package} of the headers that kernels lack and can have."""
        lacking = [row["release"] for row in self._target.without_headers]
        return package_sets.headers(self._host.tree, lacking, self._facts["pkg_mgr"])

    def offers_headers(self, release):
        """Say whether the headers of a kernel can be had."""
        return release in self._headers

    @cached_property
    def _releases(self):
        """The kernels that modules can be built for once their headers are there."""
        return [*self._target.releases, *self._headers]

    def _kernels(self):
        """Return the rows of these kernels, as they are now."""
        return [row for row in self._host.survey()["kernels"] if row["release"] in self._releases]

    def _installing(self, more):
        """Return the steps that install headers, and more packages of the distribution."""
        execute = self._host.execute
        steps = package_manager.installing(more, execute, self._host.run)
        if self._headers:
            names = list(self._headers.values())
            install = functools.partial(package_sets.install_headers, names, execute)
            steps.append((f"install {', '.join(names)}", install))
        return steps

    def _put_in_place(self, modules):
        """Install modules that are built for every kernel, and remove the trees of others."""
        tree, execute = self._host.tree, self._host.execute
        kernel_modules.install(tree, modules, self._kernels(), execute)
        for name, version in kernel_modules.others(tree, modules):
            dkms.remove(tree, name, version, execute)


def clearing(pins):
    """Return the steps that remove what tells of the packages' repository, and settle the pins.

    :param pins: {path: TextFile}, see nvidia_driver/pins.py.
    """
    sources = apt_sources.paths(apt_sources.DRIVER)
    return text_files.settling({**{path: text_files.of(None) for path in sources}, **pins})


def family_of(facts, repositories):
    """Return the package_family.Family of packages whose repository nobody knows.

    :param facts: the general facts.
    :param repositories: {name: row} of the catalog.
    """
    archive = _ARCHIVES.get(facts["distribution"], "cuda")
    return package_family.of(repositories, archive)
