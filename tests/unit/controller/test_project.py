"""Where this project lies, and by what people call it there."""

import pytest

from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import project


@pytest.mark.parametrize(
    ("sources", "command"),
    [
        ([], "make lock"),
        ([str(project.ROOT / "inventory/lab")], "make lock"),
        ([str(project.ROOT / "inventory/prod")], "make lock INVENTORY=inventory/prod"),
        (["/srv/my hosts"], "make lock INVENTORY='/srv/my hosts'"),
        (["/srv/a", "/srv/b"], "make lock INVENTORY='/srv/a --inventory /srv/b'"),
    ],
)
def test_the_command_names_the_inventory_in_use(sources, command):
    assert project.command("lock", sources) == command


def test_without_the_clone_around_it_the_collection_names_its_own_playbook(tmp_path, monkeypatch):
    monkeypatch.setattr(project, "ROOT", tmp_path)
    assert (
        project.command("lock", ["/srv/a"])
        == "ansible-playbook --inventory /srv/a gpunode.stack.lock"
    )
    assert project.command("releases") == "ansible-playbook gpunode.stack.releases"


def test_a_page_is_named_so_that_it_is_found(tmp_path, monkeypatch):
    assert project.page("docs/driver.md") == "docs/driver.md"
    monkeypatch.setattr(project, "ROOT", tmp_path)
    assert project.page("docs/driver.md") == f"{tmp_path}/docs/driver.md"
