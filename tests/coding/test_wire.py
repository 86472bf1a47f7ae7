import dataclasses
import pathlib
import re

import numpy as np
import pytest

from tfcompress import native
from tfcompress.coding import BitPack, Huffman, encoders, wire
from tfcompress.coding.wire import Encoded, Kind, Layout, Tensor
from tfcompress.core.nouns import Codec
from tfcompress.core.plugin import register, snake_case

_FLOAT32, _INT32, _INT16, _INT8, _FLOAT16 = 1, 2, 7, 9, 10
_ENCODERS = (
    encoders.lut,
    encoders.huffman,
    encoders.prune,
    encoders.rans,
    encoders.adaptive_rans,
    encoders.mixing,
)


def _cases():
    random = np.random.default_rng(0)
    few = random.integers(-3, 4, (6, 35))
    wide = np.rint(random.normal(size=(8, 40)) * 20).clip(-127, 127)
    return {
        "float32": (Tensor(_FLOAT32, (7, 30), ()), few / 8),
        "no axis": (Tensor(_INT8, (), (3,)), np.array(5)),
        "nothing": (Tensor(_FLOAT16, (0, 4), ()), np.zeros((0, 4))),
        "int8": (Tensor(_INT8, (6, 35)), few),
        "int8 with a zero point": (Tensor(_INT8, (6, 35), (-3,)), few),
        "int8 by first axis": (Tensor(_INT8, (8, 40), (0,) * 8), wide),
        "int8 by last axis": (Tensor(_INT8, (1, 8, 5, 8), (0,) * 8, 3), wide),
        "zero points": (Tensor(_INT8, (1, 5, 7, 6), (*range(6),), 3), few),
        "int4": (Tensor(wire.INT4, (6, 35), (0,) * 6), few),
        "int4, an odd count": (Tensor(wire.INT4, (5, 13)), few.ravel()[:65]),
        "float16": (Tensor(_FLOAT16, (6, 35), ()), few / 8),
        "int32": (Tensor(_INT32, (210,), (0,) * 210), few * 30_000),
        "int16": (Tensor(_INT16, (6, 35)), few * 100),
    }


_CASES = {
    name: (tensor, tensor.content(np.resize(elements, tensor.shape)))
    for name, (tensor, elements) in _cases().items()
}


def _encodings(tensor, content):
    views = [encoders.Symbols.of(content, tensor)]
    views.append(encoders.Symbols.by_channel(content, tensor))
    found = []
    for symbols in filter(None, views):
        found += [encoded for encode in _ENCODERS for encoded in encode(symbols)]
        found += [
            encoders.coded(symbols, codec, layout)
            for codec in (BitPack(), Huffman())
            for layout in Layout
        ]
    return found


@pytest.mark.parametrize("name", [name for name in _CASES if name != "nothing"])
def test_tensors_come_back(name):
    tensor, content = _CASES[name]
    for encoded in _encodings(tensor, content):
        assert wire.decode(encoded, tensor) == content, encoded.ancillary[:16]
        assert wire.decode_reference(encoded, tensor) == content, encoded.ancillary[:16]


def test_bits_of_floats_stay():
    """-0.0 is not 0.0, and a NaN keeps its payload."""
    bits = np.array([0, 1 << 31, 0x3F800000, 0x7FC00001, 0x7FC00002, 0xFFC12345], "<u4")
    bits = np.resize(bits, 90)
    tensor = Tensor(_FLOAT32, (9, 10), ())
    for encoded in _encodings(tensor, bits.tobytes()):
        assert wire.decode(encoded, tensor) == bits.tobytes()
        assert wire.decode_reference(encoded, tensor) == bits.tobytes()


def test_channels_with_values_of_their_own_by_hand():
    tensor = Tensor(_FLOAT32, (3, 5), ())
    rows = [[0, 2, -2, 2, 2], [0, -3, 3, 3, 3], [5, 5, -0.0, -5, 5]]
    symbols = encoders.Symbols.by_channel(tensor.content(np.array(rows)), tensor)
    # The third channel has two values below zero and none that is zero.
    assert symbols.zero == 2
    expected = [[2, 3, 1, 3, 3], [2, 1, 3, 3, 3], [3, 3, 1, 0, 3]]
    assert symbols.indices.tolist() == expected
    assert symbols.values.tolist() == [[0, -2, 0, 2], [0, -3, 0, 3], [-5, 0, 0, 5]]
    assert np.signbit(symbols.values[2, 1])


def test_scaled_channels_cost_what_their_indices_do():
    random = np.random.default_rng(0)
    shared = random.choice([-2.0, -1.0, 0.0, 1.0], (300, 64))
    tensor = Tensor(_FLOAT32, (300, 64), ())
    content = tensor.content(shared * random.uniform(1, 2, (300, 1)))
    assert encoders.Symbols.of(content, tensor) is None
    symbols = encoders.Symbols.by_channel(content, tensor)
    (encoded,) = encoders.lut(symbols)
    assert len(encoded.content) == 1 + 300 * 64 * 2 / 8
    assert len(encoded.ancillary) == 16 + 300 * 4 * 4
    assert wire.decode(encoded, tensor) == content


@pytest.mark.parametrize("shape", [(300,), (2, 300)])
def test_too_many_values_of_a_channel(shape):
    tensor = Tensor(_FLOAT32, shape, ())
    content = tensor.content(np.arange(np.prod(shape)))
    assert encoders.Symbols.by_channel(content, tensor) is None


def test_too_many_values_are_no_symbols():
    content = np.arange(257, dtype="<f4").tobytes()
    assert encoders.Symbols.of(content, Tensor(_FLOAT32, (257,), ())) is None
    late = np.r_[np.zeros(70_000, "<f4"), np.arange(300, dtype="<f4")]
    assert encoders.Symbols.of(late.tobytes(), Tensor(_FLOAT32, (70_300,), ())) is None


def test_look_up_table_by_hand():
    tensor = Tensor(_INT8, (2, 4), (0, 0))
    content = np.int8([[5, 5, 9, 5], [-2, 7, -2, -2]]).tobytes()
    shared, by_channel = encoders.lut(encoders.Symbols.of(content, tensor))
    # Two bits per index into -2, 5, 7, 9.
    assert shared.content == bytes([0b01011101, 0b00100000])
    assert shared.ancillary == bytes([0, 1, 0, 0, 1, 0xF2, 0]).ljust(16, b"\0") + bytes(
        [254, 5, 7, 9]
    )
    # One bit per index into 5, 9 and into -2, 7.
    assert by_channel.content == bytes([0b00100100])
    assert by_channel.ancillary[4:7] == bytes([1, 0x01, 2])
    assert by_channel.ancillary[16:] == bytes([5, 9, 254, 7])


def test_tables_of_an_axis_without_quantization():
    """As TFLite Micro's compressor writes them for floats."""
    values = np.float32([[1, 2], [3, 4], [5, 6]])
    indices = np.array([[0, 1, 0, 1], [1, 1, 0, 0], [1, 0, 0, 0]])
    expected = np.take_along_axis(values, indices, axis=1)
    packed = np.packbits(indices).tobytes()
    by_row = Encoded(packed, wire.header(Kind.LUT, 0x01, 2) + values.tobytes())
    tensor = Tensor(_FLOAT32, (3, 4), ())
    packed = np.packbits(indices.T).tobytes()
    by_column = Encoded(packed, wire.header(Kind.LUT, 0x11, 2) + values.tobytes())
    for decode in (wire.decode, wire.decode_reference):
        assert decode(by_row, tensor) == expected.tobytes()
        found = decode(by_column, dataclasses.replace(tensor, shape=(4, 3)))
        assert found == np.ascontiguousarray(expected.T).tobytes()


def test_pruned_by_hand():
    tensor = Tensor(_INT8, (2, 5), ())
    content = np.int8([[0, 0, 7, 0, 0], [0, 0, 0, 0, -1]]).tobytes()
    (encoded,) = encoders.prune(encoders.Symbols.of(content, tensor))
    assert encoded.content == bytes([0b00100000, 0b01000000])
    assert encoded.ancillary == bytes([2, 1, 0, 0, 1]).ljust(16, b"\0") + bytes(
        [7, 255]
    )
    with_points = Tensor(_INT32, (2, 5), (-3, 400))
    values = np.int32([7, 8]).tobytes()
    expected = np.int32([-3, -3, 7, -3, -3, 400, 400, 400, 400, 8]).tobytes()
    for decode in (wire.decode, wire.decode_reference):
        found = decode(Encoded(encoded.content, wire.header(2) + values), with_points)
        assert found == expected


def test_slices_by_hand():
    """The first two rows, and the first column of each of three blocks."""
    whole = np.arange(18, dtype=np.int8).reshape(3, 6)
    ancillary = wire.slice_of((3, 6), (2, 3), (1, 3))
    assert ancillary[:16] == bytes([129, 1, 0, 0, 1, 2]).ljust(16, b"\0")
    axes = [3, 2, 1, 6, 3, 3]
    assert ancillary[16:] == b"".join(n.to_bytes(4, "little") for n in axes)
    for decode in (wire.decode, wire.decode_reference):
        found = decode(Encoded(whole.tobytes(), ancillary), Tensor(_INT8, (2, 3)))
        assert list(found) == [0, 2, 4, 6, 8, 10]


@pytest.mark.parametrize("kind", [1, 2, 3, 4, 6, 7, 9, 10])
@pytest.mark.parametrize(
    "sizes, kept, blocks",
    [
        ((5,), (3,), (1,)),
        ((4, 6), (4, 6), (1, 1)),
        ((6, 3, 3, 8), (3, 3, 3, 2), (1, 1, 1, 1)),
        ((4, 3, 12), (2, 3, 8), (2, 1, 4)),
        ((2, 1, 2, 1, 2, 1, 2, 3), (1, 1, 2, 1, 1, 1, 2, 2), (1,) * 8),
        ((3, 4), (3, 0), (1, 2)),
        ((0, 4), (0, 2), (1, 1)),
    ],
)
def test_slices_of_all_types(kind, sizes, kept, blocks):
    tensor = Tensor(kind, kept, ())
    random = np.random.default_rng(0)
    octets = random.bytes(int(np.prod(sizes)) * tensor.dtype.itemsize)
    elements = np.frombuffer(octets, f"V{tensor.dtype.itemsize}").reshape(sizes)
    for axis, (size, rest, count) in enumerate(zip(sizes, kept, blocks, strict=True)):
        within = np.arange(size) % (size // count) if size else np.arange(0)
        elements = np.compress(within < rest // count, elements, axis)
    encoded = Encoded(octets, wire.slice_of(sizes, kept, blocks))
    assert wire.decode(encoded, tensor) == elements.tobytes()
    assert wire.decode_reference(encoded, tensor) == elements.tobytes()


_MOST = 2**32 - 1


@pytest.mark.parametrize(
    "match, changes",
    [
        ("corrupt", {"kept": (2, 4)}),
        ("corrupt", {"sizes": (3, 8)}),
        ("corrupt", {"sizes": (2, 2)}),
        ("corrupt", {"sizes": (1, 6), "content": bytes(6)}),
        ("corrupt", {"blocks": (1, 0)}),
        ("corrupt", {"blocks": (1, 2)}),
        ("corrupt", {"sizes": (3, 4), "content": bytes(12)}),
        ("corrupt", {"content": bytes(17)}),
        ("corrupt", {"content": bytes(19)}),
        ("corrupt", {"content": b""}),
        ("corrupt", {"sizes": (_MOST, _MOST - 2), "kept": (_MOST, _MOST - 2)}),
        ("corrupt", {"sizes": (2**31, 2**31, 4), "kept": (2, 3, 1)}),
        ("corrupt", {"ancillary": wire.header(Kind.SLICE, 3) + bytes(24)}),
        ("corrupt", {"ancillary": wire.header(Kind.SLICE, 1)}),
        ("unknown encoding", {"ancillary": wire.header(Kind.SLICE, 0) + bytes(99)}),
        ("unknown encoding", {"ancillary": wire.header(Kind.SLICE, 9) + bytes(199)}),
        ("unknown encoding", {"type": wire.INT4}),
    ],
)
def test_slices_that_contradict_themselves(match, changes):
    right = {"sizes": (3, 6), "kept": (2, 3), "blocks": (1, 3), "content": bytes(18)}
    parts = right | changes
    blocks = (*parts["blocks"], 1)[: len(parts["sizes"])]
    ancillary = wire.slice_of(parts["sizes"], parts["kept"], blocks)
    encoded = Encoded(parts["content"], changes.get("ancillary", ancillary))
    tensor = Tensor(changes.get("type", _INT8), (2, 3))
    with pytest.raises(ValueError, match=match):
        wire.decode(encoded, tensor)
    with pytest.raises(ValueError):
        wire.decode_reference(encoded, tensor)


def test_damaged_slices_are_an_error_or_other_elements():
    random = np.random.default_rng(0)
    content = random.bytes(96)
    for _ in range(300):
        ancillary = bytearray(wire.slice_of((4, 6, 4), (2, 4, 3), (1, 2, 1)))
        places = random.choice([*range(4, 6), *range(16, 52)], random.integers(1, 4))
        for place in places:
            ancillary[place] = random.choice([0, 1, 2, 3, 4, 6, 8, 255])
        damaged = Encoded(content, bytes(ancillary))
        tensor = Tensor(_INT8, (2, 4, 3))
        found = _decoded(wire.decode, damaged, tensor)
        assert found == _decoded(wire.decode_reference, damaged, tensor)


def _long_codes():
    """17 symbols with codes of 1 to 12 bits."""
    counts = [1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 300, 80, 60, 50]
    elements = np.repeat(np.arange(17) * 3 - 20, counts)
    elements = np.random.default_rng(0).permutation(elements)
    tensor = Tensor(_INT8, elements.shape)
    return tensor, elements, tensor.content(elements)


@pytest.mark.parametrize("initial_bits", [1, 2, 5, 12])
@pytest.mark.parametrize("is_wide", [False, True])
def test_tables_of_huffman_codes(initial_bits, is_wide):
    """Codes longer than the index of the first table lead to other tables."""
    tensor, elements, content = _long_codes()
    encoded = with_tables(tensor, content, initial_bits, is_wide)
    assert wire.decode(encoded, tensor) == content
    assert wire.decode_reference(encoded, tensor) == content
    if is_wide:
        as_int16 = dataclasses.replace(tensor, type=_INT16)
        words = elements.astype(np.int8).view(np.uint8).astype("<u2").tobytes()
        assert wire.decode(encoded, as_int16) == words
        assert wire.decode_reference(encoded, as_int16) == words


def with_tables(tensor, content, initial_bits, is_wide):
    """Huffman codes with tables of a given form."""
    symbols = encoders.Symbols.of(content, tensor)
    (encoded,) = encoders.huffman(symbols)
    lengths = np.zeros(256, np.uint8)
    counts = np.bincount(symbols.indices.ravel())
    lengths[symbols.values.view(np.uint8)] = encoders.code_lengths(counts)
    kinds, bits, values = encoders._tables(lengths, initial_bits)
    shift = 27 if is_wide else 11
    entries = (kinds << (shift + 4) | bits << shift | values).astype(
        "<u4" if is_wide else "<u2"
    )
    header = wire.header(Kind.HUFFMAN, (initial_bits - 1) << 4 | is_wide)
    return Encoded(encoded.content, header + entries.tobytes())


@pytest.mark.parametrize("name", ["float32", "int8 by last axis", "int4, an odd count"])
def test_damage_is_an_error_or_other_elements(name):
    random = np.random.default_rng(0)
    tensor, content = _CASES[name]
    for encoded in _encodings(tensor, content):
        for _ in range(12):
            parts = [bytearray(encoded.content), bytearray(encoded.ancillary)]
            for part in parts:
                part[random.integers(len(part))] = random.integers(256)
                del part[random.integers(1, 3 * len(part)) :]
            damaged = Encoded(*map(bytes, parts))
            found = _decoded(wire.decode, damaged, tensor)
            reference = _decoded(wire.decode_reference, damaged, tensor)
            # Tables that are no longer a prefix code have no defined meaning.
            if encoded.ancillary[0] != Kind.HUFFMAN:
                assert found in (None, reference), damaged.ancillary[:16]


def _decoded(decode, encoded, tensor):
    try:
        return decode(encoded, tensor)
    except ValueError:
        return None


def test_what_cannot_be_decoded():
    tensor, content = _CASES["int8"]
    (encoded,) = encoders.huffman(encoders.Symbols.of(content, tensor))

    def check(match, tensor=tensor, start=b"", **changes):
        damaged = dataclasses.replace(encoded, **changes)
        damaged = dataclasses.replace(
            damaged, ancillary=start + damaged.ancillary[len(start) :]
        )
        with pytest.raises(ValueError, match=match):
            wire.decode(damaged, tensor)
        with pytest.raises(ValueError):
            wire.decode_reference(damaged, tensor)

    check("unknown encoding", start=b"\3")
    check("unknown encoding", start=b"\x80\1\0\0\1\3")
    check("unknown encoding", start=b"\x80\1\0\0\1\0\5")
    check("unknown encoding", start=b"\1\2")
    check("corrupt data", ancillary=b"")
    check("corrupt data", content=b"")
    check("corrupt data", tensor=dataclasses.replace(tensor, shape=(60, 350)))
    for shape in [
        (-1, 5),
        (1 << 31, 1 << 31, 4),
        (1 << 30, 1 << 30, 1 << 30),
        (1 << 31,),
    ]:
        with pytest.raises(ValueError, match="corrupt data"):
            wire.decode(encoded, dataclasses.replace(tensor, shape=shape))
    with pytest.raises(ValueError, match="type 5"):
        wire.decode(encoded, dataclasses.replace(tensor, type=5))


def test_without_the_native_core(monkeypatch):
    tensor, content = _CASES["int8 by first axis"]
    encodings = _encodings(tensor, content)
    monkeypatch.setattr(native, "library", lambda: None)
    assert all(wire.decode(encoded, tensor) == content for encoded in encodings)


def test_numbers_of_codecs_are_those_of_the_native_core():
    header = pathlib.Path(native.__file__).parent / "coding/decode.h"
    (line,) = re.findall(r"enum \{\s+(TFC_BIT_PACK [^}]*),\s+\};", header.read_text())
    numbers = dict(pair.split(" = ") for pair in re.split(r",\s+", line))
    expected = {int(number): name for name, number in numbers.items()}
    found = {
        number: f"TFC_{snake_case(codec.__name__).upper()}"
        for number, codec in wire.coders().items()
    }
    assert found == expected


def test_a_registered_codec_with_a_number_is_read(monkeypatch):
    class Bytes(Codec):
        number = 200

        def encode(self, symbols):
            return np.ravel(symbols).astype(np.uint8).tobytes()

        def decode_reference(self, stream, count):
            return np.frombuffer(stream, np.uint8, count)

    monkeypatch.setattr(Codec, "registered", dict(Codec.registered))
    register(Codec, Bytes)
    tensor = Tensor(_FLOAT32, (6,), ())
    content = np.float32([0.5, 0, 2, 2, 0, 0.5]).tobytes()
    encoded = encoders.coded(encoders.Symbols.of(content, tensor), Bytes())
    assert encoded.content == bytes([1, 0, 2, 2, 0, 1])
    assert encoded.ancillary[6] == 200
    assert wire.decode_reference(encoded, tensor) == content
    monkeypatch.undo()
    with pytest.raises(ValueError, match="coder 200 is unknown"):
        wire.decode_reference(encoded, tensor)
