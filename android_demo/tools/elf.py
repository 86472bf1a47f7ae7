"""Reads the loader's view of programs and libraries (ELF, 64 bits, little endian)."""

import dataclasses
import pathlib
import struct

PROCESSORS = {62: "x86_64", 183: "aarch64"}
_LOAD, _DYNAMIC, _SYMBOLS = 1, 6, 11
_NEEDED_VERSIONS, _VERSION_OF_SYMBOLS = 0x6FFFFFFE, 0x6FFFFFFF
_NEEDED, _NAME = 1, 14


@dataclasses.dataclass(frozen=True)
class Elf:
    """The facts of a file.

    Attributes:
        processor: `"aarch64"` or `"x86_64"`.
        page_sizes: page sizes of the loaded segments, in bytes.
        name: the name under which others need the library, or None.
        needed: names of needed libraries.
        undefined: `{symbol: its version or None}` that these have to provide.
        defined: symbols that it provides.
    """

    processor: str
    page_sizes: frozenset
    name: str | None
    needed: tuple
    undefined: dict
    defined: frozenset


def read(path):
    """Reads the facts of a file.

    Raises:
        ValueError: if it is something else.
    """
    content = pathlib.Path(path).read_bytes()
    machine = int.from_bytes(content[18:20], "little")
    if content[:6] != b"\x7fELF\x02\x01" or machine not in PROCESSORS:
        raise ValueError(
            f"{path} is no program or library for {' or '.join(PROCESSORS.values())}."
        )
    programs, sections = struct.unpack_from("<QQ", content, 32)
    _, num_programs, _, num_sections = struct.unpack_from("<4H", content, 54)
    headers = [
        struct.unpack_from("<IIQQQQQQ", content, programs + 56 * i)
        for i in range(num_programs)
    ]
    tables = {}
    for i in range(num_sections):
        _, kind, _, _, offset, size, link = struct.unpack_from(
            "<IIQQQQI", content, sections + 64 * i
        )
        tables[kind] = (offset, size, sections + 64 * link)
    names = _Names(content, tables[_DYNAMIC])
    entries = list(struct.iter_unpack("<qQ", _bytes(content, tables[_DYNAMIC])))
    named = [names[value] for tag, value in entries if tag == _NAME]
    undefined, defined = _symbols(content, tables)
    return Elf(
        processor=PROCESSORS[machine],
        page_sizes=frozenset(h[7] for h in headers if h[0] == _LOAD),
        name=named[0] if named else None,
        needed=tuple(names[value] for tag, value in entries if tag == _NEEDED),
        undefined=undefined,
        defined=frozenset(defined),
    )


class _Names:
    """The texts that a table refers to."""

    def __init__(self, content, table):
        self._content = content
        (self._start,) = struct.unpack_from("<Q", content, table[2] + 24)

    def __getitem__(self, offset):
        start = self._start + offset
        return self._content[start : self._content.index(b"\0", start)].decode()


def _bytes(content, table):
    return content[table[0] : table[0] + table[1]]


def _symbols(content, tables):
    table = tables[_SYMBOLS]
    names, versions = _Names(content, table), _versions(content, tables)
    numbers = [None] * (table[1] // 24)
    if _VERSION_OF_SYMBOLS in tables:
        numbers = [n for (n,) in struct.iter_unpack(
            "<H", _bytes(content, tables[_VERSION_OF_SYMBOLS])
        )]  # fmt: skip
    undefined, defined = {}, []
    symbols = struct.iter_unpack("<IBBHQQ", _bytes(content, table))
    for (name, _, _, section, _, _), number in zip(symbols, numbers, strict=True):
        if not name:
            continue
        if section:
            defined.append(names[name])
        else:
            undefined[names[name]] = versions.get(number)
    return undefined, defined


def _versions(content, tables):
    """`{number: version}` of symbols in other libraries."""
    if _NEEDED_VERSIONS not in tables:
        return {}
    names, found = _Names(content, tables[_NEEDED_VERSIONS]), {}
    at = tables[_NEEDED_VERSIONS][0]
    while True:
        _, count, _, first, following = struct.unpack_from("<HHIII", content, at)
        entry = at + first
        for _ in range(count):
            _, _, number, name, step = struct.unpack_from("<IHHII", content, entry)
            found[number] = names[name]
            entry += step
        if not following:
            return found
        at += following
