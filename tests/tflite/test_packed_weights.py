"""Weights as packed integers, by hand and in LiteRT."""

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

import tfcompress as tfc
from tfcompress.core.grid import block_grid, rounded_to_bfloat16
from tfcompress.core.nibbles import unpack_nibbles
from tfcompress.tflite.operations import count_parameters, operation_name
from tfcompress.tflite.read import read

L = keras.layers
_GENERATOR = np.random.default_rng(0)


def exported(model, path, precision, **arguments):
    """The result, the object form of the file, and its first graph."""
    result = tfc.export_tflite(model, path, precision, **arguments)
    file = read(path.read_bytes())
    return result, file, file.subgraphs[0]


def dense(kernel, **arguments):
    """A model of one dense layer, and inputs that LiteRT rounds without an error."""
    layer = L.Dense(kernel.shape[1], **arguments)
    model = keras.Sequential([keras.Input((len(kernel),)), layer])
    layer.kernel.assign(kernel)
    layer.bias.assign(_GENERATOR.normal(size=kernel.shape[1]))
    x = _GENERATOR.integers(-128, 128, (16, len(kernel))).astype("float32")
    x[:, :2] = -128, 127
    return model, x


def weights_of(file, graph, kind="FULLY_CONNECTED"):
    """The weights of the first operation of a kind."""
    operation = next(o for o in graph.operators if operation_name(file, o) == kind)
    return graph.tensors[operation.inputs[1]]


def on_grid(inputs, outputs, block_size, low=-7, high=7):
    """A kernel on a grid, its codes and its steps, `(blocks, outputs)`."""
    codes = _GENERATOR.integers(low, high + 1, (inputs, outputs))
    codes[::block_size], codes[1::block_size] = low, high
    steps = _GENERATOR.choice([0.5, 0.75, 1.25], (inputs // block_size, outputs)) / 64
    return codes * np.repeat(steps, block_size, axis=0), codes, steps


@pytest.mark.parametrize("block_size", [32, 64, 128, 256])
def test_files_hold_exactly_the_codes_of_blocks(block_size, tmp_path):
    kernel, codes, steps = on_grid(256, 33, block_size)
    model, x = dense(kernel)
    result, file, graph = exported(
        model, tmp_path / "m.tflite", "dynamic_int4", samples=x
    )
    weight = weights_of(file, graph)
    assert weight.type == schema.TensorType.INT4
    stored = unpack_nibbles(bytes(file.buffers[weight.buffer].data), codes.size)
    np.testing.assert_array_equal(stored.reshape(33, 256), codes.T)
    if block_size < 256:
        details = weight.quantization.details
        assert details.blockSize == block_size
        place = graph.tensors[details.scales]
        held = np.frombuffer(bytes(file.buffers[place.buffer].data), np.float16)
        np.testing.assert_array_equal(held.reshape(33, -1), steps.T)
    else:
        np.testing.assert_allclose(weight.quantization.scale, steps[0], rtol=1e-6)
    # Inputs and weights are exact, so that only sums are rounded.
    assert max(result.noise.values()) < 1e-5
    assert result.notes == ()


@pytest.mark.parametrize("activation", [None, "relu"])
@pytest.mark.parametrize("block_size", [64, 256])
def test_offsets_of_blocks_are_added_to_the_products(block_size, activation, tmp_path):
    kernel, _, _ = on_grid(256, 16, block_size, low=-3, high=12)
    model, x = dense(kernel, activation=activation)
    result, file, graph = exported(
        model, tmp_path / "m.tflite", "dynamic_int4", samples=x
    )
    weight = weights_of(file, graph)
    assert weight.type == schema.TensorType.INT4
    stored = unpack_nibbles(bytes(file.buffers[weight.buffer].data), kernel.size)
    # From -3..12 to -8..7.
    assert stored.min() == -8
    assert stored.max() == 7
    assert max(result.noise.values()) < 1e-5
    assert result.operations["SUM"] == 1


def test_steps_of_8_bits_are_kept(tmp_path):
    kernel, codes, _ = on_grid(64, 32, 64, low=-100, high=90)
    model, x = dense(kernel)
    result, file, graph = exported(model, tmp_path / "m.tflite", "dynamic", samples=x)
    weight = weights_of(file, graph)
    stored = np.frombuffer(bytes(file.buffers[weight.buffer].data), np.int8)
    np.testing.assert_array_equal(stored.reshape(32, 64), codes.T)
    assert max(result.noise.values()) < 1e-5
    result, file, graph = exported(
        model, tmp_path / "m.tflite", "dynamic_int4", samples=x
    )
    assert weights_of(file, graph).type == schema.TensorType.INT8
    assert result.notes == (
        "stayed at 8 bits: constants of 1 FULLY_CONNECTED: they lie on a finer grid",
    )


def test_other_weights_are_rounded_to_the_nearest(tmp_path):
    kernel = _GENERATOR.normal(size=(96, 32))
    model, _ = dense(kernel)
    for precision, bits in (("dynamic", 8), ("dynamic_int4", 4)):
        _, file, graph = exported(
            model, tmp_path / "m.tflite", precision, samples=kernel.T
        )
        weight = weights_of(file, graph)
        data = bytes(file.buffers[weight.buffer].data)
        if bits == 8:
            scale = np.abs(kernel).max(axis=0)[:, None] / 127
            stored = np.frombuffer(data, np.int8).reshape(32, 96) * scale
        else:
            codes = unpack_nibbles(data, kernel.size).reshape(32, 3, 32)
            scale = np.abs(kernel.T.reshape(32, 3, 32)).max(axis=2, keepdims=True) / 7
            scale = rounded_to_bfloat16(scale)
            stored = (codes * scale).reshape(32, 96)
            scale = np.repeat(scale[..., 0], 32, axis=1)
        # The last level may lie a rounding of its step below the largest weight.
        assert np.all(np.abs(stored - kernel.T) <= 0.53 * scale)


def test_few_weights_and_odd_rows(tmp_path):
    model, x = dense(_GENERATOR.normal(size=(8, 100)))
    result, *_ = exported(model, tmp_path / "m.tflite", "dynamic_int4", samples=x)
    assert result.notes == (
        "stayed float: constants of 1 FULLY_CONNECTED: fewer than 1024 numbers",
    )
    model, x = dense(_GENERATOR.normal(size=(33, 100)))
    result, *_ = exported(model, tmp_path / "m.tflite", "dynamic_int4", samples=x)
    assert result.notes == (
        "stayed at 8 bits: constants of 1 FULLY_CONNECTED: they have an odd number of "
        "inputs",
    )


def embedding(table, length=6):
    model = keras.Sequential(
        [keras.Input((length,), dtype="int32"), L.Embedding(*table.shape)]
    )
    model.layers[0].embeddings.assign(table)
    return model, _GENERATOR.integers(0, len(table), (8, length)).astype("int32")


@pytest.mark.parametrize("low", [-7, 0])
@pytest.mark.parametrize("block_size", [32, 64])
def test_embeddings_are_looked_up_in_4_bits(block_size, low, tmp_path):
    # From 0 to 14, blocks need an offset.
    table, _, _ = on_grid(64, 50, block_size, low, low + 14)
    model, x = embedding(table.T)
    result, file, graph = exported(
        model, tmp_path / "m.tflite", "dynamic_int4", samples=x
    )
    assert "EMBEDDING_LOOKUP" in result.operations
    assert "GATHER" not in result.operations
    assert weights_of(file, graph, "EMBEDDING_LOOKUP").type == schema.TensorType.INT4
    assert result.max_error < 1e-6


def test_embeddings_in_8_bits(tmp_path):
    table = _GENERATOR.normal(size=(50, 63))
    model, x = embedding(table)
    for precision in ("dynamic", "dynamic_int4"):
        result, file, graph = exported(
            model, tmp_path / "m.tflite", precision, samples=x
        )
        # LiteRT mixes up rows of 4 bits that do not fill whole bytes.
        assert (
            weights_of(file, graph, "EMBEDDING_LOOKUP").type == schema.TensorType.INT8
        )
        assert result.max_error <= 0.5 * np.abs(table).max() / 127 * 1.001


def test_convolutions_compute_in_8_bits_and_depthwise_ones_in_float(tmp_path):
    x = keras.Input((8, 8, 32))
    y = L.Conv2D(32, 3, padding="same", name="conv")(x)
    y = L.DepthwiseConv2D(6, padding="same", name="depthwise")(y)
    model = keras.Model(x, L.Conv2DTranspose(16, 3, name="transposed")(y))
    samples = _GENERATOR.normal(size=(4, 8, 8, 32)).astype("float32")
    path = tmp_path / "m.tflite"
    float_bytes = exported(model, path, "float32", samples=samples)[0].size_bytes
    for precision in ("dynamic", "dynamic_int4"):
        result, file, graph = exported(model, path, precision, samples=samples)
        assert result.operations["DEQUANTIZE"] == 1
        assert weights_of(file, graph, "CONV_2D").type == schema.TensorType.INT8
        kernel = weights_of(file, graph, "DEPTHWISE_CONV_2D")
        assert kernel.type == schema.TensorType.FLOAT32
        assert max(result.noise.values()) < 0.05
        assert float_bytes / result.size_bytes > 3
    assert len(result.notes) == 3
    assert all(note.startswith("stayed at 8 bits") for note in result.notes)


@pytest.mark.parametrize("codec", ["auto", "rans"])
def test_codecs_encode_packed_weights(codec, tmp_path):
    kernel, _, _ = on_grid(256, 64, 32, low=-2, high=2)
    model, x = dense(kernel)
    path = tmp_path / "m.tflite"
    plain = exported(model, path, "dynamic_int4", samples=x)[0].size_bytes
    result, *_ = exported(
        model, path, "dynamic_int4", samples=x, codec=codec, profile="custom"
    )
    assert result.size_bytes < plain
    assert max(result.noise.values()) < 1e-5
    decoded = read(tfc.decode_tflite(path.read_bytes()))
    graph = decoded.subgraphs[0]
    details = weights_of(decoded, graph).quantization.details
    assert graph.tensors[details.scales].type == schema.TensorType.FLOAT16
    assert count_parameters(decoded)[0] >= 256 * 64


def test_block_grid_prefers_short_steps_and_refuses_other_weights():
    # 513 has 10 significant bits, its third, 171, has 8.
    grid = block_grid(np.array([[513.0, -1026.0]]) / 1024, 2)
    assert grid.scales == 171 / 1024
    assert grid.codes.tolist() == [[3, -6]]
    assert block_grid(np.array([[1.0, 2.5, 0.3, 7.77]]), 2) is None
    # 17 levels are too many for 4 bits.
    assert block_grid(np.array([[0.0, 1.0, 16.0]]), 3) is None
