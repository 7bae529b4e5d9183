# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Paths at which root may work, and run programs: nobody but root can turn or change them.

The question is that of OpenSSH about a file of keys (misc.c, safe_path) and of sudo about its
policy: the path itself and all that leads there belongs to root and is written by nobody else.
Who can write a folder can put anything in the place of what is in it, a link as well.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import struct
from collections.abc import Collection, Iterator

from ..refusal import Refusal
from . import files

# As many as the kernel follows, path_resolution(7).
_MOST_LINKS = 40
# No path is longer, nor what conda writes around it.
_HEAD_OF_SCRIPT = 8192
_INTERPRETER = re.compile(rb"#![ \t]*(/[^\s]+)")
_BY_SHELL = re.compile(rb"#![ \t]*/bin/sh\n'''exec' \"?(/[^\"\n]+?)\"? \"\$0\"")
# POSIX access control lists as the kernel hands them out: include/uapi/linux/posix_acl_xattr.h.
_ACCESS, _DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
_HEAD, _ENTRY = struct.Struct("<I"), struct.Struct("<HHI")
_USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 0x02, 0x04, 0x08, 0x10, 0x20
_WRITES = 0x02
# Those of NFS 4 as its client hands them out, in XDR: RFC 8881, 6.2.1, and nfs4-acl-tools,
# libnfs4acl/acl_nfs4_xattr_load.c. Allowed, to write, append or put something in, delete what is
# in there or itself, and change the list or the owner.
_NFS4, _NFS4_HEAD, _NFS4_ENTRY = "system.nfs4_acl", struct.Struct(">I"), struct.Struct(">4I")
_ALLOWS, _CHANGES = 0, 0x2 | 0x4 | 0x40 | 0x10000 | 0x40000 | 0x80000


def why_unsafe(path: str) -> str:
    """Return why somebody else could change what is at a path, or lead it elsewhere; '' if nobody.

    Of a path where nothing is yet, whether somebody else could be there first. Links are followed
    where only root can turn them.

    :param path: an absolute path.
    """
    rest, done, links = path.split("/"), "", 0
    flaw, is_shared = _flaw("/", os.lstat("/"))
    while rest and not flaw:
        part = rest.pop(0)
        if part == "..":
            done = os.path.dirname(done)
        elif part not in ("", "."):
            here = f"{done}/{part}"
            try:
                status = os.lstat(here)
            except FileNotFoundError:
                place = done or "/"
                return f"{place} is open to all" if is_shared else _default_flaw(place)
            if stat.S_ISLNK(status.st_mode):
                links += 1
                target = os.readlink(here)
                flaw = _foreign(here, status)
                rest = target.split("/") + rest
                done = "" if target.startswith("/") else done
                if links > _MOST_LINKS:
                    return f"{path} leads in a circle"
                continue
            flaw, is_shared = _flaw(here, status)
            done = here
    return flaw


def why_unsafe_tree(path: str, but: Collection[str] = ()) -> str:
    """Return why somebody else could change something in a folder; '' where nobody could.

    What is told is the first thing that was found: the path that leads there, then what is below,
    and what links lead to from there.

    :param but: paths in the folder that are put right by whoever asks, and run by nobody.
    """
    flaw = why_unsafe(path)
    return flaw or (why_unsafe_below(path, but) if os.path.isdir(path) else "")


def why_unsafe_below(path: str, but: Collection[str] = ()) -> str:
    """Return why somebody else could change something in a folder, whatever leads there.

    :param but: as for :func:`why_unsafe_tree`.
    """
    flaw = ""
    for found in _below(path):
        if found.path in but:
            continue
        status = found.stat(follow_symlinks=False)
        # The mode of a link says nothing, and what it leads to below the folder comes by itself.
        if found.is_symlink():
            target = os.path.realpath(found.path)
            is_below = f"{target}/".startswith(f"{os.path.realpath(path)}/")
            flaw = _foreign(found.path, status) or ("" if is_below else why_unsafe(target))
        else:
            flaw = _flaw(found.path, status)[0]
        if not flaw and found.is_dir(follow_symlinks=False):
            flaw = _default_flaw(found.path)
        if flaw:
            break
    return flaw


def interpreter(path: str) -> str:
    """Return the program that runs a script, '' where none is named by its path.

    Where that path is longer than the kernel takes, conda has a shell run it: the second line of
    the script tells.
    """
    try:
        with files.opened(path) as file:
            head = file.read(_HEAD_OF_SCRIPT)
    except OSError:
        return ""
    named = _BY_SHELL.match(head) or _INTERPRETER.match(head)
    return os.fsdecode(named.group(1)) if named else ""


def refuse_unsafe(what: str, path: str, option: str) -> None:
    """Refuse to work at a path that somebody else than root could turn or change.

    :param what: what is to be done there.
    :param option: the one that names the path.
    :raises Refusal: somebody could.
    """
    refuse(what, why_unsafe(path), path, option)


def refuse_unsafe_tree(what: str, path: str, option: str, but: Collection[str] = ()) -> None:
    """Refuse to run what lies in a folder of which somebody else could change anything.

    :param but: as for :func:`why_unsafe_tree`.
    :raises Refusal: somebody could.
    """
    refuse(what, why_unsafe_tree(path, but=but), path, option)


@contextlib.contextmanager
def held(path: str) -> Iterator[str]:
    """Yield a name of a folder that stays that folder's, whatever its path comes to lead to.

    For work below folders of a user, who may put a link in the place of any of them.

    :param path: an absolute path of a folder that is there; a link of somebody else's is not
        followed.
    :raises Refusal: a link of somebody else's is on the way.
    :raises OSError: no folder is there. What fails in the block tells of the path.
    """
    descriptor = _opened(path)
    name = f"/proc/self/fd/{descriptor}"
    try:
        yield name
    except OSError as error:
        if isinstance(error.filename, str) and error.filename.startswith(name):
            error.filename = path + error.filename[len(name) :]
        raise
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def held_above(path: str) -> Iterator[str]:
    """Yield a name of what is at a path, whose folder is held meanwhile; see :func:`held`.

    What is done by that name to a link is done to the link.
    """
    folder, name = os.path.split(path)
    with held(folder) as place:
        yield os.path.join(place, name)


def rmdir(path: str) -> None:
    """Remove an empty folder, led there by no link of somebody else's.

    :raises Refusal: one is on the way.
    :raises OSError: as os.rmdir does.
    """
    with held_above(path) as place:
        os.rmdir(place)


def _opened(path: str) -> int:
    """Return a descriptor of a folder, opened part by part."""
    flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    rest, links = [part for part in path.split("/") if part not in ("", ".")], 0
    at = os.open("/", flags)
    try:
        while rest:
            part = rest.pop(0)
            status = os.stat(part, dir_fd=at, follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                links += 1
                above = os.fstat(at)
                is_roots = status.st_uid == 0 and above.st_uid == 0 and not above.st_mode & 0o022
                if not is_roots or links > _MOST_LINKS:
                    raise Refusal(
                        path,
                        f"{part} on the way there is a link that others than root could turn",
                        "Put a folder there, or choose another path",
                    )
                target = os.readlink(part, dir_fd=at)
                rest = [name for name in target.split("/") if name not in ("", ".")] + rest
                if target.startswith("/"):
                    at = _instead(at, os.open("/", flags))
                continue
            at = _instead(at, os.open(part, flags, dir_fd=at))
    except BaseException:
        os.close(at)
        raise
    return at


def _instead(old: int, new: int) -> int:
    os.close(old)
    return new


def _below(path: str) -> Iterator[os.DirEntry[str]]:
    """Yield all that is in a folder, at any depth; links are not followed."""
    ahead = [path]
    while ahead:
        with os.scandir(ahead.pop()) as found:
            for entry in found:
                yield entry
                if entry.is_dir(follow_symlinks=False):
                    ahead.append(entry.path)


def _foreign(path: str, status: os.stat_result) -> str:
    # Whoever runs this is trusted beside root, and is root on a node.
    is_ours = status.st_uid in (0, os.geteuid())
    return "" if is_ours else f"{path} belongs to {files.user_name(status.st_uid)}"


def _flaw(path: str, status: os.stat_result) -> tuple[str, bool]:
    """Return (why it is not root's alone, whether all may put things beside what is in it).

    In a folder with the sticky bit nobody moves what is another's.
    """
    flaw, mode = _foreign(path, status), status.st_mode
    is_shared = bool(mode & stat.S_IWOTH)
    # The bits of the group are the mask of a list: without them nobody on it may write. With a list
    # of NFS 4 they tell of nobody else.
    writer = _writer(path, status.st_gid) if mode & stat.S_IWGRP else ""
    writer = writer or _nfs4_writer(path, status.st_gid)
    if flaw:
        return flaw, is_shared
    if stat.S_ISDIR(mode) and mode & stat.S_ISVTX and (is_shared or writer):
        return "", True
    if is_shared:
        flaw = f"{path} is written by all"
    elif writer:
        flaw = f"{path} is written by {writer}"
    return flaw, is_shared


def _writer(path: str, gid: int) -> str:
    """Return who besides root may write what its group may, '' for nobody.

    :param gid: the group that it belongs to.
    """
    entries = _acl(path, _ACCESS) or [(_GROUP_OBJ, _WRITES, gid)]
    return _writers(entries, gid)


def _default_flaw(folder: str) -> str:
    """Return why what root makes in a folder would not be root's alone, '' where it would.

    Such a list takes the place of the umask, acl(5).
    """
    entries = _acl(folder, _DEFAULT)
    writer = _writers(entries, os.stat(folder, follow_symlinks=False).st_gid)
    if not writer and any(tag == _OTHER and bits & _WRITES for tag, bits, _who in entries):
        writer = "all"
    return f"what is made in {folder} is written by {writer}" if writer else ""


def _acl(path: str, name: str) -> list[tuple[int, int, int]]:
    """Return the (tag, permissions, id) of an access control list; [] where there is none."""
    try:
        data = os.getxattr(path, name, follow_symlinks=False)
    except OSError:
        return []
    return list(_ENTRY.iter_unpack(data[_HEAD.size :]))


def _nfs4_writer(path: str, gid: int) -> str:
    """Return who besides root may change something by a list of NFS 4; '' for nobody.

    Here, or in what comes to be below.
    """
    try:
        entries = list(_nfs4_entries(os.getxattr(path, _NFS4, follow_symlinks=False)))
    except OSError:
        return ""
    except struct.error:
        return "whom a list names that cannot be read"
    for kind, bits, who in entries:
        is_roots = who.partition("@")[0] in ("OWNER", "root", "0") or (who == "GROUP@" and not gid)
        if kind == _ALLOWS and bits & _CHANGES and not is_roots:
            return {"EVERYONE@": "all", "GROUP@": f"group {files.group_name(gid)}"}.get(who, who)
    return ""


def _nfs4_entries(data: bytes) -> Iterator[tuple[int, int, str]]:
    """Yield the (type, mask, who) of a list of NFS 4.

    :raises struct.error: it is none.
    """
    (count,), at = _NFS4_HEAD.unpack_from(data), _NFS4_HEAD.size
    for _entry in range(count):
        kind, _flags, bits, length = _NFS4_ENTRY.unpack_from(data, at)
        at += _NFS4_ENTRY.size
        (who,) = struct.unpack_from(f"{length}s", data, at)
        yield kind, bits, who.decode(errors="replace")
        # Padded to four bytes.
        at += length + -length % 4


def _writers(entries: list[tuple[int, int, int]], gid: int) -> str:
    """Return the first besides root whom a list lets write, in words; '' for nobody."""
    mask = next((bits for tag, bits, _who in entries if tag == _MASK), _WRITES)
    for tag, bits, named in entries if mask & _WRITES else ():
        who = gid if tag == _GROUP_OBJ else named
        if not bits & _WRITES or not who:
            continue
        if tag == _USER and who != os.geteuid():
            return f"user {files.user_name(who)}"
        if tag in (_GROUP_OBJ, _GROUP):
            return f"group {files.group_name(who)}"
    return ""


def refuse(what: str, flaw: str, path: str, option: str) -> None:
    """Refuse to do something for a flaw that was found; nothing where there is none.

    :param flaw: what :func:`why_unsafe` and its like returned.
    :param path: what others decide over.
    :param option: the one that names it.
    :raises Refusal: there is one.
    """
    if flaw:
        raise Refusal(
            what,
            f"{flaw}, so that others than root decide what is at {path}",
            "Give it to root alone (chown root, chmod go-w, setfacl -bk), "
            f"or choose another {option}",
        )
