"""Narrower networks that take their kernels from the widest one."""

import functools
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema

import tfcompress as tfc
from tests.tflite import files
from tfcompress import native
from tfcompress.tflite.encode import encode_tflite
from tfcompress.tflite.merge import merge
from tfcompress.tflite.operations import count_operations, operation_name
from tfcompress.tflite.read import read, write
from tfcompress.tflite.slices import share_slices
from tfcompress.tflite.slim import slim

L = keras.layers


def _dense(codes, scale, bias=None):
    bias = np.zeros(len(codes)) if bias is None else np.array(bias)
    return files.signed(files.dense(codes, np.full(len(codes), scale), bias))


def _whole():
    """Codes of up to 63, so that their doubles are codes too."""
    return np.random.default_rng(0).integers(-63, 64, (8, 160))


def _shared(whole, **narrow):
    """The lines, and the file after conversion to bytes and back."""
    file = merge({"whole": whole} | narrow)
    lines = share_slices(file, "whole")
    return lines, read(write(file))


def _constant(file, graph, place, dtype):
    tensor = read(file).subgraphs[graph].tensors[place]
    return np.frombuffer(bytes(file.buffers[tensor.buffer].data), dtype)


def test_equal_integers_by_hand():
    codes = _whole()
    whole, narrow = _dense(codes, 1.0), _dense(codes[:4, :80], 0.5)
    lines, file = _shared(whole, narrow=narrow)
    # 320 bytes of codes, compared with the overhead of two tensors.
    assert lines == (
        "narrow: 1 of 1 constants are slices, 160 bytes less; steps at most 1 times as "
        "large",
    )
    graph = file.subgraphs[1]
    decode, _ = graph.operators
    assert list(decode.outputs) == [1]
    parts = [graph.tensors[place] for place in decode.inputs]
    assert parts[0].buffer == file.subgraphs[0].tensors[1].buffer
    assert bytes(file.buffers[parts[1].buffer].data) == (
        bytes([129, 1, 0, 0, 1, 2]).ljust(16, b"\0")
        + bytes([8, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0])
        + bytes([160, 0, 0, 0, 80, 0, 0, 0, 1, 0, 0, 0])
    )
    assert graph.tensors[1].buffer == 0
    assert graph.tensors[1].quantization.scale.tolist() == 4 * [0.5]
    stored = [bytes(b.data) for b in file.buffers if b.data is not None]
    assert codes[:4, :80].astype(np.int8).tobytes() not in stored


def test_other_scales_by_hand():
    """Steps of 1 instead of 0.5: twice the codes are the same weights."""
    codes = _whole()
    codes[2] = 0
    narrow = _dense(2 * codes[:4, :80], 0.5, [3, -8, 7, 0])
    lines, file = _shared(_dense(codes, 0.25), narrow=narrow)
    assert lines[0].endswith("steps at most 2 times as large")
    kernel, bias = file.subgraphs[1].tensors[1:3]
    # The third channel, all zeros, keeps its step. The input's is 1.
    assert kernel.quantization.scale.tolist() == [1.0, 1.0, 0.5, 1.0]
    assert bias.quantization.scale.tolist() == [1.0, 1.0, 0.5, 1.0]
    # 1.5 and -4 in steps of 1, 3.5 in steps of 0.5; halves go to even numbers.
    assert _constant(file, 1, 2, np.int32).tolist() == [2, -4, 7, 0]


def test_the_reach_of_rounding_by_hand():
    """With steps of 1 and 0.5, weights may be 0.75 apart."""
    codes = _whole()
    codes[:4, :2] = 63, -63
    codes[:4, 2:4] = 0
    for added, is_right in [(1, True), (2, False)]:
        part = 2 * codes[:4, :80]
        part[1, 2] += added
        lines, _ = _shared(_dense(codes, 1.0), narrow=_dense(part, 0.5))
        assert (len(lines) == 1) == is_right
    assert lines[1] == (
        "narrow: w stays as it is: it is not a slice of the widest network's"
    )


def test_channels_of_another_sign_are_no_slices():
    codes = _whole()
    part = codes[:4, :80].copy()
    part[3] *= -1
    lines, file = _shared(_dense(codes, 1.0), narrow=_dense(part, 1.0))
    assert "it is not a slice" in lines[1]
    assert count_operations(file) == {"FULLY_CONNECTED": 2}


def test_a_bias_that_its_scale_cannot_hold():
    """Twice the bias and 80 products of up to 127 * 255 have to be less than 2^31."""
    codes = 2 * (_whole() // 2)
    most = (2**31 - 1 - 80 * 127 * 255) // 2
    for bias, fits in [(most, True), (most + 1, False)]:
        narrow = _dense(codes[:4, :80] // 2, 1.0, [bias, 0, 0, 0])
        lines, file = _shared(_dense(codes, 1.0), narrow=narrow)
        expected = [(1 + fits) * bias, 0, 0, 0]
        assert _constant(file, 1, 2, np.int32).tolist() == expected
        assert len(lines) == (1 if fits else 2)
    assert "its bias would exceed 32 bits" in lines[1]


def test_channels_that_are_zero_in_one_network_only():
    """Their scale becomes a 32nd, or less than half a step of others for 127 steps."""
    codes = _whole()
    part = 2 * codes[:4, :80]
    part[1:3] = 0
    narrow = _dense(part, 0.5, [0, 5, 5, 0])
    _kernel(narrow).quantization.scale[1] = 2**-10
    narrow.subgraphs[0].tensors[2].quantization.scale[1] = 2**-10
    _, file = _shared(_dense(codes, 0.25), narrow=narrow)
    scales = file.subgraphs[1].tensors[1].quantization.scale
    np.testing.assert_allclose(scales, [1, 2**-15, 0.501 / 127, 1], rtol=1e-6)
    # 5 / 1024 in steps of 2^-15, and 2.5 in steps of 0.501 / 127.
    assert _constant(file, 1, 2, np.int32).tolist() == [0, 160, 634, 0]


def test_blocks_of_an_axis_are_found():
    """Columns are 10 positions of 16 channels, of which 8 are kept."""
    codes = _whole()
    part = codes[:4].reshape(4, 10, 16)[:, :, :8].reshape(4, 80)
    _, file = _shared(_dense(codes, 1.0), narrow=_dense(part, 1.0))
    decoded = read(tfc.decode_tflite(write(file)))
    assert _constant(decoded, 1, 1, np.int8).tolist() == part.ravel().tolist()


def test_what_does_not_pay_stays():
    """160 bytes are as many as are added."""
    codes = _whole()
    for num_columns, pays in [(40, False), (41, True)]:
        part = codes[:4, :num_columns]
        lines, _ = _shared(_dense(codes, 1.0), narrow=_dense(part, 1.0))
        assert (len(lines) == 1) == pays
        if not pays:
            assert lines[1].endswith("w stays as it is: the file would not be smaller")


def test_a_buffer_goes_only_with_all_that_show_it():
    """The same codes in two networks, in one of them not around zero."""
    codes = _whole()
    part = 2 * codes[:, :80]
    parts = {"one": _dense(part, 0.5), "two": _dense(part, 0.5)}
    lines, _ = _shared(_dense(codes, 1.0), **parts)
    assert len(lines) == 2
    _kernel(parts["two"]).quantization.zeroPoint[0] = 1
    lines, _ = _shared(_dense(codes, 1.0), **parts)
    assert lines[1] == "one: w stays as it is: the file would not be smaller"
    assert lines[3].startswith("two: w stays as it is: ")


def _kernel(file):
    return file.subgraphs[0].tensors[1]


def _as_int4(whole, narrow):
    _kernel(whole).type = _kernel(narrow).type = schema.TensorType.INT4


def _sparse(whole, narrow):
    _kernel(narrow).sparsity = schema.SparsityParametersT()


def _computed(whole, narrow):
    whole.subgraphs[0].tensors[1].buffer = 0


def _wider(whole, narrow):
    _kernel(whole).shape = np.int32([2, 640])


def _other_operation(whole, narrow):
    operation, code = files.operation("CONV_2D", (0, 1, 2), (3,))
    narrow.operatorCodes, narrow.subgraphs[0].operators = [code], [operation]


@pytest.mark.parametrize(
    "edit, message",
    [
        (_as_int4, "w stays as it is: its type cannot be sliced"),
        (_sparse, "w stays as it is: stored sparse"),
        (_computed, "w stays as it is: the widest network computes it"),
        (_wider, "w stays as it is: its shape [4, 80] is not part of [2, 640]"),
        (
            _other_operation,
            "its graph stays as it is: its operations differ from those of the widest "
            "network",
        ),
    ],
)
def test_what_stays_is_said(edit, message):
    codes = _whole()
    parts = _dense(codes, 1.0), _dense(codes[:4, :80], 1.0)
    edit(*parts)
    file = merge({"whole": parts[0], "narrow": parts[1]})
    before = write(file)
    _, line = share_slices(file, "whole")
    assert line == f"narrow: {message}"
    assert write(file) == before


def _looped(kernel):
    """Three products with a kernel, in a loop."""
    given = tf.TensorSpec((1, len(kernel)), tf.float32, "x")

    @tf.function(input_signature=[given], autograph=False)
    def call(x):
        kernel_constant = tf.constant(kernel)
        return tf.while_loop(
            lambda i, _: i < 3, lambda i, y: (i + 1, y @ kernel_constant), [0, x]
        )[1]

    module = tf.Module()
    module.call = call
    function = call.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], module)
    return files.signed(read(converter.convert()))


def test_loops_share_too():
    kernel = np.random.default_rng(0).normal(size=(48, 48)).astype(np.float32)
    parts = {"whole": _looped(kernel), "narrow": _looped(kernel[:24, :24])}
    alone = write(parts["narrow"])
    file = merge(parts)
    # 2,304 bytes of the kernel minus the overhead.
    assert "1 of 1 constants are slices, 2,144 bytes" in share_slices(file, "whole")[0]
    assert count_operations(file)["WHILE"] == 2
    assert [operation_name(file, g.operators[0]) for g in file.subgraphs].count(
        "TFLM_DECODE"
    ) == 1
    x = np.random.default_rng(1).normal(size=(2, 24)).astype(np.float32)
    expected = tfc.Interpreter(alone).run(x)
    shared = write(file)
    for content in (shared, tfc.decode_tflite(shared)):
        found = tfc.Interpreter(content, signature="narrow").run(x)
        np.testing.assert_array_equal(found, expected)


def _other_size(file):
    _narrow_kernel(file).shape = np.int32([4, 79])


def _no_blocks(file):
    _ancillary(file)[16 + 8] = 0


def _more_than_there_is(file):
    _ancillary(file)[16 + 2] = 1


def _narrow_kernel(file):
    return file.subgraphs[1].tensors[1]


def _ancillary(file):
    graph = file.subgraphs[1]
    buffer = file.buffers[graph.tensors[graph.operators[0].inputs[1]].buffer]
    buffer.data = np.array(buffer.data)
    return buffer.data


@pytest.mark.parametrize("edit", [_other_size, _no_blocks, _more_than_there_is])
def test_slices_that_contradict_the_file_are_refused(edit):
    codes = _whole()
    _, file = _shared(_dense(codes, 1.0), narrow=_dense(codes[:4, :80], 1.0))
    edit(file)
    content = write(file)
    with pytest.raises(ValueError, match="cannot be loaded"):
        tfc.Interpreter(content, signature="narrow")
    with pytest.raises(ValueError, match="corrupt data"):
        tfc.decode_tflite(content)


def test_unknown_signatures():
    file = merge({"a": _dense(_whole(), 1.0)})
    with pytest.raises(ValueError, match=r"No signature 'b': expected one of \['a'\]"):
        share_slices(file, "b")


_CHANNELS = 96


def _network(width, has_norm=True):
    """A small network of convolutions; narrower ones are cut from the widest one."""

    def norm():
        return [L.BatchNormalization()] if has_norm else []

    channels = int(width * _CHANNELS)
    return keras.Sequential(
        [
            keras.Input((8, 8, 3), name="x"),
            L.Conv2D(channels, 3, strides=2, use_bias=not has_norm),
            *norm(),
            L.ReLU(),
            L.DepthwiseConv2D(2, use_bias=not has_norm),
            *norm(),
            L.ReLU(),
            L.Conv2D(2 * channels, 2, padding="same", use_bias=not has_norm),
            *norm(),
            L.ReLU(),
            L.Flatten(),
            L.Dense(32, activation="relu"),
            L.Dense(10),
        ]
    )


def _cut(whole, shape):
    """The part of a weight with this shape; a dense kernel has the 4 positions."""
    if whole.ndim == 2 and len(whole) > 32:
        whole = whole.reshape(4, -1, whole.shape[1])[:, : shape[0] // 4].reshape(shape)
    return whole[tuple(map(slice, shape))]


def _assign(model, whole, random):
    """Weights of the whole network, with the model's own batch norm."""
    for weight, wide in zip(model.weights, whole.weights, strict=True):
        if weight.name in ("gamma", "moving_variance"):
            weight.assign(random.uniform(0.5, 1.5, weight.shape))
        elif weight.name in ("beta", "moving_mean"):
            weight.assign(random.normal(0, 0.2, weight.shape))
        else:
            weight.assign(_cut(wide.numpy(), tuple(weight.shape)))


@functools.cache
def _exported(precision, has_norm, folder):
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    models = {f"w{width}": _network(width, has_norm) for width in (1.0, 0.5, 0.25)}
    for model in models.values():
        _assign(model, models["w1.0"], random)
    x = random.normal(size=(32, 8, 8, 3)).astype(np.float32)
    contents = {
        name: tfc.export_tflite(
            model,
            pathlib.Path(folder, f"{name}_{precision}.tflite"),
            precision=precision,
            samples=None if precision == "float32" else x,
        ).path.read_bytes()
        for name, model in models.items()
    }
    file = merge({name: read(content) for name, content in contents.items()})
    lines = share_slices(file, "w1.0")
    slim(file)
    return models, x, contents, lines, write(file)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("widths")


def _noise(found, expected):
    return np.mean((found - expected) ** 2) / np.var(expected)


def test_widths_with_batch_norm_share_their_integers(folder):
    models, x, contents, lines, shared = _exported("int8", True, folder)
    assert [line for line in lines if "slices" not in line] == [
        line for line in lines if line.endswith("the file would not be smaller")
    ]
    assert len(shared) <= 1.15 * len(contents["w1.0"])
    for name, model in models.items():
        expected = model.predict(x, verbose=0)
        alone = tfc.Interpreter(contents[name]).run(x)
        found = tfc.Interpreter(shared, signature=name).run(x)
        assert _noise(found, expected) < 2 * _noise(alone, expected) < 1e-3
    np.testing.assert_array_equal(
        tfc.Interpreter(shared, signature="w1.0").run(x),
        tfc.Interpreter(contents["w1.0"]).run(x),
    )


def test_floats_without_batch_norm_stay_bit_for_bit(folder):
    _, x, contents, lines, shared = _exported("float32", False, folder)
    assert all("steps at most 1 times" in line for line in lines)
    assert len(shared) <= 1.15 * len(contents["w1.0"])
    for name, content in contents.items():
        found = tfc.Interpreter(shared, signature=name).run(x)
        np.testing.assert_array_equal(found, tfc.Interpreter(content).run(x))


@pytest.mark.parametrize("precision, has_norm", [("int8", True), ("float32", False)])
def test_decoded_files_compute_the_same(precision, has_norm, folder, monkeypatch):
    _, x, contents, _, shared = _exported(precision, has_norm, folder)
    decoded = tfc.decode_tflite(shared)
    assert "TFLM_DECODE" in count_operations(shared)
    assert "TFLM_DECODE" not in count_operations(decoded)
    assert len(decoded) > 1.2 * len(contents["w1.0"])
    names = list(contents)
    expected = [tfc.Interpreter(shared, signature=name).run(x) for name in names]
    found = [tfc.Interpreter(decoded, signature=name).run(x) for name in names]
    monkeypatch.setattr(native, "library", lambda: None)
    monkeypatch.setattr(native, "library_path", lambda: None)
    found += [tfc.Interpreter(shared, signature=name).run(x) for name in names]
    for one, other in zip(2 * expected, found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_codecs_come_after_slices(folder):
    """Sliced constants are not encoded; others, such as biases, are."""
    _, x, contents, _, shared = _exported("float32", False, folder)
    file = read(shared)
    for graph in file.subgraphs:
        for tensor in graph.tensors:
            if tensor.buffer and list(tensor.shape) == [10, 32]:
                zeros = np.zeros(4 * 320, np.uint8)
                file.buffers[tensor.buffer].data = zeros
    plain = write(file)
    content, constants = encode_tflite(read(plain), "huffman")
    kernels = {c.shape for c in constants if c.encoding and len(c.shape) > 1}
    assert kernels == {(10, 32)}
    reasons = {c.reason for c in constants if len(c.shape) == 4}
    assert "it is already encoded, or slices of it are" in reasons
    for name in contents:
        found = tfc.Interpreter(content, signature=name).run(x)
        expected = tfc.Interpreter(plain, signature=name).run(x)
        np.testing.assert_array_equal(found, expected)


def test_rounding_explains_what_changes(tmp_path):
    """One layer: half a step of both grids for each weight, plus roundings of the rest."""
    random = np.random.default_rng(0)
    models = {}
    x = random.normal(size=(16, 6, 6, 8)).astype(np.float32)
    samples = {"whole": x, "half": x[..., :4]}
    for name, values in samples.items():
        channels = values.shape[-1]
        layers = [L.Conv2D(8 * channels, 3, use_bias=False), L.BatchNormalization()]
        given = keras.Input(values.shape[1:], name="x")
        models[name] = keras.Sequential([given, *layers])
        _assign(models[name], models["whole"], random)
    contents = {
        name: tfc.export_tflite(
            model, tmp_path / f"{name}.tflite", precision="int8", samples=samples[name]
        ).path.read_bytes()
        for name, model in models.items()
    }
    file = merge({name: read(content) for name, content in contents.items()})
    scales = [_conv_scales(file)]
    assert len(share_slices(file, "whole")) == 1
    scales.append(_conv_scales(file))
    (x_step, w_step, y_step), (_, new_step, _) = scales
    shared, x = write(file), samples["half"]
    alone = tfc.Interpreter(contents["half"]).run(x)
    found = tfc.Interpreter(shared, signature="half").run(x)
    # Inputs as they are rounded, at most half a step away.
    sums = tf.nn.conv2d(np.abs(x) + x_step, np.ones((3, 3, 4, 1), "f4"), 1, "VALID")
    by_weights = sums.numpy() * 1.002 * (w_step + new_step) / 2
    by_bias = x_step * new_step / 2
    difference = np.abs(found - alone)
    assert difference.max() > 0
    assert (difference <= by_weights + by_bias + 1.001 * y_step).all()


def _conv_scales(file):
    """Of the input, the kernel and the output of the second network."""
    graph = file.subgraphs[1]
    operation = graph.operators[-1]
    places = operation.inputs[0], operation.inputs[1], operation.outputs[0]
    return [graph.tensors[place].quantization.scale for place in places]
