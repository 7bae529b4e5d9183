"""Facts of a real node with a real kernel on disk, held item by item against its own shell."""

from __future__ import annotations

import shutil

import pytest

from lab.paths import CHECKOUT
from system import crowded, playbooks

pytestmark = [pytest.mark.lab, pytest.mark.executes("facts", "debian12")]

NODE = "node1"
OF_ANSIBLE = (
    *("hostname", "distribution", "distribution_release", "distribution_version"),
    *("distribution_major_version", "os_family", "kernel", "architecture", "pkg_mgr"),
    *("service_mgr", "python_version"),
)
MODULE = CHECKOUT / "tests" / "standins" / "module"
# A kernel with its headers, DKMS, and a package of the RDMA family.
SET_UP = """
set -e
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends libibverbs1 dkms \
    linux-headers-cloud-amd64 linux-image-cloud-amd64 initramfs-tools zstd
kernel=$(ls /lib/modules)
dkms install nvidia/535.161.08 -k "$kernel"
# The kernel has no nouveau; a module of that name in the initramfs is seen all the same.
cp /lib/modules/$kernel/updates/dkms/nvidia.ko /lib/modules/$kernel/kernel/nouveau.ko
depmod $kernel
echo nouveau >>/etc/initramfs-tools/modules
update-initramfs -u -k $kernel
echo "blacklist nouveau" >/etc/modprobe.d/nouveau.conf
echo nvidia_peermem >/etc/modules-load.d/peer.conf
mkdir -p /srv/image/lib
cp -a /boot /srv/image
cp -a /lib/modules /srv/image/lib
"""


class Host:
    """A node: its facts, and what its shell says as root."""

    def __init__(self, lab, log):
        self._lab = lab
        self._log = log
        self.facts = self.look()

    def look(self, root="/"):
        """Return the facts, or those of another folder that stands for the root."""
        run = playbooks.run("tests/system/preflight/facts.yml", "-e", f"root={root}", log=self._log)
        assert run.status == 0, run.text
        return next(
            result["gpunode_facts"]
            for _task, result in run.results(NODE)
            if "gpunode_facts" in result
        )

    def __getitem__(self, key):
        return self.facts[key]

    def says(self, command):
        """Return what a command prints; it has no single quote."""
        answer = self._lab.ssh(NODE, f"sudo sh -c '{command}'")
        assert answer.returncode == 0, answer.stderr
        return answer.stdout.strip()


@pytest.fixture(scope="module")
def host(lab, tmp_path_factory):
    lab.fresh(NODE)
    source = lab.tree(NODE) / "usr" / "src" / "nvidia-535.161.08"
    shutil.copytree(MODULE, source)
    done = lab.ssh(NODE, f"sudo sh -c '{SET_UP}'", timeout_s=300)
    assert done.returncode == 0, done.stdout + done.stderr
    yield Host(lab, tmp_path_factory.mktemp("facts") / "ssh")
    lab.fresh(NODE)


@pytest.mark.parametrize(
    ("fact", "command"),
    [
        ("hostname", "hostname"),
        ("kernel", "uname -r"),
        ("architecture", "uname -m"),
        ("distribution_major_version", ". /etc/os-release; echo $VERSION_ID"),
        ("distribution_release", ". /etc/os-release; echo $VERSION_CODENAME"),
        ("python_version", 'python3 -c "import platform; print(platform.python_version())"'),
        ("virtualization", "systemd-detect-virt --vm | grep -v none || true"),
    ],
)
def test_a_general_fact_is_what_the_shell_says(host, fact, command):
    assert host[fact] == host.says(command)


def test_who_a_host_is_has_the_names_of_ansibles_own_facts(host, tmp_path):
    run = playbooks.run("tests/system/preflight/setup.yml", log=tmp_path / "ssh")
    assert run.status == 0, run.text
    ((_task, result),) = run.results(NODE)
    assert {name: host[name] for name in OF_ANSIBLE} == {
        name: result["ansible_facts"][f"ansible_{name}"] for name in OF_ANSIBLE
    }


@pytest.mark.parametrize(
    ("fact", "command"),
    [
        ("processor_nproc", "nproc"),
        ("memtotal_mb", "echo $(($(grep ^MemTotal: /proc/meminfo | tr -cd 0-9) / 1024))"),
    ],
)
def test_what_services_may_use_is_what_the_shell_says(host, fact, command):
    assert host[fact] == int(host.says(command))


def test_the_size_of_a_file_system_is_what_df_says(host):
    sizes = {row["mount"]: row["size_total"] for row in host["mounts"]}
    assert sizes["/"] == int(host.says("df --block-size=1 --output=size / | tail -n 1"))


@pytest.mark.parametrize("name", ["root", "nobody"])
def test_an_account_is_what_getent_says(host, name):
    _name, _x, uid, _gid, _gecos, home, shell = host.says(f"getent passwd {name}").split(":")
    account = host["users"][name]
    assert (account["uid"], account["home"], account["shell"]) == (int(uid), home, shell)


def test_an_account_that_is_not_there_is_none(host):
    assert host["users"]["ghost"]["exists"] is False


@pytest.mark.parametrize("path", ["/usr", "/etc/hostname", "/bin", "/nowhere"])
def test_a_path_is_what_stat_says(host, path):
    words = {"directory": "directory", "regular file": "file", "symbolic link": "link"}
    said = host.says(f"stat --format=%F {path} || true")
    assert host["paths"][path]["kind"] == words.get(said, "absent")


def test_who_listens_is_what_ss_says(host):
    tcp = {(row["address"], row["port"]) for row in host["listening"] if row["port"]}
    said = {tuple(words.split()[3].rsplit(":", 1)) for words in host.says("ss -Hltn").splitlines()}
    assert tcp == {(address.strip("[]*") or "::", int(port)) for address, port in said}


def test_the_kernels_are_those_on_disk_with_their_headers(host):
    (kernel,) = host["kernels"]
    release = host.says("ls /lib/modules")
    assert kernel["release"] == release
    assert kernel["headers"] == (
        host.says(f"ls /lib/modules/{release}/build/Makefile || true") != ""
    )
    assert kernel["running"] is False, "the node runs the machine's kernel"
    assert kernel["next"] is True
    assert host.says("readlink /vmlinuz").endswith(release)


def test_the_compiler_of_a_kernel_is_the_one_in_its_configuration(host):
    (kernel,) = host["kernels"]
    said = host.says("grep CC_VERSION_TEXT /boot/config-*").split('"')[1].split()[0]
    assert kernel["compiler"] == said
    assert kernel["compiler_found"] == (host.says(f"command -v {said} || true") != "")


def test_a_module_on_disk_is_what_modinfo_says(host):
    (module,) = host["driver"]["modules"]
    path = module["path"]
    assert (module["name"], module["open"]) == ("nvidia", True)
    assert module["version"] == host.says(f"modinfo --field=version {path}")
    assert module["kernel"] == host.says("ls /lib/modules")
    assert ",".join(module["depends"]) == host.says(f"modinfo --field=depends {path}")
    # DKMS signs with a key of the host's own.
    assert module["signer"] == host.says(f"modinfo --field=signer {path}")


def test_what_dkms_built_is_what_dkms_says(host):
    (tree,) = host["driver"]["dkms"]
    words = f"{tree['name']}/{tree['version']}, {tree['kernel']}, x86_64: {tree['state']}"
    assert words == host.says("dkms status")


def test_packages_of_the_family_are_those_dpkg_has(host):
    (package,) = [row for row in host["packages"] if row["name"] == "libibverbs1"]
    query = "dpkg-query --show --showformat=\\${Version} libibverbs1"
    assert (package["version"], package["offered"]) == (host.says(query), "")


def test_a_blacklisted_in_kernel_driver_is_what_modprobe_says(host):
    said = host.says('modprobe --showconfig | grep -c "^blacklist nouveau" || true')
    assert (host["in_kernel_drivers"]["nouveau"]["blacklisted"], said) == (True, "1")
    assert host["in_kernel_drivers"]["nova_core"]["blacklisted"] is False


def test_an_in_kernel_driver_is_in_the_initramfs_that_lists_it(host):
    assert "/nouveau.ko" in host.says("lsinitramfs /boot/initrd.img-* | grep nouveau")
    assert host["in_kernel_drivers"]["nouveau"]["initramfs"] == [host.says("ls /lib/modules")]
    assert host["in_kernel_drivers"]["nova_core"]["initramfs"] == []


def test_an_initramfs_is_listed_once_and_then_known_by_what_changes_with_it(host):
    before = host.says("cat /var/cache/gpunode/initramfs.json")
    host.says("chmod 000 /usr/bin/lsinitramfs; chmod 000 /usr/bin/unmkinitramfs")
    assert host.look()["in_kernel_drivers"] == host["in_kernel_drivers"]
    assert host.says("cat /var/cache/gpunode/initramfs.json") == before
    host.says("chmod 755 /usr/bin/lsinitramfs /usr/bin/unmkinitramfs")


def test_what_is_loaded_at_boot_is_what_modules_load_says(host):
    assert host["peer_memory"]["at_boot"] == [host.says("cat /etc/modules-load.d/peer.conf")]


def test_the_connection_comes_in_where_the_route_to_the_controller_leaves(host, lab):
    controller = host.says("ss -Htn state established sport = 22").split()[3].rsplit(":", 1)[0]
    said = host.says(f"ip -o route get {controller}").split(" dev ")[1].split()[0]
    # A virtual interface has no hardware below.
    wanted = {"interface": said, "lower": [said], "drivers": {}, "found_by": "ssh"}
    assert host["management"] == wanted


def test_a_node_without_gpus_has_none_and_is_no_error(host):
    keys = ("gpus", "nvswitches", "rdma_devices", "gpu_clients", "gpu_faults")
    assert {key: host[key] for key in keys} == {key: [] for key in keys}
    assert host["nvidia_smi"]["asked"] is False
    assert host["rdma_stack"] == {
        "kind": "inbox",
        "version": "",
        "kernels": [],
        "loaded": False,
        "stale": False,
        "idle": [],
    }


def test_a_crowd_and_a_share_that_does_not_answer_keep_no_look_waiting(host, lab):
    with crowded.crowd(lab, NODE, processes=500, sockets=100, mounts=50):
        # The shell of a session waits for whoever cannot be killed, too.
        took_s, facts = crowded.look(lab, NODE)
    heard = [row for row in facts["listening"] if row["unit"] == "crowd.service"]
    mounts = [row["mount"] for row in facts["mounts"]]
    assert (len(heard), len([name for name in mounts if "/crowd/" in name])) == (100, 50)
    assert crowded.GONE not in mounts
    # A second is what it may take on a node that is let alone.
    assert took_s < 10


def test_a_mounted_image_is_looked_at_in_place_of_the_host(host):
    image = host.look(root="/srv/image")
    assert [row["release"] for row in image["kernels"]] == [host.says("ls /srv/image/lib/modules")]
    assert image["packages"] == []
    assert image["users"] == host["users"]
