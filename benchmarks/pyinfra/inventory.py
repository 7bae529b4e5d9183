"""The lab's hosts, as its inventory for Ansible has them, and what is to be on them."""

import json
from pathlib import Path

import yaml

_known = yaml.safe_load(Path("inventory/lab/hosts.yml").read_text())["all"]
_variables = _known["vars"]
_key = Path(_variables["ansible_ssh_private_key_file"])

lab = (
    [(name, {"ssh_hostname": host["ansible_host"]}) for name, host in _known["hosts"].items()],
    {
        "ssh_user": _variables["ansible_user"],
        "ssh_key": str(_key),
        "ssh_known_hosts_file": str(_key.with_name("known_hosts")),
        "ssh_strict_host_key_checking": "yes",
        "_sudo": True,
        "miniforge_url": _variables["miniforge_url"],
        "miniforge_sha256": _variables["miniforge_sha256"],
        "lock": _variables["lab_locks"]["md5"],
        "requirements": "inventory/lab/files/ob_cuda.requirements.txt",
        **json.loads(Path("tests/output/bench/placed.json").read_text()),
    },
)
