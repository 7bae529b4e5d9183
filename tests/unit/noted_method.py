"""A way to install a driver that does nothing, and notes what it was asked for."""

from __future__ import annotations

from ansible_collections.gpunode.stack.plugins.module_utils._node.nvidia_driver import method
from ansible_collections.gpunode.stack.plugins.module_utils._node.steps import Step


class Method(method.Method):
    """Of a .run; ``fails`` is (step, error) of the one that fails."""

    changes_method = False
    found_by = "by packages"
    version = version_to_be = "535.183.01"
    builds = True
    exchanges = True
    offered = ()

    def __init__(self, done):
        self.done = done
        self.fails = None

    def needs(self):
        return []

    def can_serve(self, release):
        return release in self.offered

    def _step(self, word):
        def act():
            if self.fails and self.fails[0] == word:
                raise self.fails[1]
            self.done.append(word)

        return [Step(word, act)]

    def preparing(self):
        return self._step("prepare")

    def building(self):
        return self._step("build")

    def exchanging(self):
        return self._step("exchange") if self.exchanges else []

    def finishing(self):
        return self._step("finish")

    def going_back(self):
        self.done.append("go back")
        return "Driver 535.161.08 is back"

    def prove(self, facts):
        self.done.append("prove")
        return self.version

    def manifest(self):
        return []
