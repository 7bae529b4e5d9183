"""What `make releases` says of a host that was changed twice, and the way back that it names."""

from __future__ import annotations

import json
import re

import pytest

from system import environments, playbooks

pytestmark = pytest.mark.lab

NODE, NAME = "node1", "listed"
CODE = """\
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "{length}")])
    return [b"{answer}"]
"""


class Listed:
    """An application on a node, whose releases are looked at."""

    def __init__(self, folder):
        self._log = folder / "ssh"
        self._source = folder / "source"
        self._source.mkdir()
        self.options = {
            "name": NAME,
            "environment": "ob_cuda",
            "source": str(self._source),
            "listen": "127.0.0.1:9300",
            "health_path": "/",
        }

    def serve(self, answer=None, keep=2, **options):
        """Bring a release that gives this answer into service, or what the options name."""
        if answer:
            text = CODE.format(length=len(answer), answer=answer)
            (self._source / "main.py").write_text(text)
        variables = {
            "gunicorn_app_list": [{**self.options, **options}],
            "gunicorn_app_keep": keep,
        }
        arguments = ("--limit", NODE, "-e", json.dumps(variables))
        run = playbooks.site(*arguments, log=self._log)
        assert run.status == 0, run.messages()
        return run

    def listing(self, **variables):
        """Return what `make releases` says."""
        variables = {"gunicorn_app_list": [self.options], **variables}
        arguments = ("--limit", NODE, "-e", json.dumps(variables))
        run = playbooks.run("playbooks/releases.yml", *arguments, log=self._log)
        assert (run.status, run.changed) == (0, {NODE: 0}), run.text
        return run.messages()

    def lines(self):
        """Return {release: line} of what is said of the application, in its order."""
        listed = self.listing().partition(f"application {NAME} in /srv/{NAME}\n")[2]
        lines = listed.partition("    environment ")[0].splitlines()
        return {line.split()[0]: line for line in lines}


@pytest.fixture(scope="module")
def listed(lab, tmp_path_factory):
    environments.fresh(lab, NODE)
    found = Listed(tmp_path_factory.mktemp("listed"))
    found.serve("one")
    yield found
    found.serve(state="absent")


def test_a_host_is_listed_before_changes_after_them_and_after_the_way_back(listed):
    first, *_earlier = listed.lines()
    listed.serve("two")
    listed.serve("three")
    lines = listed.lines()
    third, second, earliest = lines
    assert earliest == first
    assert lines[third].endswith("in service")
    for name in (second, first):
        assert lines[name].endswith(f"go back: release: {name}")

    listed.serve(release=first, source=None)
    lines = listed.lines()
    assert set(lines) == {first, second, third}
    assert lines[first].endswith("in service")
    assert lines[third].endswith(f"go back: release: {third}")


def test_a_release_that_was_changed_by_hand_is_said_to_be(listed, lab):
    release = next(iter(listed.lines()))
    more = f"/srv/{NAME}/releases/{release}/more.py"
    assert lab.ssh(NODE, f"sudo touch {more}").returncode == 0
    changed = listed.lines()[release]
    assert lab.ssh(NODE, f"sudo rm {more}").returncode == 0
    assert changed.endswith("changed by hand")
    assert not listed.lines()[release].endswith("changed by hand")


def test_a_build_is_listed_with_what_it_takes_and_who_uses_it(listed):
    said = listed.listing().partition("environment ob_cuda in ")[2].partition("environment ")[0]
    (line,) = [line for line in said.splitlines() if "in service" in line]
    assert re.search(r" [1-9]\d* MiB, +[1-9]\d* of its own ", line)
    assert f"{NAME}.service" in line.partition("used by ")[2]


def test_an_item_that_is_wrong_is_told_and_hides_no_other(listed):
    wrong = {**listed.options, "name": "a/b"}
    said = listed.listing(gunicorn_app_list=[wrong, listed.options])
    assert "item 1 of gunicorn_app_list" in said
    assert "'a/b'" in said
    assert "in service" in said.partition(f"application {NAME} in /srv/{NAME}")[2]


def test_where_nothing_is_installed_nothing_is_kept(listed):
    said = listed.listing(gunicorn_app_list=[], conda_env_dir="/nowhere")
    assert said.rstrip().endswith("nothing is kept")
