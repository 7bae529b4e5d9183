# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Kernel modules as files: symbols they export and import, in which version, and which build it is.

A kernel that is built with CONFIG_MODVERSIONS loads a module only where the version (a CRC over
the prototype) of each symbol that it imports is that of the module which exports it. The file of
the exporting module has them in one of two layouts: a symbol __crc_NAME is absolute, and its value
is the version; or it lies in a section, and the version is the word found there, in .rodata (Linux
4.11 to 5.18 with CONFIG_MODULE_REL_CRCS) or in __kcrctab (since Linux 5.19). Which of them it is
says the symbol itself, and no number of a kernel.

The file is read here and not by binutils, although they are wherever a compiler is: the build
gets its versions by them, and what proves the build should not share an error with it; they print
class and value of a symbol and leave its section to a second program and the content of that to a
third; and a host is looked at long after its compiler was removed.
"""

from __future__ import annotations

import gzip
import lzma
import re
import struct
import subprocess
import zlib
from collections.abc import Iterator
from functools import cached_property
from typing import Callable, TypeVar

from ..refusal import Refusal
from ..system import commands, files
from ..system.commands import Run

# elf(5), of 64 bits and little-endian, as all machines have it that this project knows.
_IDENTITY = b"\x7fELF\x02\x01"
_FILE = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_NO_CONTENT, _UNDEFINED, _ABSOLUTE = 8, 0, 0xFFF1
_WORD = struct.Struct("<I")
# Linux, include/linux/module.h: struct modversion_info.
_VERSION = struct.Struct("<Q56s")
# elf(5), "Notes (Nhdr)": sizes of the name and of the content, each of which is filled up to whole
# words, and a type. A build id is the note of type NT_GNU_BUILD_ID and name GNU.
_NOTE = struct.Struct("<III")
_BUILD_ID = (3, b"GNU\0")

_EXPORTED = re.compile(r"0x([0-9a-fA-F]+)\t(\w+)\t([^\t]*)\t([^\t]*)")

# By the first bytes, as kmod tells them (libkmod/libkmod-file.c).
_XZ, _GZIP, _ZSTD = b"\xfd7zXZ\0", b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_UNPACK_S = 60
# The largest modules, of the driver with its symbols, have a tenth of it.
_LARGEST = 1 << 30

_Found = TypeVar("_Found")


class KernelModule:
    """One kernel module, from the content of its file.

    :param data: the bytes of an unpacked .ko; see :func:`read`.
    :param path: where they are from, for messages.
    :raises Refusal: it is no module of a machine that this project knows.
    """

    def __init__(self, data: bytes, path: str) -> None:
        self.path = path
        self._data = data
        self._sections = self._checked(self._read_sections)

    @cached_property
    def exports(self) -> dict[str, int | None]:
        """{symbol: its version, None where the module gives it none}."""
        return self._checked(self._read_exports)

    @cached_property
    def imports(self) -> dict[str, int | None]:
        """{symbol: the version it has to have, None where the module demands none}."""
        return self._checked(self._read_imports)

    @cached_property
    def info(self) -> dict[str, str]:
        """{field: value} of what modinfo shows, such as vermagic; the first of several."""
        fields: dict[str, str] = {}
        for line in self._content(".modinfo").split(b"\0"):
            name, _sign, value = line.decode("utf-8", "replace").partition("=")
            fields.setdefault(name, value)
        return fields

    @property
    def build_id(self) -> str:
        """What the linker computed over the module, in hexadecimal digits; '' where it has none."""
        return build_id(self._content(".note.gnu.build-id"))

    def _checked(self, look: Callable[[], _Found]) -> _Found:
        try:
            return look()
        except (struct.error, LookupError, OverflowError, ValueError) as error:
            raise Refusal(
                self.path,
                f"it cannot be read as a kernel module of this machine: {error}",
                "Name the nvidia.ko or Module.symvers of the driver, or build it again",
            ) from error

    def _read_sections(self) -> dict[str, tuple[int, int, int, int]]:
        """Return {name: (number, offset, size, link)} of the sections that have content."""
        if not self._data.startswith(_IDENTITY):
            raise ValueError("it is no ELF file of 64 bits")
        header = _FILE.unpack_from(self._data)
        start, count, names_in = header[6], header[12], header[13]
        rows = [
            _SECTION.unpack_from(self._data, start + number * _SECTION.size)
            for number in range(count)
        ]
        names = rows[names_in][4]
        return {
            self._string(names + row[0]): (number, row[4], row[5], row[6])
            for number, row in enumerate(rows)
            if row[1] != _NO_CONTENT
        }

    def _read_exports(self) -> dict[str, int | None]:
        by_number = {row[0]: row for row in self._sections.values()}
        found: dict[str, int | None] = {}
        for name, section, _value in self._symbols(b"__ksymtab_"):
            if section != _UNDEFINED:
                found[name[len("__ksymtab_") :]] = None
        for name, section, value in self._symbols(b"__crc_"):
            if section == _ABSOLUTE:
                found[name[len("__crc_") :]] = value & 0xFFFFFFFF
            # Undefined is what the build could not tell the version of: it is weak then.
            elif section != _UNDEFINED:
                _number, start, size, _link = by_number[section]
                if value + _WORD.size > size:
                    raise ValueError(f"{name} lies outside of its section")
                found[name[len("__crc_") :]] = _WORD.unpack_from(self._data, start + value)[0]
        return found

    def _read_imports(self) -> dict[str, int | None]:
        found: dict[str, int | None] = {
            name: None for name, section, _v in self._symbols(b"") if section == _UNDEFINED and name
        }
        for version, name in _VERSION.iter_unpack(self._content("__versions")):
            found[name.partition(b"\0")[0].decode("utf-8", "replace")] = version & 0xFFFFFFFF
        # Linux 6.14, CONFIG_EXTENDED_MODVERSIONS: names of any length, one after the other.
        names = self._content("__version_ext_names").split(b"\0")
        versions = _WORD.iter_unpack(self._content("__version_ext_crcs"))
        for name, (version,) in zip(names, versions):
            found[name.decode("utf-8", "replace")] = version
        return found

    def _symbols(self, prefix: bytes) -> Iterator[tuple[str, int, int]]:
        """Yield (name, number of its section, value) of the symbols whose names begin so."""
        _number, start, size, link = self._sections.get(".symtab", (0, 0, 0, 0))
        names = next((row[1] for row in self._sections.values() if row[0] == link), 0)
        for row in _SYMBOL.iter_unpack(self._data[start : start + size]):
            if self._data.startswith(prefix, names + row[0]):
                yield self._string(names + row[0]), row[3], row[4]

    def _content(self, section: str) -> bytes:
        _number, start, size, _link = self._sections.get(section, (0, 0, 0, 0))
        return self._data[start : start + size]

    def _string(self, start: int) -> str:
        return self._data[start : self._data.index(b"\0", start)].decode("utf-8", "replace")


def read(path: str, run: Run = commands.run) -> KernelModule:
    """Return the KernelModule at a path, unpacked where it is a .ko.xz, .ko.gz or .ko.zst.

    :param run: runs a command.
    :raises Refusal: it cannot be read.
    """
    try:
        with files.opened(path) as handle:
            data = handle.read(_LARGEST)
        return KernelModule(_unpacked(data, path, run), path)
    except (OSError, EOFError, lzma.LZMAError, zlib.error, subprocess.SubprocessError) as error:
        raise Refusal(
            path,
            f"it cannot be read: {error}",
            "Name a module that is whole; a .zst needs the program zstd",
        ) from error


def build_id(notes: bytes) -> str:
    """Return the build id among the notes of a section, in hexadecimal digits; '' for none.

    Of a loaded module the kernel hands out the sections of notes as they were in its file: Linux,
    kernel/module/sysfs.c, add_notes_attrs().

    :param notes: the content of the section.
    """
    place = 0
    while place + _NOTE.size <= len(notes):
        name_size, size, kind = _NOTE.unpack_from(notes, place)
        name_at = place + _NOTE.size
        content_at = name_at + _whole_words(name_size)
        content = notes[content_at : content_at + size]
        if (kind, notes[name_at : name_at + name_size]) == _BUILD_ID:
            return content.hex() if len(content) == size else ""
        place = content_at + _whole_words(size)
    return ""


def _whole_words(size: int) -> int:
    return -(-size // _WORD.size) * _WORD.size


def of_symvers(text: str) -> dict[str, tuple[int, str]]:
    """Return {symbol: (version, module that exports it)} of the text of a Module.symvers.

    Tab-separated: version, symbol, module, kind of export, and since Linux 5.4 the namespace
    (Documentation/kbuild/modules.rst, "Symbols and the kernel"; 5.4 to 5.6 had it third).
    A line that is none is passed over, as modpost would not.
    """
    found = {}
    for line in text.splitlines():
        match = _EXPORTED.match(line)
        if match:
            version, symbol, third, fourth = match.groups()
            module = third if fourth.startswith("EXPORT") else fourth
            found[symbol] = (int(version, 16) & 0xFFFFFFFF, module)
    return found


def _unpacked(data: bytes, path: str, run: Run) -> bytes:
    if data.startswith(_XZ):
        return lzma.decompress(data)
    if data.startswith(_GZIP):
        return gzip.decompress(data)
    if data.startswith(_ZSTD):
        # Python's own library has it from 3.14 on.
        done = run(["zstd", "-dcq", path], capture_output=True, timeout=_UNPACK_S)
        if done.returncode:
            raise OSError(done.stderr.decode("utf-8", "replace").strip())
        return done.stdout
    return data
