"""The operator's key and the nodes' host keys, made here so that no first connection is blind."""

from __future__ import annotations

from lab import textfile
from lab.command import run


def ensure(path, comment):
    """Make an ed25519 key pair at ``path`` unless it is there; return the public key's line."""
    public = path.with_name(f"{path.name}.pub")
    if not (path.exists() and public.exists()):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.unlink(missing_ok=True)
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path])
    return public.read_text(encoding="ascii").strip()


def known_hosts_text(host_keys):
    """Return known_hosts for a dict of address to public key line."""
    lines = []
    for address, key in host_keys.items():
        kind, blob, *_comment = key.split()
        lines.append(f"{address} {kind} {blob}\n")
    return "".join(lines)


def write_known_hosts(path, host_keys):
    """Write the known_hosts file of the lab."""
    textfile.put(path, known_hosts_text(host_keys), mode=0o600)
