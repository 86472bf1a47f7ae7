import numpy as np

from tfcompress.coding.wire import INT4, Tensor
from tfcompress.core.nibbles import pack_nibbles, unpack_nibbles


def test_by_hand():
    # 1 is 0001, -8 is 1000, -1 is 1111; the first is the low half of its byte.
    packed = pack_nibbles([[1, -8], [-1, 0], [7, 0]]).tobytes()
    assert packed == bytes([0b1000_0001, 0b0000_1111, 0b0000_0111])
    assert unpack_nibbles(packed, 5).tolist() == [1, -8, -1, 0, 7]
    assert pack_nibbles([]).size == unpack_nibbles(b"", 0).size == 0


def test_unsigned_nibbles_have_the_same_bits():
    np.testing.assert_array_equal(pack_nibbles([15, 8]), pack_nibbles([-1, -8]))


def test_constants_of_the_wire_are_packed_so():
    values = np.random.default_rng(0).integers(-8, 8, (3, 5)).astype(np.int8)
    tensor = Tensor(INT4, (3, 5))
    content = tensor.content(values)
    assert content == pack_nibbles(values).tobytes()
    assert len(content) == tensor.size_bytes == 8
    np.testing.assert_array_equal(tensor.elements(content), values)
