"""Kernel hosts: hosts of the lab with a kernel of their own, under QEMU.

A node shares the machine's kernel, can load nothing into it and boots in no time. A kernel host
has firmware, a boot loader, an initramfs and a kernel, of Debian 13 each, and all of it is
emulated: it takes minutes to boot. Beside that it is a host of the lab as any other.
"""
