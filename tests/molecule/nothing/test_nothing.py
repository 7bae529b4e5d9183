"""A role that was asked for nothing placed nothing on a host that was new."""

from __future__ import annotations

# What a host writes by itself while it boots, and Ansible when it logs in.
_OWN = (
    "/etc",
    "/etc/ld.so.cache",
    "/home/ops",
    "/home/ops/.ansible*",
    "/var/cache/ldconfig*",
    "/var/lib/dbus*",
    "/var/lib/systemd*",
)


def test_nothing_was_placed(host):
    own = " ".join(f"-not -path '{pattern}'" for pattern in _OWN)
    # The machine's id is the first that the first boot writes.
    folders = "/etc /home /opt /root /srv /usr /var/cache /var/lib"
    with host.sudo():
        assert host.check_output(f"find {folders} -xdev -newer /etc/machine-id {own}") == ""
