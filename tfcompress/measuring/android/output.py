"""Parses the runner's output: a line of JSON, and one that proves it complete."""

import json

_START, _PRIME = 0xCBF29CE484222325, 0x100000001B3


def parse(text):
    """The run described by the output of the runner.

    Other programs may print before and after it, and lines may end as on Windows.

    Raises:
        ValueError: if a part of the output is missing.
    """
    lines = text.splitlines()
    ends = [i for i, line in enumerate(lines) if line.startswith("end ")]
    if not ends or not ends[-1]:
        raise ValueError(f"the output of the runner has no end: {shown(text)}")
    content = lines[ends[-1] - 1]
    expected = f"end {len(content.encode())} {fnv1a(content.encode()):016x}"
    if lines[ends[-1]] != expected:
        raise ValueError(
            f"the output of the runner is damaged: it ends with {lines[ends[-1]]!r}, "
            f"expected {expected!r}"
        )
    return json.loads(content)


def fnv1a(content):
    """The 64-bit FNV-1a hash of bytes.

    >>> hex(fnv1a(b"a"))
    '0xaf63dc4c8601ec8c'
    """
    value = _START
    for byte in content:
        value = (value ^ byte) * _PRIME % 2**64
    return value


def shown(text):
    """The end of a text, for use in a message."""
    words = " ".join(text.split())
    return words[-200:] if words else "it printed nothing"
