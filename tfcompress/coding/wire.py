"""Encoded tensors in the form of TFLite Micro's TFLM_DECODE operation.

A tensor is stored as two: encoded bytes, and ancillary bytes that begin with a 16-byte
header: the type of the encoding, 1 for the version, two zeros, and 12 bytes that depend
on the type. `native/coding/decode.h` lists them.

Source: tensorflow/lite/micro/compression/decode.py in the TFLite Micro repository, "TFLM
DECODE Operator Design".
"""

import ctypes
import dataclasses
import enum
import math

import numpy as np

from tfcompress import native
from tfcompress.coding.bit_pack import unpack
from tfcompress.coding.sparse import Bitmap, RelativeIndex
from tfcompress.core.nibbles import pack_nibbles, unpack_nibbles
from tfcompress.core.nouns import Codec

# Name of the operation.
DECODE = "TFLM_DECODE"
HEADER_SIZE = 16
INT4 = 18
# In place of the axis of value tables: one table for all elements.
SHARED_LUT = 15
# Largest rank of sliced tensors.
MAX_RANK = 8
# Larger than the contents of any file.
_MAX_SIZE = 2**31 - 1
# TfLiteType of the runtime's C interface.
_DTYPES = {
    1: "<f4", 2: "<i4", 3: "u1", 4: "<i8", 6: "u1", 7: "<i2", 9: "i1", 10: "<f2", 18: "i1",
}  # fmt: skip


class Kind(enum.IntEnum):
    """Types of encodings; those below 128 are TFLite Micro's."""

    LUT = 0
    HUFFMAN = 1
    PRUNE = 2
    SYMBOLS = 128
    SLICE = 129


class Layout(enum.IntEnum):
    """How symbols represent a tensor of kind `SYMBOLS`."""

    DENSE = 0
    BITMAP = 1
    RELATIVE = 2


class Axis(enum.IntEnum):
    """The axis along which each slice has its own table of values, in kind `SYMBOLS`."""

    NONE = 0
    FIRST = 1
    LAST = 2


@dataclasses.dataclass(frozen=True)
class Tensor:
    """The description of a constant in a model.

    Attributes:
        type: its `TfLiteType`; that of 4-bit integers is 18.
        shape: its shape.
        zero_points: one per quantized channel; one for all, or none for floats.
        channel_axis: the axis of the channels.
    """

    type: int
    shape: tuple
    zero_points: tuple = (0,)
    channel_axis: int = 0

    @property
    def count(self):
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def size_bytes(self):
        """Size of its elements in bytes."""
        if self.type == INT4:
            return (self.count + 1) // 2
        return self.count * self.dtype.itemsize

    @property
    def dtype(self):
        """The NumPy type of an element; a byte for 4-bit integers."""
        return np.dtype(_DTYPES[self.type])

    @property
    def num_channels(self):
        """Number of quantized channels, 1 if there are none."""
        return max(1, len(self.zero_points))

    @property
    def channels_last(self):
        """Whether channels are the last axis; otherwise they are the first."""
        return self.num_channels > 1 and self.channel_axis == len(self.shape) - 1

    def channel_of_each(self):
        """The channel of each element in order."""
        if self.channels_last:
            return np.arange(self.count) % self.num_channels
        return np.arange(self.count) // max(1, self.count // self.num_channels)

    def elements(self, content):
        """The elements in a constant's bytes, in the tensor's shape."""
        if self.type != INT4:
            return np.frombuffer(content, self.dtype).reshape(self.shape)
        return unpack_nibbles(content, self.count).reshape(self.shape)

    def content(self, elements):
        """The bytes of a constant with the given elements."""
        if self.type == INT4:
            return pack_nibbles(elements).tobytes()
        return np.ravel(elements).astype(self.dtype).tobytes()


@dataclasses.dataclass(frozen=True)
class Encoded:
    """A tensor as TFLM_DECODE reads it."""

    content: bytes
    ancillary: bytes

    @property
    def size_bytes(self):
        """Size of both parts in bytes."""
        return len(self.content) + len(self.ancillary)


def header(kind, *fields):
    """The first 16 bytes of ancillary data; `fields` are bytes 5, 6, ..."""
    return bytes([kind, 1, 0, 0, 1, *fields]).ljust(HEADER_SIZE, b"\0")


def decode(encoded, tensor):
    """The bytes of the encoded constant, or a view of them.

    Args:
        encoded: an `Encoded`.
        tensor: the `Tensor` of the decoded constant.

    Raises:
        ValueError: if the bytes are damaged or have an unknown encoding.
    """
    if tensor.type not in _DTYPES:
        raise ValueError(f"Cannot decode a tensor of type {tensor.type}.")
    if min(tensor.shape, default=0) < 0 or tensor.size_bytes > _MAX_SIZE:
        raise ValueError(
            f"Cannot decode a tensor of shape {tensor.shape}: corrupt data."
        )
    if not native.library():
        return decode_reference(encoded, tensor)
    output = np.empty(tensor.size_bytes, np.uint8)
    content, ancillary = map(native.as_bytes, (encoded.content, encoded.ancillary))
    zero_points = np.array(tensor.zero_points or (0,), np.int64).astype(np.int32)
    description = _Tensor(
        tensor.type,
        tensor.count,
        tensor.num_channels,
        tensor.channels_last,
        native.pointer(zero_points),
        *((tensor.shape[0], tensor.shape[-1]) if tensor.shape else (0, 0)),
    )
    status = native.library().tfc_decode(
        native.pointer(content),
        ctypes.c_size_t(content.size),
        native.pointer(ancillary),
        ctypes.c_size_t(ancillary.size),
        ctypes.byref(description),
        native.pointer(output),
    )
    native.check(status, f"Cannot decode a tensor of shape {tensor.shape}")
    return output.data


class _Tensor(ctypes.Structure):
    """`tfc_tensor` of `native/coding/decode.h`."""

    _fields_ = [
        ("type", ctypes.c_int),
        ("count", ctypes.c_size_t),
        ("num_channels", ctypes.c_size_t),
        ("channels_last", ctypes.c_int),
        ("zero_points", ctypes.c_void_p),
        ("first_size", ctypes.c_size_t),
        ("last_size", ctypes.c_size_t),
    ]


def decode_reference(encoded, tensor):
    """The same in NumPy."""
    content, ancillary = encoded.content, encoded.ancillary
    if len(ancillary) < HEADER_SIZE or ancillary[1] != 1 or ancillary[4] != 1:
        raise ValueError("Cannot decode: unknown ancillary data.")
    readers = {
        Kind.LUT: _read_lut,
        Kind.HUFFMAN: _read_huffman,
        Kind.PRUNE: _read_prune,
        Kind.SYMBOLS: _read_symbols,
        Kind.SLICE: _read_slice,
    }
    if ancillary[0] not in readers:
        raise ValueError(f"Cannot decode: encoding {ancillary[0]} is unknown.")
    try:
        elements = readers[ancillary[0]](content, ancillary, tensor)
    except IndexError:
        raise ValueError("Cannot decode: corrupt data.") from None
    return tensor.content(elements)


def _values(ancillary, tensor):
    rest = len(ancillary) - HEADER_SIZE
    count = rest // tensor.dtype.itemsize
    return np.frombuffer(ancillary, tensor.dtype, count, HEADER_SIZE)


def _read_lut(content, ancillary, tensor):
    bits, axis, stride = ancillary[5] & 7, ancillary[5] >> 4, ancillary[6]
    values = _values(ancillary, tensor)
    by_table = _with_lut_channels(tensor, axis, stride, values.size)
    indices = unpack(content, bits, tensor.count)
    return values[indices + by_table.channel_of_each() * stride]


def _with_lut_channels(tensor, axis, stride, num_values):
    """The tensor with one channel per table of values."""
    if axis == SHARED_LUT or stride == 0:
        return dataclasses.replace(tensor, zero_points=(0,))
    size = tensor.shape[-1 if axis else 0] if tensor.shape else 1
    if tensor.num_channels > 1 or size <= 1 or num_values // stride < size:
        return tensor
    axis = len(tensor.shape) - 1 if axis else 0
    return dataclasses.replace(tensor, zero_points=(0,) * size, channel_axis=axis)


def _read_prune(content, ancillary, tensor):
    filled = unpack(content, 1, tensor.count) == 1
    zero_points = np.array(tensor.zero_points or (0,))
    if tensor.dtype.kind == "f":
        zero_points = np.zeros(1)
    elif tensor.num_channels > 1:
        zero_points = zero_points[tensor.channel_of_each()]
    elements = np.broadcast_to(zero_points, tensor.count).astype(tensor.dtype)
    elements[filled] = _values(ancillary, tensor)[: np.count_nonzero(filled)]
    return elements


def _read_huffman(content, ancillary, tensor):
    """Walks the tables code by code."""
    width = 4 if ancillary[5] & 1 else 2
    value_bits = width * 8 - 5
    num_entries = (len(ancillary) - HEADER_SIZE) // width
    tables = np.frombuffer(ancillary, f"<u{width}", num_entries, HEADER_SIZE).tolist()
    bits = "".join(map("{:08b}".format, content)) + "0" * 32
    elements, place = np.empty(tensor.count, np.int64), 0
    for i in range(tensor.count):
        index_bits, entry_place = (ancillary[5] >> 4) + 1, 0
        while True:
            entry_place += int(bits[place : place + index_bits], 2)
            entry = tables[entry_place]
            field, value = entry >> value_bits & 15, entry & ((1 << value_bits) - 1)
            if entry >> (value_bits + 4):
                break
            place += index_bits
            index_bits = field + 1
            entry_place += value
        place += min(field, index_bits)
        elements[i] = value
    if place > len(content) * 8:
        raise ValueError("Cannot decode: the stream ends.")
    return elements.astype(f"u{tensor.dtype.itemsize}").view(tensor.dtype)


def _read_symbols(content, ancillary, tensor):
    layout, number, num_values, zero = *ancillary[5:7], ancillary[7] + 1, ancillary[8]
    coder = coders().get(number)
    if coder is None or layout > Layout.RELATIVE:
        raise ValueError(
            f"Cannot decode: layout {layout} of coder {number} is unknown."
        )
    codec = in_layout(coder(), layout, zero)
    symbols = codec.decode_reference(content, tensor.count)
    values = _values(ancillary, tensor)
    axis = ancillary[9]
    if axis == Axis.NONE:
        return values[:num_values][symbols]
    if axis > Axis.LAST:
        raise ValueError(f"Cannot decode: axis {axis} is unknown.")
    num_tables = tensor.shape[0 if axis == Axis.FIRST else -1] if tensor.shape else 0
    if not num_tables:
        raise ValueError("Cannot decode: corrupt data.")
    tables = values[: num_tables * num_values].reshape(num_tables, num_values)
    places = np.arange(tensor.count)
    if axis == Axis.FIRST:
        places //= tensor.count // num_tables
    return tables[places % num_tables, symbols]


def slice_of(sizes, kept, blocks):
    """Ancillary bytes of a slice, which keeps the first elements of each block of an axis.

    Args:
        sizes: sizes of the axes of the whole tensor, at most 8 axes.
        kept: sizes of the part that is kept.
        blocks: for each axis, the number of its blocks, which divides both sizes.
    """
    return header(Kind.SLICE, len(sizes)) + np.uint32([sizes, kept, blocks]).T.tobytes()


def kept_places(size, kept, blocks):
    """The positions along an axis that a slice keeps.

    >>> kept_places(6, 4, 2)
    array([0, 1, 3, 4])
    """
    within = np.arange(kept // blocks)
    return np.add.outer(np.arange(blocks) * (size // blocks), within).ravel()


def _read_slice(content, ancillary, tensor):
    rank = ancillary[5]
    if tensor.type == INT4 or not 1 <= rank <= MAX_RANK:
        raise ValueError(
            f"Cannot decode: slices of type {tensor.type}, rank {rank}, do not exist."
        )
    axes = np.frombuffer(ancillary, "<u4", 3 * rank, HEADER_SIZE).reshape(rank, 3)
    axes = axes.tolist()
    for size, kept, blocks in axes:
        if not blocks or kept > size or size % blocks or kept % blocks:
            raise ValueError("Cannot decode: corrupt data.")
    sizes, shape, _ = zip(*axes, strict=True)
    whole = np.frombuffer(content, tensor.dtype).reshape(sizes)
    if math.prod(shape) != tensor.count:
        raise ValueError("Cannot decode: corrupt data.")
    if not tensor.count:
        return whole.ravel()[:0]
    return whole[np.ix_(*(kept_places(*axis) for axis in axes))]


def coders():
    """`{number in the header: codec}` for the registered codecs that have one.

    >>> coders()[0].__name__
    'BitPack'
    """
    found = Codec.registered.values()
    return {cls.number: cls for cls in found if hasattr(cls, "number")}


def in_layout(codec, layout, zero):
    """A codec for dense symbols, or one that leaves out the symbol `zero`."""
    if layout == Layout.DENSE:
        return codec
    return (Bitmap if layout == Layout.BITMAP else RelativeIndex)(codec, zero)
