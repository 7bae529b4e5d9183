"""What cannot work is refused by value, reason and remedy, and the host stays as it was."""

from __future__ import annotations

import json

import pytest

from lab.load import load
from system import environments, playbooks
from system.playbooks import PROJECT

pytestmark = pytest.mark.lab

FILES = PROJECT / "inventory" / "lab" / "files"
LOCK = PROJECT / "inventory" / "lab" / "generated" / "ob_cuda.lock"
APP = {
    "name": "ob_cuda",
    "environment": "ob_cuda",
    "source": str(PROJECT / "files" / "ob_cuda"),
    "entry": "main:app",
    "listen": "0.0.0.0:9001",
}


def environment(name="ob_cuda", lock=LOCK, **changes):
    requirements = str(FILES / "ob_cuda.requirements.txt")
    item = {"name": name, "lock": str(lock), "requirements": requirements, **changes}
    return {"conda_env_list": [item]}


def application(**changes):
    return {"gunicorn_app_list": [{**APP, **changes}]}


NO_NAMES = ("..", ".", "-x", "a b", "")


@pytest.fixture(scope="module")
def converged(lab, tmp_path_factory):
    """The node with the lab's own application; each refusal leaves it as it was."""
    environments.fresh(lab, "node1")
    log = tmp_path_factory.mktemp("converged") / "ssh"
    assert playbooks.site("--limit", "node1", log=log).status == 0


@pytest.fixture
def refused(lab, converged, tmp_path):
    """Run site.yml on a converged node with other variables, and expect a refusal and no change.

    The application is asked all the while, and answers from the very process that it had.
    """
    address = lab.node("node1").address

    def main_process():
        shown = "systemctl show --value --property=MainPID ob_cuda.service"
        return lab.ssh("node1", shown).stdout.strip()

    def attempt(variables, prepare="true", restore="true"):
        assert lab.ssh("node1", f"sudo sh -c '{prepare}'", timeout_s=60).returncode == 0
        try:
            before, process = playbooks.fingerprint(lab, "node1"), main_process()
            arguments = ("--limit", "node1", "-e", json.dumps(variables))
            with load(address, 9001, clients=1, pause_s=0.02) as pressure:
                run = playbooks.site(*arguments, log=tmp_path / "ssh")
            assert run.status != 0
            assert playbooks.fingerprint(lab, "node1") == before, run.messages()
            assert pressure.lost == []
            assert main_process() == process != "0"
        finally:
            lab.ssh("node1", f"sudo sh -c '{restore}'", timeout_s=60)
        return run

    return attempt


def test_without_become_root_is_asked_for_before_anything_else(refused):
    """poanetwork/deployment-playbooks#83: the playbooks without become."""
    said = refused({"ansible_become": False, "gunicron_app_list": []}).messages()
    assert "needs root: the host is reached as another user and without become" in said
    assert "gunicron_app_list" not in said
    assert "receipt" not in said


@pytest.mark.slow
def test_a_misspelt_variable_is_refused_with_the_nearest_name(refused):
    said = refused({"gunicron_app_list": []}).messages()
    assert "gunicron_app_list" in said
    assert "gunicorn_app_list" in said


@pytest.mark.slow
def test_a_misspelt_key_of_an_item_is_refused(refused):
    assert "wokers" in refused(application(wokers=3)).messages()


def test_a_wrong_sha256_installs_nothing(refused, lab):
    said = refused({"miniforge_sha256": "0" * 64, "miniforge_prefix": "/opt/other"}).messages()
    assert "0" * 64 in said
    assert lab.ssh("node1", "test -e /opt/other").returncode != 0


@pytest.mark.slow
def test_an_unreachable_mirror_is_named(refused):
    url = "http://127.0.0.1:9/Miniforge3.sh"
    assert url in refused({"miniforge_url": url, "miniforge_prefix": "/opt/other"}).messages()


def test_an_unreachable_channel_is_named_and_leaves_no_environment(refused, tmp_path):
    # A version that no host has fetched yet: what lies in conda's cache needs no channel.
    text = LOCK.read_text().replace("http://", "http://127.0.0.1:9/")
    lock = tmp_path / "dead.lock"
    lock.write_text(text.replace("gunicorn-23.0.0", "gunicorn-22.0.0"))
    assert "127.0.0.1:9" in refused(environment(lock=lock)).messages()


def test_a_corrupted_package_is_named_and_leaves_no_environment(refused, tmp_path):
    lines = LOCK.read_text().splitlines()
    flask = next(line for line in lines if "/flask-" in line)
    lock = tmp_path / "corrupted.lock"
    lock.write_text("\n".join(lines).replace(flask, flask.split("#")[0] + "#" + "0" * 32) + "\n")
    assert "flask" in refused(environment(lock=lock)).messages()


@pytest.mark.slow
def test_a_spec_that_its_lock_was_not_solved_for_is_refused_with_the_command(refused, tmp_path):
    lock = tmp_path / "solved.lock"
    lock.write_text(f"# channel: conda-forge\n# package: python=3\n{LOCK.read_text()}")
    item = {"name": "ob_cuda", "packages": ["python=3.12"], "lock": str(lock)}
    said = refused({"conda_env_list": [{**item, "channels": ["conda-forge"]}]}).messages()
    assert "package python=3.12 is asked for and not in it" in said
    assert "Run `make lock`" in said


@pytest.mark.slow
def test_an_import_that_fails_in_the_served_environment_is_named(refused):
    said = refused(environment(imports=["flask", "nowhere_to_be_found"])).messages()
    assert "ob_cuda: nowhere_to_be_found: ModuleNotFoundError" in said
    assert "flask:" not in said


@pytest.mark.slow
def test_a_build_that_is_not_kept_is_refused_by_its_id(refused):
    said = refused({"conda_env_list": [{"name": "ob_cuda", "build": "0123456789ab"}]}).messages()
    assert "build ob_cuda-0123456789ab: it is not kept on the host" in said


@pytest.mark.slow
def test_a_system_package_that_would_do_harm_is_refused_by_name(refused):
    said = refused({"conda_env_system_packages": ["linux-image-amd64"]}).messages()
    assert "it would touch the kernel of the host: linux-image-" in said


def test_a_lock_for_another_platform_is_refused(refused, tmp_path):
    lock = tmp_path / "osx.lock"
    lock.write_text(LOCK.read_text().replace("linux-64", "osx-arm64"))
    assert "osx-arm64" in refused(environment(lock=lock)).messages()


@pytest.mark.parametrize(
    "name", ["a/b", *(pytest.param(name, marks=pytest.mark.slow) for name in NO_NAMES)]
)
def test_an_environment_name_that_is_no_name_is_refused(refused, name):
    assert "conda_env_list" in refused({**environment(name), "gunicorn_app_list": []}).messages()


def test_a_port_taken_by_another_process_names_it(refused):
    said = refused(
        application(listen="0.0.0.0:9009"),
        prepare="systemd-run --quiet --unit=squatter python3 -m http.server 9009; sleep 1",
        restore="systemctl stop squatter",
    ).messages()
    assert "9009" in said
    assert "squatter.service" in said


@pytest.mark.slow
def test_an_application_without_the_named_entry_point_is_refused(refused):
    said = refused(application(entry="main:aap")).messages()
    assert "aap" in said
    assert "main.py" in said


@pytest.mark.slow
def test_a_release_that_is_not_kept_is_refused_with_the_way_to_see_those_that_are(refused):
    said = refused(application(release="0123456789ab")).messages()
    assert "release 0123456789ab of application ob_cuda" in said
    assert "make releases" in said


@pytest.mark.slow
def test_an_unknown_environment_is_refused_with_the_nearest_name(refused):
    said = refused(application(environment="ob_cuad")).messages()
    assert "ob_cuad" in said
    assert "ob_cuda" in said


@pytest.mark.slow
def test_a_user_with_sudo_is_refused(refused):
    said = refused(application(user="ops")).messages()
    assert "ops" in said
    assert "sudo" in said


def test_a_disk_without_room_is_refused(refused):
    said = refused(
        {"conda_env_dir": "/mnt/small/envs"},
        prepare="mkdir -p /mnt/small; mount -t tmpfs -o size=64m tmpfs /mnt/small",
        restore="umount /mnt/small; rmdir /mnt/small",
    ).messages()
    assert "/mnt/small" in said


def test_a_prefix_that_holds_something_else_is_refused(refused):
    said = refused(
        {"miniforge_prefix": "/opt/data"},
        prepare="mkdir -p /opt/data; touch /opt/data/precious",
        restore="rm /opt/data/precious; rmdir /opt/data",
    ).messages()
    assert "/opt/data" in said


@pytest.mark.slow
def test_an_application_that_cannot_start_leaves_the_previous_one_answering(refused, tmp_path):
    source = tmp_path / "broken"
    source.mkdir()
    (source / "main.py").write_text("app = None\nraise RuntimeError('broken on purpose')\n")
    said = refused(application(source=str(source), start_timeout_s=20)).messages()
    assert "broken on purpose" in said


def test_a_hand_made_service_of_the_same_name_is_taken_over(lab, tmp_path):
    environments.fresh(lab, "node1")
    unit = lab.tree("node1") / "etc/systemd/system/ob_cuda.service"
    unit.write_text("[Service]\nExecStart=/usr/bin/python3 -m http.server 9001\n")
    assert lab.ssh("node1", "sudo systemctl start ob_cuda.service").returncode == 0
    run = playbooks.site("--limit", "node1", log=tmp_path / "ssh")
    assert run.status == 0, run.messages()
    assert playbooks.site("--limit", "node1", log=tmp_path / "ssh").changed == {"node1": 0}
