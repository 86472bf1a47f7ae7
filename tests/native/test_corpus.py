"""Inputs that fuzzing found worth keeping, decoded unchanged and damaged.

The files are inputs of the targets in `tfcompress/native/fuzz`, which document them.
"""

import ctypes
import pathlib
import struct

import numpy as np
import pytest

from tfcompress import native
from tfcompress.coding import wire

_CORPUS = pathlib.Path(__file__).parent / "corpus"
_GUARD = bytes(64 * [0xA5])
_TYPES = {1: 4, 2: 4, 3: 1, 4: 8, 6: 1, 7: 2, 9: 1, 10: 2, 18: 1}


def _decode(content):
    """The status of `tfc_decode`, and the output followed by a guard."""
    fields = struct.unpack_from("<BHBBBBH", content.ljust(9, b"\0"))
    kind, count, num_channels, flags, first, last, ancillary_size = fields
    zero_points = np.arange(-128, 127, dtype=np.int32)
    points = None if flags & 2 else native.pointer(zero_points)
    tensor = wire._Tensor(kind, count, num_channels, flags & 1, points, first, last)
    ancillary = content[9 : 9 + ancillary_size]
    encoded = content[9 + ancillary_size :]
    output = _guarded(count * _TYPES.get(kind, 0))
    status = native.library().tfc_decode(
        encoded,
        ctypes.c_size_t(len(encoded)),
        ancillary,
        ctypes.c_size_t(len(ancillary)),
        ctypes.byref(tensor),
        output,
    )
    return status, output


def _decode_symbols(content):
    kind, count = struct.unpack_from("<BH", content.ljust(3, b"\0"))
    names = ("bit_pack", "huffman", "rans", "mixing", "adaptive_rans")
    name = names[kind % len(names)]
    output, stream = _guarded(count), content[3:]
    status = getattr(native.library(), f"tfc_{name}_decode")(
        stream, ctypes.c_size_t(len(stream)), output, ctypes.c_size_t(count)
    )
    return status, output


def _guarded(size):
    return ctypes.create_string_buffer(bytes(size) + _GUARD, size + len(_GUARD))


def _damaged(content, random):
    place = int(random.integers(len(content)))
    kind = random.integers(4)
    if kind == 0:
        return content[:place]
    if kind == 1:
        return content + random.bytes(1 + place % 40)
    if kind == 2:
        return content[:place] + content[place + 1 :]
    damaged = bytearray(content)
    for i in random.integers(len(content), size=3):
        damaged[i] ^= 1 << random.integers(8)
    return bytes(damaged)


@pytest.mark.parametrize(
    "folder, decode", [("decode", _decode), ("symbols", _decode_symbols)]
)
def test_the_corpus_and_damage_to_it_give_a_status(folder, decode):
    random = np.random.default_rng(0)
    inputs = [path.read_bytes() for path in sorted((_CORPUS / folder).iterdir())]
    damaged = [_damaged(inputs[i % len(inputs)], random) for i in range(150)]
    statuses = []
    for content in inputs + damaged:
        status, output = decode(content)
        assert output.raw.endswith(_GUARD)
        statuses.append(status)
    assert {0, 1} <= set(statuses) <= {0, 1, 2}
