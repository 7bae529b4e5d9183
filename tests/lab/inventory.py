"""The inventory that Ansible reads, written from the lab as it is."""

from __future__ import annotations

import yaml

from lab import ssh, textfile

_HEADER = "# Written by `make lab-up`; what is changed here is lost.\n"


def render(nodes, lab_paths, extra):
    """Return the text of hosts.yml.

    :param nodes: the lab's nodes, and kernel hosts.
    :param extra: further variables of all hosts.
    """
    hosts = {node.name: {"ansible_host": node.address, **node.variables} for node in nodes}
    variables = {
        "ansible_user": ssh.USER,
        "ansible_become": True,
        "ansible_ssh_private_key_file": str(lab_paths.user_key),
        "ansible_ssh_common_args": " ".join(ssh.options(lab_paths)),
        **extra,
    }
    serving = {"hosts": {name: {} for name in hosts}}
    everything = {"all": {"vars": variables, "hosts": hosts, "children": {"serving": serving}}}
    return _HEADER + yaml.safe_dump(everything, sort_keys=False, width=1000)


def write(lab, extra):
    """Write the inventory of a lab that is up, with the kernel hosts that are switched on."""
    hosts = [*lab.nodes, *(host for host in lab.kernel_hosts if host.is_running())]
    textfile.put(lab.paths.inventory, render(hosts, lab.paths, extra))
