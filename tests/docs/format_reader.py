"""A reader of encoded constants, written from docs/file_format.md and nothing else."""

import math

import numpy as np

from tests.docs.adaptive_rans_reader import adaptive_rans
from tests.docs.mixing_reader import mixing

_TYPES = {0: "<f4", 1: "<f2", 2: "<i4", 3: "u1", 4: "<i8", 6: "u1", 7: "<i2", 9: "i1"}
_INT4 = 17


def constants(model):
    """`{(subgraph, tensor): bytes}` of the encoded constants of a parsed `.tflite`."""
    found = {}
    for g, graph in enumerate(model.subgraphs):
        for operation in graph.operators:
            if model.operatorCodes[operation.opcodeIndex].customCode != b"TFLM_DECODE":
                continue
            for i, output in enumerate(operation.outputs):
                parts = operation.inputs[2 * i : 2 * i + 2]
                encoded, ancillary = (
                    bytes(model.buffers[graph.tensors[t].buffer].data) for t in parts
                )
                found[g, int(output)] = read(encoded, ancillary, graph.tensors[output])
    return found


def read(encoded, ancillary, tensor):
    """The bytes of the constant that a tensor stands for."""
    is_int4 = tensor.type == _INT4
    dtype = np.dtype("i1" if is_int4 else _TYPES[tensor.type])
    assert ancillary[1:5] == bytes([1, 0, 0, 1])
    reader = {0: lut, 1: huffman, 2: prune, 128: symbols, 129: slice_}[ancillary[0]]
    shape = tuple(map(int, tensor.shape))
    elements = reader(encoded, ancillary, dtype, shape, tensor.quantization)
    elements = np.asarray(elements).astype(dtype).ravel()
    if not is_int4:
        return elements.tobytes()
    halves = np.pad(elements.view(np.uint8) & 15, (0, elements.size % 2))
    return (halves[::2] | halves[1::2] << 4).tobytes()


def bits_of(content):
    return "".join(f"{byte:08b}" for byte in content)


def numbers(bits, width, count):
    return np.array([int(bits[i * width : (i + 1) * width], 2) for i in range(count)])


def along(shape, is_last, channels):
    """The channel of each element."""
    places = np.arange(math.prod(shape))
    return places % channels if is_last else places // (len(places) // channels)


def quantized_channels(shape, quantization):
    """The channel of each element along the quantized axis; None if there is one."""
    scales = () if quantization is None else quantization.scale
    if scales is None or len(scales) < 2:
        return None
    is_last = quantization.quantizedDimension == len(shape) - 1
    return along(shape, is_last, len(scales))


def lut(encoded, ancillary, dtype, shape, quantization):
    width, axis, stride = ancillary[5] & 7, ancillary[5] >> 4, ancillary[6]
    values, channel = np.frombuffer(ancillary, dtype, offset=16), 0
    if axis != 15 and stride:
        channel = quantized_channels(shape, quantization)
        size = shape[-1 if axis else 0]
        if channel is None:
            channel = (
                along(shape, axis > 0, size) if len(values) >= stride * size else 0
            )
    index = numbers(bits_of(encoded), width, math.prod(shape))
    return values[index + stride * channel]


def huffman(encoded, ancillary, dtype, shape, _):
    width = 32 if ancillary[5] & 1 else 16
    entries = np.frombuffer(ancillary, f"<u{width // 8}", offset=16).tolist()
    bits, used, found = bits_of(encoded) + "0" * 64, 0, []
    while len(found) < math.prod(shape):
        place, k = 0, (ancillary[5] >> 4) + 1
        while True:
            place += int(bits[used : used + k], 2)
            entry = f"{entries[place]:0{width}b}"
            field, value = int(entry[1:5], 2), int(entry[5:], 2)
            if entry[0] == "1":
                break
            used, place, k = used + k, place + value, field + 1
        used += min(field, k)
        found.append(value)
    assert used <= 8 * len(encoded)
    return np.array(found).astype(f"u{dtype.itemsize}").view(dtype)


def prune(encoded, ancillary, dtype, shape, quantization):
    filled = numbers(bits_of(encoded), 1, math.prod(shape)) == 1
    elements = np.zeros(math.prod(shape), dtype)
    if dtype.kind != "f" and quantization is not None and len(quantization.scale):
        channel = quantized_channels(shape, quantization)
        elements[:] = quantization.zeroPoint[0 if channel is None else channel]
    elements[filled] = np.frombuffer(ancillary, dtype, offset=16)[: filled.sum()]
    return elements


def symbols(encoded, ancillary, dtype, shape, _):
    layout, coder, most, zero, axis = ancillary[5:10]
    count = math.prod(shape)
    stream = [bit_pack, huffman_codes, rans, mixing, adaptive_rans][coder]
    found = np.full(count, zero)
    if layout == 0:
        found = stream(encoded, count)
    elif layout == 1:
        size = math.ceil(count / 8)
        filled = numbers(bits_of(encoded[:size]), 1, count) == 1
        found[filled] = stream(encoded[size:], int(filled.sum()))
    else:
        entries, size = np.frombuffer(encoded, "<u4", 2).tolist()
        gaps = np.array(stream(encoded[8 : 8 + size], entries))
        found[np.cumsum(gaps + 1) - 1] = stream(encoded[8 + size :], entries)
    table = 0 if axis == 0 else along(shape, axis == 2, shape[-1 if axis == 2 else 0])
    values = np.frombuffer(ancillary, dtype, offset=16)
    return values[(most + 1) * table + np.asarray(found)]


def slice_(encoded, ancillary, dtype, shape, _):
    axes = np.frombuffer(ancillary, "<u4", 3 * ancillary[5], 16).reshape(-1, 3).tolist()
    whole = np.frombuffer(encoded, dtype).reshape([size for size, _, _ in axes])
    places = [
        [j // (kept // n) * (size // n) + j % (kept // n) for j in range(kept)]
        for size, kept, n in axes
    ]
    return whole[np.ix_(*places)]


def bit_pack(stream, count):
    return numbers(bits_of(stream[1:]), stream[0], count)


def huffman_codes(stream, count):
    sizes = math.ceil((stream[0] + 1) / 2)
    lengths = numbers(bits_of(stream[1 : 1 + sizes]), 4, stream[0] + 1)
    codes, code, before = {}, -1, 0
    for length, symbol in sorted((n, s) for s, n in enumerate(lengths.tolist()) if n):
        code = (code + 1) << (length - before)
        codes[f"{code:0{length}b}"], before = symbol, length
    bits, used, found = bits_of(stream[1 + sizes :]), 0, []
    while len(found) < count:
        size = next(n for n in range(1, 13) if bits[used : used + n] in codes)
        found.append(codes[bits[used : used + size]])
        used += size
    return np.array(found, int)


def rans(stream, count):
    if not count:
        return np.zeros(0, int)
    lanes, tables, m = 8 if stream[0] & 1 else 1, (stream[0] >> 1) + 1, stream[1] + 1
    place, row_length, row_tables = 2, count, [0]
    if tables > 1:
        row_length = int.from_bytes(stream[2:6], "little")
        rows = math.ceil(count / row_length)
        place = 6 + math.ceil(rows / 2)
        row_tables = numbers(bits_of(stream[6:place]), 4, rows)
    bits, used, slots = bits_of(stream[place:]), 0, []
    for _ in range(tables):
        slots.append([])
        for symbol in range(m):
            length, used = int(bits[used : used + 4], 2), used + 4
            frequency = int("1" + bits[used : used + length - 1], 2) if length else 0
            used += max(length - 1, 0)
            slots[-1] += [(symbol, frequency, k) for k in range(frequency)]
        assert len(slots[-1]) == 4096
    place += math.ceil(used / 8)
    states = np.frombuffer(stream, "<u4", lanes, place).tolist()
    words = iter(np.frombuffer(stream[place + 4 * lanes :], "<u2").tolist())
    found = []
    for i in range(count):
        row, j = divmod(i, row_length)
        x = states[j % lanes]
        symbol, frequency, rest = slots[row_tables[row]][x % 4096]
        x = frequency * (x // 4096) + rest
        states[j % lanes] = 65536 * x + next(words) if x < 65536 else x
        found.append(symbol)
    assert set(states) == {65536} and next(words, None) is None
    return np.array(found)
