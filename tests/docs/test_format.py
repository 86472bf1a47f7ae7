"""What docs/file_format.md says is what files hold: a reader of its own reads them."""

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

import tfcompress as tfc
from tests.docs import adaptive_rans_reader, format_reader, mixing_reader
from tfcompress.coding import encoders, wire
from tfcompress.tflite.read import read

L = keras.layers
_KINDS = {"lut": {0, 128}, "huffman": {0, 1, 128}, "prune": {2, 128}, "rans": {128}}


def _network():
    return keras.Sequential(
        [
            keras.Input((8, 8, 4)),
            L.Conv2D(16, 3, activation="relu"),
            L.DepthwiseConv2D(3, depth_multiplier=4, activation="relu"),
            L.GlobalAveragePooling2D(),
            L.Dense(24),
        ]
    )


def _few_valued(network):
    """Weights of few values, of which most are zero."""
    random = np.random.default_rng(0)
    for weight in network.weights:
        weight.assign(random.choice([0, 0, 0, 0, 0, -1, 0.5, 1, 0.25], weight.shape))
    return network


def _assert_reads_as_decoded(content):
    """Compares the reader with the package; returns the kinds that were there."""
    file, plain = read(content), read(tfc.decode_tflite(content))
    constants = format_reader.constants(file)
    assert constants
    for (g, t), found in constants.items():
        data = plain.buffers[plain.subgraphs[g].tensors[t].buffer].data
        assert found == bytes(np.asarray(data, np.uint8))
    code = next(
        i for i, c in enumerate(file.operatorCodes) if c.customCode == b"TFLM_DECODE"
    )
    return {
        int(file.buffers[graph.tensors[t].buffer].data[0])
        for graph in file.subgraphs
        for operation in graph.operators
        if operation.opcodeIndex == code
        for t in operation.inputs[1::2]
    }


@pytest.mark.parametrize("precision", ["float32", "int8", "int4"])
@pytest.mark.parametrize("codec", _KINDS)
def test_files_are_read(precision, codec, tmp_path):
    x = np.random.default_rng(0).normal(size=(8, 8, 8, 4)).astype("float32")
    path = tmp_path / "model.tflite"
    network = _few_valued(_network())
    tfc.export_tflite(network, path, precision, samples=x, codec=codec)
    assert _assert_reads_as_decoded(path.read_bytes()) <= _KINDS[codec]


def test_slices_are_read(tmp_path):
    layers = [L.Dense(48, "relu"), L.Dense(48, "relu"), L.Dense(3)]
    network = keras.Sequential([keras.Input((8,)), *layers])
    slimmable = tfc.dynamic.Slimmable(network, widths=[0.5, 1.0])
    tfc.dynamic.export_widths(slimmable, tmp_path / "widths.tflite")
    content = (tmp_path / "widths.tflite").read_bytes()
    assert _assert_reads_as_decoded(content) == {wire.Kind.SLICE}


def _symbols(rows, columns, spread=3):
    """Symbols with rows and columns of different density."""
    random = np.random.default_rng(rows)
    density = np.outer(np.linspace(0, 1, rows), np.tile([0.1, 0.9], columns // 2))
    values = np.rint(random.normal(scale=spread, size=(rows, columns)))
    return np.where(random.random((rows, columns)) < density, values + 20, 20).astype(
        np.uint8
    )


@pytest.mark.parametrize(
    ("codec", "reader"),
    [
        (tfc.coding.BitPack(), format_reader.bit_pack),
        (tfc.coding.Huffman(), format_reader.huffman_codes),
        (tfc.coding.Rans(), format_reader.rans),
        (tfc.coding.AdaptiveRans(zero=20), adaptive_rans_reader.adaptive_rans),
        (
            tfc.coding.AdaptiveRans(zero=20, period=2),
            adaptive_rans_reader.adaptive_rans,
        ),
        (tfc.coding.AdaptiveRans(zero=0, period=5), adaptive_rans_reader.adaptive_rans),
        (tfc.coding.Mixing(zero=20), mixing_reader.mixing),
        (tfc.coding.Mixing(zero=20, period=2), mixing_reader.mixing),
        (tfc.coding.Mixing(zero=0, period=5), mixing_reader.mixing),
    ],
)
@pytest.mark.parametrize("shape", [(1, 6), (24, 32)])
def test_streams_are_read(codec, reader, shape):
    symbols = _symbols(*shape)
    stream = codec.encode(symbols)
    np.testing.assert_array_equal(reader(stream, symbols.size), symbols.ravel())


def test_streams_of_rans_with_lanes_and_tables():
    symbols = np.concatenate([_symbols(40, 80), _symbols(40, 80, spread=40) // 2])
    stream = tfc.coding.Rans().encode(symbols)
    assert stream[0] & 1
    assert stream[0] >> 1
    np.testing.assert_array_equal(
        format_reader.rans(stream, symbols.size), symbols.ravel()
    )


def test_streams_of_adaptive_rans_with_lanes_and_many_rows():
    symbols = _symbols(70, 62, spread=40).clip(0, 200)
    assert symbols.size >= 4096
    stream = tfc.coding.AdaptiveRans(zero=20, period=31).encode(symbols)
    found = adaptive_rans_reader.adaptive_rans(stream, symbols.size)
    np.testing.assert_array_equal(found, symbols.ravel())


@pytest.mark.parametrize("layout", wire.Layout)
@pytest.mark.parametrize("by_channel", [False, True])
def test_layouts_are_read(layout, by_channel):
    values = np.float32([0, 0, 0, 0, -1, 0.5, 1])
    elements = np.random.default_rng(0).choice(values, (6, 40))
    elements[:, :5] = 0
    tensor = schema.TensorT()
    tensor.type, tensor.shape = schema.TensorType.FLOAT32, elements.shape
    kind = encoders.Symbols.by_channel if by_channel else encoders.Symbols.of
    symbols = kind(elements.tobytes(), wire.Tensor(1, elements.shape))
    encoded = encoders.coded(symbols, tfc.coding.Huffman(), layout)
    found = format_reader.read(encoded.content, encoded.ancillary, tensor)
    assert found == elements.tobytes()
