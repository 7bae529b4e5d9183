"""The lab: real systemd hosts with real SSH on one Linux machine.

`python -m lab up` boots them, `python -m lab down` leaves nothing of them running.
Nodes are systemd-nspawn containers, each an overlay over one base tree per
Debian release, on a private bridge with NAT.
"""
