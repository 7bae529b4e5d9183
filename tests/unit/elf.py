"""Kernel modules made of a few symbols, in the layouts that kernels have had: elf(5)."""

from __future__ import annotations

import struct

_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_HEADER_SIZE = 64
_PROGBITS, _SYMTAB, _STRTAB = 1, 2, 3
_ABSOLUTE = 0xFFF1
# The section is one of those that are loaded.
_ALLOCATED = 2


def module(exports=(), imports=(), info=(), layout="absolute", extended=(), notes=b""):
    """Return the bytes of a module.

    :param exports: (symbol, version); a version of None is none.
    :param imports: (symbol, version); a version of None is an import that demands none.
    :param info: (field, value) of .modinfo.
    :param layout: "absolute", or the section that holds the versions of the exports.
    :param extended: imports in the two sections of Linux 6.14 instead.
    :param notes: the content of the section that is for the build id.
    """
    sections = {
        ".modinfo": b"".join(f"{name}={value}\0".encode() for name, value in info),
        "__ksymtab": bytes(8 * len(exports)),
        "__versions": b"".join(
            struct.pack("<Q56s", version, symbol.encode())
            for symbol, version in imports
            if version is not None
        ),
    }
    if extended:
        sections["__version_ext_crcs"] = struct.pack(
            f"<{len(extended)}I", *(row[1] for row in extended)
        )
        sections["__version_ext_names"] = b"".join(f"{row[0]}\0".encode() for row in extended)
    if notes:
        sections[".note.gnu.build-id"] = notes
    symbols = [(symbol, 0, 0) for symbol, _version in [*imports, *extended]]
    symbols += [(f"__ksymtab_{symbol}", "__ksymtab", 0) for symbol, _version in exports]
    versioned = [(symbol, version) for symbol, version in exports if version is not None]
    if layout == "absolute":
        symbols += [(f"__crc_{symbol}", _ABSOLUTE, version) for symbol, version in versioned]
    else:
        # What is before them shows whether places are taken for versions.
        sections[layout] = bytes(16) + b"".join(struct.pack("<I", row[1]) for row in versioned)
        symbols += [
            (f"__crc_{symbol}", layout, 16 + 4 * number)
            for number, (symbol, _version) in enumerate(versioned)
        ]
    return _file(sections, symbols)


def note(content, name=b"GNU\0", kind=3):
    """Return a note; that of a build id where nothing else is said."""
    sizes = struct.pack("<III", len(name), len(content), kind)
    return sizes + name + bytes(-len(name) % 4) + content + bytes(-len(content) % 4)


def _file(contents, symbols):
    """Return an ELF file of some sections and of symbols (name, section, value)."""
    numbers = {name: number for number, name in enumerate(contents, 1)}
    names, table = b"\0", _SYMBOL.pack(0, 0, 0, 0, 0, 0)
    for name, section, value in symbols:
        table += _SYMBOL.pack(len(names), 0, 0, numbers.get(section, section), value, 0)
        names += name.encode() + b"\0"
    strings = len(contents) + 2
    rows = [
        *((name, _PROGBITS, content, 0) for name, content in contents.items()),
        (".symtab", _SYMTAB, table, strings),
        (".strtab", _STRTAB, names, 0),
    ]
    titles = b"\0" + b"".join(f"{row[0]}\0".encode() for row in rows) + b".shstrtab\0"
    rows.append((".shstrtab", _STRTAB, titles, 0))
    body, headers = b"", _SECTION.pack(*[0] * 10)
    for name, kind, content, link in rows:
        headers += _SECTION.pack(
            titles.index(f"\0{name}\0".encode()) + 1,
            kind,
            _ALLOCATED if kind == _PROGBITS else 0,
            0,
            _HEADER_SIZE + len(body),
            len(content),
            link,
            # Of symbols: those that are local, which is all of them; and the size of one.
            len(content) // _SYMBOL.size if kind == _SYMTAB else 0,
            1,
            _SYMBOL.size if kind == _SYMTAB else 0,
        )
        body += content
    head = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\x02\x01\x01",
        1,
        62,
        1,
        0,
        0,
        _HEADER_SIZE + len(body),
        0,
        _HEADER_SIZE,
        0,
        0,
        _SECTION.size,
        len(rows) + 1,
        len(rows),
    )
    return head + body + headers
