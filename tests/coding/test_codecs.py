import numpy as np
import pytest

from tfcompress import coding, native
from tfcompress.coding import AdaptiveRans, BitPack, Huffman, Mixing, Rans
from tfcompress.coding.huffman import canonical_codes, code_lengths
from tfcompress.coding.sparse import Bitmap, RelativeIndex

_CODECS = {
    "bit pack": BitPack(),
    "huffman": Huffman(),
    "rans": Rans(),
    "adaptive rans": AdaptiveRans(zero=4),
    "adaptive rans by period": AdaptiveRans(zero=0, period=7),
    "mixing": Mixing(zero=4),
    "mixing by period": Mixing(zero=0, period=7),
    "bitmap": Bitmap(Huffman(), zero=4),
    "relative index": RelativeIndex(Rans(), zero=4),
    "gaps of 2 bits": RelativeIndex(BitPack(), zero=4, gap_bits=2),
}


def _inputs():
    random = np.random.default_rng(0)
    few = np.where(random.random((9, 101)) < 0.04, random.integers(0, 9, (9, 101)), 4)
    far = np.full(3000, 4)
    far[[0, 255, 256, 768, 1100, 2999]] = 1, 2, 3, 5, 6, 7
    widths = np.repeat([2, 256, 3, 90], 8)[:, None]
    return {
        "empty": np.zeros(0),
        "one": np.array([255]),
        "alike": np.full(77, 4),
        "all": random.permutation(np.arange(256)),
        "skewed": random.geometric(0.5, 701) - 1,
        "sparse": few,
        "far apart": far,
        "a round of lanes": random.binomial(9, 0.3, 4096),
        "rounds and three": random.binomial(9, 0.3, 4099),
        "rows of their own": random.integers(0, widths, (32, 131)),
        "images": random.binomial(7, 0.1, (3, 3, 7, 14)),
    }


def test_all_are_here():
    assert {type(codec) for codec in _CODECS.values()} == set(
        coding.Codec.registered.values()
    )


_INPUTS = {name: array.astype(np.uint8) for name, array in _inputs().items()}


@pytest.mark.parametrize("codec", _CODECS.values(), ids=_CODECS)
def test_native_and_reference_give_back_what_was_written(codec):
    for name, symbols in _INPUTS.items():
        stream = codec.encode(symbols)
        decoded = codec.decode(stream, symbols.size)
        np.testing.assert_array_equal(decoded, symbols.ravel(), name)
        if isinstance(codec, Mixing) and symbols.size > 3000:
            continue  # Half a minute in Python.
        reference = codec.decode_reference(stream, symbols.size)
        np.testing.assert_array_equal(reference, symbols.ravel(), name)


@pytest.mark.parametrize("codec", _CODECS.values(), ids=_CODECS)
def test_damage_is_an_error_or_other_symbols(codec):
    random = np.random.default_rng(1)
    symbols = _INPUTS["sparse"].ravel()
    stream = codec.encode(symbols)
    for _ in range(12):
        damaged = bytearray(stream[: random.integers(len(stream) + 1)])
        for place in random.integers(0, max(1, len(damaged)), 2 * bool(damaged)):
            damaged[place] = random.integers(256)
        found = _decoded(codec.decode, bytes(damaged), symbols.size)
        reference = _decoded(codec.decode_reference, bytes(damaged), symbols.size)
        if found is not None:
            np.testing.assert_array_equal(found, reference)


def _decoded(decode, stream, count):
    try:
        return decode(stream, count)
    except ValueError:
        return None


def test_bits_are_packed_from_the_highest():
    # 101 000 111 001
    assert BitPack().encode(np.array([5, 0, 7, 1])) == bytes(
        [3, 0b10100011, 0b10010000]
    )
    assert BitPack().encode(np.zeros(9, int)) == bytes([1, 0, 0])


def test_huffman_by_hand():
    counts = np.array([5, 2, 0, 1, 1])
    assert code_lengths(counts).tolist() == [1, 2, 0, 3, 3]
    # 0, 10, 110, 111
    assert canonical_codes(code_lengths(counts)).tolist() == [0, 2, 0, 6, 7]
    symbols = np.repeat([0, 1, 3, 4], [5, 2, 1, 1])
    header = bytes([4, 0x12, 0x03, 0x30])
    # 00000 10 10 110 111
    assert Huffman().encode(symbols) == header + bytes([0b00000101, 0b01101110])
    assert Huffman().encode(np.full(9, 1)) == bytes([1, 0x01, 0, 0])


def test_codes_end_at_12_bits():
    """14 powers of two need 13, 13, 12, ..., 1; the cheapest fix is a longer 11."""
    expected = [12, 12, 12, 12, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1]
    assert code_lengths(2 ** np.arange(14)).tolist() == expected
    fibonacci = np.ones(40, int)
    for i in range(2, 40):
        fibonacci[i] = fibonacci[i - 1] + fibonacci[i - 2]
    lengths = code_lengths(fibonacci)
    assert lengths.max() == 12
    assert np.sum(0.5**lengths) == 1


def test_relative_index_of_deep_compression():
    """Figure 2 there: entries at 1, 4 and 15 with 3 bits need a zero at 12."""
    row = np.zeros(16, np.uint8)
    row[[1, 4, 15]] = 34, 9, 17
    gaps, entries = RelativeIndex(gap_bits=3).entries(row)
    assert np.cumsum(gaps + 1).tolist() == [2, 5, 13, 16]
    assert gaps.tolist() == [1, 2, 7, 2]
    assert entries.tolist() == [34, 9, 0, 17]
    with pytest.raises(ValueError, match="expected an integer from 1 to 8"):
        RelativeIndex(gap_bits=9)


def test_rans_by_hand():
    """Frequencies 3072, 0, 1024; the last symbol first, from state 65536:

    265216 (symbol 2), 353280, 471040, 627712 (symbol 0); no word leaves the state.
    """
    frequencies = "1100" + "10000000000" + "0000" + "1011" + "0000000000"
    packed = int(frequencies.ljust(40, "0"), 2).to_bytes(5, "big")
    expected = bytes([0, 2]) + packed + (627712).to_bytes(4, "little")
    assert Rans().encode(np.array([0, 0, 0, 2])) == expected


def test_rans_is_close_to_entropy():
    symbols = np.random.default_rng(0).geometric(0.7, 60_000).astype(np.uint8)
    shares = np.bincount(symbols) / symbols.size
    shares = shares[shares > 0]
    entropy = -symbols.size * (shares @ np.log2(shares)) / 8
    table = 2 + 2 * len(shares) + 32
    assert entropy <= len(Rans().encode(symbols)) <= 1.01 * entropy + table
    assert len(Huffman().encode(symbols)) > 1.02 * entropy


def test_rows_with_distributions_of_their_own_share_tables():
    """One bit per symbol, instead of two if all rows shared one table."""
    symbols = np.random.default_rng(0).integers(0, 2, (16, 1000))
    symbols[::2] += 2
    assert len(Rans().encode(symbols)) < 0.55 * len(Rans().encode(symbols.ravel()))


def test_without_the_native_core(monkeypatch):
    symbols = _INPUTS["sparse"]
    streams = {name: codec.encode(symbols) for name, codec in _CODECS.items()}
    monkeypatch.setattr(native, "library", lambda: None)
    for name, codec in _CODECS.items():
        decoded = codec.decode(streams[name], symbols.size)
        np.testing.assert_array_equal(decoded, symbols.ravel())
    assert Huffman().encode(symbols) == streams["huffman"]
    for codec in (AdaptiveRans(), Rans(), Mixing()):
        with pytest.raises(native.NativeError, match="Install a C compiler"):
            codec.encode(symbols)
