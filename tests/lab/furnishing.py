"""What a host of the lab has of its own, put into its tree before it boots."""

from __future__ import annotations

from lab import inherit, keys, ssh, textfile

_USER_ID = 1000


def put(tree, host, lab_paths, net, network_file, inherited):
    """Put a host's own files and those that it inherits into its tree.

    :param host: it has ``name`` and ``host_key()``.
    :param net: the lab's network.
    :param network_file: (path, text) of what gives it its address.
    :param inherited: {path: (content, mode)}, see :func:`lab.inherit.gather`.
    """
    path, text = network_file
    files = {
        "/etc/hostname": (f"{host.name}\n", 0o644),
        "/etc/hosts": (f"127.0.0.1 localhost\n127.0.1.1 {host.name}\n", 0o644),
        "/etc/resolv.conf": (inherit.machine_resolver_text(net.address), 0o644),
        path: (text, 0o644),
        "/etc/ssh/ssh_host_ed25519_key.pub": (f"{host.host_key()}\n", 0o644),
        "/etc/ssh/ssh_host_ed25519_key": (lab_paths.host_key(host.name).read_bytes(), 0o600),
        **inherited,
    }
    for path, (content, mode) in files.items():
        textfile.put(textfile.inside(tree, path), content, mode)
    textfile.put(
        textfile.inside(tree, f"/home/{ssh.USER}/.ssh/authorized_keys"),
        f"{keys.ensure(lab_paths.user_key, ssh.USER)}\n",
        0o600,
        _USER_ID,
    )
