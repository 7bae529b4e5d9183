"""Makes what nv_peer_mem is built from: its archive, a driver for it, and what OFED leaves."""

from __future__ import annotations

import hashlib
import io
import re
import shutil
import tarfile

from lab.paths import CHECKOUT

STANDIN = CHECKOUT / "tests" / "standins" / "nv_peer_mem"
_SINCE, _END = "/* since 5.4-3 */\n", "/* end */\n"
# Tags whose sources need struct peer_memory_client_ex.
_NEWER = ("1.2-0", "1.3-0")


def archive(path, tag):
    """Write the archive of a tag as GitHub has it, and return PATH#sha256=DIGEST.

    :param path: where to.
    :param tag: "1.1-0" or "1.3-0".
    """
    folder = f"nv_peer_memory-{tag}"
    with tarfile.open(path, "w:gz") as packed:
        for file in sorted((STANDIN / "source").iterdir()):
            text = file.read_text(encoding="utf-8")
            text = text.replace("@TAG@", tag).replace("@VERSION@", tag.partition("-")[0])
            if file.suffix == ".c" and tag in _NEWER:
                text = f"#define NEEDS_CLIENT_EX\n{text}"
            row = tarfile.TarInfo(f"{folder}/{file.name}")
            row.size, row.mode = len(text.encode()), file.stat().st_mode & 0o777
            packed.addfile(row, io.BytesIO(text.encode()))
    return f"{path}#sha256={hashlib.sha256(path.read_bytes()).hexdigest()}"


def driver(folder, version, changed="u32", license_="NVIDIA"):
    """Make the kernel folder of a driver, and return it.

    :param changed: the type of a member that all symbols depend on; another one changes their
        versions.
    """
    shutil.copytree(STANDIN / "driver", folder)
    for file in folder.rglob("*.[ch]"):
        text = file.read_text(encoding="utf-8")
        for token, value in (("VERSION", version), ("CHANGED", changed), ("LICENSE", license_)):
            text = text.replace(f"@{token}@", value)
        file.write_text(text, encoding="utf-8")
    return folder


def ofed(folder, has_client_ex=True, version=None):
    """Make what stands for /usr/src/ofa_kernel/default, and return it.

    :param version: of ib_register_peer_memory_client, a number; another than there is usually.
    """
    header = (STANDIN / "ofed" / "peer_mem.h").read_text(encoding="utf-8")
    if not has_client_ex:
        header = header.partition(_SINCE)[0] + header.partition(_END)[2]
    (folder / "include" / "rdma").mkdir(parents=True)
    (folder / "include" / "rdma" / "peer_mem.h").write_text(header, encoding="utf-8")
    symvers = (STANDIN / "ofed" / "Module.symvers").read_text(encoding="utf-8")
    if version is not None:
        symvers = re.sub(
            r"0x\w+(?=\tib_register_peer_memory_client\t)", f"0x{version:08x}", symvers
        )
    (folder / "Module.symvers").write_text(symvers, encoding="utf-8")
    return folder
