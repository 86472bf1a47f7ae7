"""Files whose constants are decoded when they are loaded."""

import copy
import functools
import itertools
import tracemalloc

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils
from tflite_micro.python.tflite_micro import runtime as micro
from tflite_micro.tensorflow.lite.micro import compression as micro_compression
from tflite_micro.tensorflow.lite.micro.compression import spec as micro_spec

import tfcompress as tfc
from tests.native.loading import load_each
from tfcompress import native
from tfcompress.coding import encoders, wire
from tfcompress.export.convert import convert
from tfcompress.export.precisions import precision_of
from tfcompress.tflite import encode
from tfcompress.tflite.encode import CODECS, encode_tflite
from tfcompress.tflite.operations import count_operations
from tfcompress.tflite.read import read, write

L = keras.layers
_PRECISIONS = ("float32", "float16", "dynamic", "int8", "int4")


def _vision():
    return keras.Sequential(
        [
            keras.Input((8, 8, 4), name="x"),
            L.Conv2D(16, 3, strides=2, activation="relu"),
            L.DepthwiseConv2D(3, depth_multiplier=8, activation="relu"),
            L.Flatten(),
            L.Dense(24, activation="relu"),
            L.Dense(10),
        ]
    )


def _shared():
    """One layer that reads its weights twice, and one with the same values."""
    x = keras.Input((24,), name="x")
    twice, twin = L.Dense(24), L.Dense(24)
    y = twin(twice(twice(x)))
    model = keras.Model(x, [y, L.Dense(3)(y)])
    return model, lambda: twin.set_weights(twice.get_weights())


@functools.cache
def _plain(kind, precision="float32"):
    made = kind()
    model, finish = made if isinstance(made, tuple) else (made, lambda: None)
    random = np.random.default_rng(0)
    for weight in model.weights:
        # The same extremes everywhere give each channel the same scale.
        values = random.choice(np.float32([0, 0, 0, 0, -1, 0.5, 1]), weight.shape)
        values.reshape(-1, weight.shape[-1])[0] = 1
        weight.assign(values)
    finish()
    samples = random.normal(size=(8, *model.input_shape[1:])).astype(np.float32)
    file, _ = convert(model, precision_of(precision), {"x": samples})
    return write(file)


@functools.cache
def _encoded(kind, precision, codec):
    return encode_tflite(read(_plain(kind, precision)), codec)


def _input(content):
    with tfc.Interpreter(content) as interpreter:
        (detail,) = interpreter.input_details.values()
    values = np.random.default_rng(1).normal(size=detail["shape"])
    if detail["dtype"] == np.int8:
        return np.clip(values * 50, -128, 127).astype(np.int8)
    return values.astype(detail["dtype"])


def _outputs(content, x):
    with tfc.Interpreter(content) as interpreter:
        result = interpreter.run(x, raw=x.dtype == np.int8)
    return list(result.values()) if isinstance(result, dict) else [result]


def _micro_output(content, x):
    interpreter = micro.Interpreter.from_bytes(bytes(content), arena_size=200_000)
    interpreter.set_input(x, 0)
    interpreter.invoke()
    return interpreter.get_output(0)


def _assert_same_outputs(one, other):
    x = _input(one)
    for a, b in zip(_outputs(one, x), _outputs(other, x), strict=True):
        np.testing.assert_array_equal(a, b)


def _edited(content, edit):
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    edit(model)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


@pytest.mark.parametrize("precision", _PRECISIONS)
def test_encoded_files_compute_the_same(precision):
    plain = _plain(_vision, precision)
    decoded = set()
    for codec in CODECS:
        content, constants = _encoded(_vision, precision, codec)
        written = [constant for constant in constants if constant.encoding]
        assert written
        assert "TFLM_DECODE" in count_operations(content)
        assert all(c.encoded_bytes < c.plain_bytes for c in written)
        assert len(content) < len(plain)
        _assert_same_outputs(plain, content)
        decoded.add(tfc.decode_tflite(content))
    (ordinary,) = decoded
    assert "TFLM_DECODE" not in count_operations(ordinary)
    assert tfc.decode_tflite(ordinary) == ordinary
    _assert_same_outputs(plain, ordinary)


def test_auto_takes_the_smallest():
    sizes = {c: len(_encoded(_vision, "int8", c)[0]) for c in CODECS}
    assert sizes.pop("auto") <= min(sizes.values())


@pytest.mark.parametrize(
    "precision, codec",
    [
        ("float32", "lut"),
        ("float32", "prune"),
        ("int8", "lut"),
        ("int8", "huffman"),
        ("int8", "prune"),
    ],
)
def test_tflite_micro_computes_the_same(precision, codec):
    plain = _plain(_vision, precision)
    content, _ = _encoded(_vision, precision, codec)
    x = _input(plain)
    expected = _micro_output(plain, x)
    assert np.ptp(expected.astype(float)) > 0
    np.testing.assert_array_equal(_micro_output(content, x), expected)


@pytest.mark.parametrize("is_wide", [False, True])
@pytest.mark.parametrize("initial_bits", [1, 12])
def test_tflite_micro_reads_every_form_of_huffman_tables(initial_bits, is_wide):
    plain = _plain(_long_codes, "int8")
    content, constants = _encoded(_long_codes, "int8", "huffman")
    assert [constant.encoding for constant in constants] == ["huffman"]
    lengths = []

    def rewrite(model):
        ancillary = next(
            b for b in model.buffers if _starts(b, wire.header(wire.Kind.HUFFMAN)[:5])
        )
        tables = _tables_of(plain, lengths, initial_bits, is_wide)
        ancillary.data = np.frombuffer(tables, np.uint8)

    content = _edited(content, rewrite)
    assert max(lengths) == 12
    x = _input(plain)
    _assert_same_outputs(plain, content)
    np.testing.assert_array_equal(_micro_output(content, x), _micro_output(plain, x))


def _starts(buffer, start):
    return buffer.data is not None and bytes(buffer.data[: len(start)]) == start


def _long_codes():
    """A kernel whose int8 values are so uneven that their codes reach 12 bits."""
    model = keras.Sequential(
        [keras.Input((64,), name="x"), L.Dense(64, use_bias=False)]
    )
    counts = [1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, 987]
    values = np.repeat(np.arange(17) * 7, [*counts, 4096 - sum(counts)])
    kernel = np.random.default_rng(0).permutation(values).reshape(64, 64)
    kernel[0] = 127
    return model, lambda: model.set_weights([kernel.astype(np.float32)])


def _tables_of(plain, lengths, initial_bits, is_wide):
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(plain))
    data = max((b.data for b in model.buffers if b.data is not None), key=len)
    counts = np.bincount(data, minlength=256)
    lengths += encoders.code_lengths(counts).tolist()
    kinds, bits, values = encoders._tables(np.array(lengths, np.uint8), initial_bits)
    shift = 27 if is_wide else 11
    entries = kinds << (shift + 4) | bits << shift | values
    header = wire.header(wire.Kind.HUFFMAN, (initial_bits - 1) << 4 | is_wide)
    return header + entries.astype("<u4" if is_wide else "<u2").tobytes()


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("codec", ["lut", "auto"])
def test_shared_weights_stay_shared(precision, codec):
    plain = _plain(_shared, precision)
    content, constants = _encoded(_shared, precision, codec)
    assert sum(constant.shape == (24, 24) for constant in constants) == 1
    # Of four operations with weights, two read those that were decoded before.
    assert count_operations(content)["TFLM_DECODE"] < 4
    _assert_same_outputs(plain, content)
    decoded = tfc.decode_tflite(content)
    _assert_same_outputs(plain, decoded)
    assert len(decoded) < len(plain) + 200
    if codec == "lut":
        x = _input(plain)
        expected = _micro_output(plain, x)
        np.testing.assert_array_equal(_micro_output(content, x), expected)


def _few_rows():
    model = keras.Sequential([keras.Input((48,), name="x"), L.Dense(32)])
    kernel = np.zeros((48, 32), np.float32)
    kernel[::7] = 1
    return model, lambda: model.layers[0].kernel.assign(kernel)


def _dense():
    return keras.Sequential([keras.Input((4,), name="x"), L.Dense(3)])


def _unlike():
    """A kernel of 400 different numbers, 20 of each neuron."""
    model = keras.Sequential([keras.Input((20,), name="x"), L.Dense(20)])
    values = np.random.default_rng(0).normal(size=(20, 20)).astype(np.float32)
    return model, lambda: model.layers[0].kernel.assign(values)


def test_shared_values_before_batch_norm(tmp_path):
    layers = [keras.layers.Conv2D(24, 3), keras.layers.BatchNormalization()]
    model = keras.Sequential([keras.Input((8, 8, 16)), *layers])
    for variable in layers[1].weights:
        variable.assign(np.random.default_rng(0).uniform(0.5, 2, variable.shape))
    shared = tfc.strip(tfc.compress(model, {"conv.*": tfc.transforms.Codebook(16)}))
    result = tfc.export_tflite(shared, tmp_path / "m.tflite", codec="lut")
    (kernel,) = [c for c in result.constants if c.shape == (24, 3, 3, 16)]
    # Folded, each channel has its own 16 values.
    assert kernel.encoded_bytes == 16 + 24 * 16 * 4 + 1 + 24 * 9 * 16 / 2


def test_nothing_to_encode():
    content, constants = _encoded(_dense, "float32", "auto")
    assert tfc.decode_tflite(content) == content
    assert [c.encoding for c in constants] in ([], [""])
    content, constants = _encoded(_unlike, "float32", "auto")
    assert "more than 256 different values" in {c.reason for c in constants}
    assert count_operations(content) == count_operations(_plain(_unlike))
    _assert_same_outputs(_plain(_unlike), content)


@pytest.mark.parametrize(
    "mode", [micro_spec.PerTensor(), micro_spec.PerChannel(axis=0)]
)
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_files_of_tflite_micros_compressor(precision, mode):
    plain = _plain(_vision, precision)
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(plain))
    specs = micro_compression.SpecBuilder()
    for operation in model.subgraphs[0].operators:
        name = model.operatorCodes[operation.opcodeIndex].builtinCode
        if name == schema.BuiltinOperator.FULLY_CONNECTED:
            specs.add_tensor(0, int(operation.inputs[1])).with_lut(4, mode)
    content = bytes(micro_compression.compress(plain, specs.build()))
    decoded = tfc.decode_tflite(content)
    assert "TFLM_DECODE" in count_operations(content)
    assert "TFLM_DECODE" not in count_operations(decoded)
    _assert_same_outputs(plain, decoded)
    _assert_same_outputs(plain, content)


def test_export_takes_a_codec(tmp_path):
    model = _dense()
    path = tmp_path / "model.tflite"
    with pytest.raises(ValueError, match="profile='custom'"):
        tfc.export_tflite(model, path, codec="lut", profile="builtin")
    with pytest.raises(ValueError, match=r"codec\): got 'zip', expected 'auto'"):
        tfc.export_tflite(model, path, codec="zip")
    assert not path.exists()


def test_without_the_native_core(monkeypatch):
    files = {codec: _encoded(_vision, "int8", codec)[0] for codec in CODECS}
    mixed, constants = encode_tflite(read(_plain(_few_rows)), "rans")
    assert "mixing" in {constant.encoding for constant in constants}
    # As in files with more weights.
    monkeypatch.setattr(encode, "_MAX_DECISIONS", 0)
    adaptive, constants = encode_tflite(read(_plain(_few_rows)), "rans")
    assert "adaptive rans" in {constant.encoding for constant in constants}
    expected = tfc.decode_tflite(files["lut"]), tfc.decode_tflite(adaptive)
    assert tfc.decode_tflite(mixed) == expected[1]
    monkeypatch.setattr(native, "library", lambda: None)
    monkeypatch.setattr(native, "library_path", lambda: None)
    for codec in ("lut", "huffman", "prune"):
        assert tfc.decode_tflite(files[codec]) == expected[0]
        _assert_same_outputs(_plain(_vision, "int8"), files[codec])
    assert tfc.decode_tflite(adaptive) == expected[1]
    assert tfc.decode_tflite(mixed) == expected[1]
    with pytest.raises(native.NativeError, match="Install a C compiler"):
        encode_tflite(read(_plain(_vision, "int8")), "rans")


def _damaged(count):
    """Encoded files with bytes changed or the end cut off."""
    random = np.random.default_rng(0)
    contents = itertools.cycle(_encoded(_shared, "int8", codec)[0] for codec in CODECS)
    for content, _ in zip(contents, range(count), strict=False):
        damaged = bytearray(content)
        if random.random() < 0.3:
            del damaged[random.integers(8, len(damaged)) :]
        for place in random.integers(8, len(damaged), random.integers(1, 4)):
            damaged[place] = random.integers(256)
        yield bytes(damaged)


def _hostile():
    """Files that no encoder writes, and whether decode_tflite must refuse them."""
    content, _ = _encoded(_shared, "float32", "lut")

    def edit(change):
        def apply(model):
            graph = model.subgraphs[0]
            operation = next(
                o
                for o in graph.operators
                if model.operatorCodes[o.opcodeIndex].customCode == b"TFLM_DECODE"
            )
            tensors = [
                graph.tensors[i] for i in [*operation.inputs, *operation.outputs]
            ]
            change(model, graph, operation, *tensors[:2], tensors[-1])

        return _edited(content, apply)

    def cut(model, tensor, size):
        buffer = model.buffers[tensor.buffer]
        buffer.data = buffer.data[:size]
        tensor.shape = np.array([size], np.int32)

    def with_tensor(graph, index, name, value):
        graph.tensors[index] = copy.copy(graph.tensors[index])
        setattr(graph.tensors[index], name, value)

    changes = {
        "one input": lambda m, g, o, *_: setattr(o, "inputs", o.inputs[:1]),
        "three inputs": lambda m, g, o, *_: setattr(
            o, "inputs", np.append(o.inputs, o.inputs[:1])
        ),
        "no inputs": lambda m, g, o, *_: setattr(o, "inputs", None),
        "no outputs": lambda m, g, o, *_: setattr(o, "outputs", o.outputs[:0]),
        "left out": lambda m, g, o, *_: o.inputs.__setitem__(1, -1),
        "far away": lambda m, g, o, *_: o.inputs.__setitem__(0, 1 << 20),
        "no constant": lambda m, g, o, *_: o.inputs.__setitem__(0, g.inputs[0]),
        "empty": lambda m, g, o, e, a, t: cut(m, e, 0),
        "short": lambda m, g, o, e, a, t: cut(m, e, 3),
        "no header": lambda m, g, o, e, a, t: cut(m, a, 15),
        "no values": lambda m, g, o, e, a, t: cut(m, a, 16),
        "string": lambda m, g, o, e, a, t: setattr(t, "type", schema.TensorType.STRING),
        "complex": lambda m, g, o, e, a, t: setattr(
            t, "type", schema.TensorType.COMPLEX64
        ),
        "huge": lambda m, g, o, e, a, t: setattr(
            t, "shape", np.array([1 << 30, 1 << 30], np.int32)
        ),
        "overflow": lambda m, g, o, e, a, t: setattr(
            t, "shape", np.array([1 << 30] * 5, np.int32)
        ),
        "negative": lambda m, g, o, e, a, t: setattr(
            t, "shape", np.array([-24, 24], np.int32)
        ),
        "itself": lambda m, g, o, *_: o.inputs.__setitem__(0, o.outputs[0]),
    }
    return {name: edit(change) for name, change in changes.items()}


def test_damaged_files_are_an_error_or_another_model():
    refused = 0
    for damaged in _damaged(150):
        try:
            tfc.decode_tflite(damaged)
        except ValueError:
            refused += 1
    assert refused > 50
    content, _ = _encoded(_shared, "int8", "rans")
    for end in range(0, len(content), len(content) // 20):
        with pytest.raises(ValueError):
            tfc.decode_tflite(content[:end])
        with pytest.raises(ValueError):
            tfc.Interpreter(content[:end])


def test_hostile_operations_are_refused():
    for name, content in _hostile().items():
        with pytest.raises(ValueError):
            tfc.decode_tflite(content)
            pytest.fail(f"{name} was decoded")


def test_the_delegate_refuses_and_never_crashes(tmp_path):
    files = {f"damaged {i:02}": content for i, content in enumerate(_damaged(60))}
    whole = {
        f"whole {precision} {codec}": _encoded(_vision, precision, codec)[0]
        for precision in _PRECISIONS
        for codec in CODECS
    }
    files |= _hostile() | whole
    lines = load_each(files, tmp_path)
    assert {lines[name] for name in whole} == {"loaded"}
    assert [name for name in _hostile() if lines[name] == "loaded"] == []


def _all_alike(claimed):
    """A file of few bytes whose kernel claims to have this many rows of 64."""
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(512)])
    model.layers[0].kernel.assign(np.full((64, 512), 0.5))
    file, _ = convert(model, precision_of("float32"))
    encoded, _ = encode_tflite(file, "rans")

    def claim(file):
        for tensor in file.subgraphs[0].tensors:
            if list(tensor.shape) == [512, 64]:
                tensor.shape = np.array([512, claimed], np.int32)

    return _edited(encoded, claim)


def test_decoding_takes_twice_what_is_decoded():
    content, size = _all_alike(40_000), 4 * 512 * 40_000
    tracemalloc.start()
    plain = tfc.decode_tflite(content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(content) < 20_000 < size < len(plain)
    assert peak < 2.2 * size


def test_claims_beyond_the_limit_are_refused_before_memory_is_taken():
    content = _all_alike(1 << 18)
    for run in (tfc.decode_tflite, tfc.Interpreter):
        tracemalloc.start()
        with pytest.raises(ValueError, match=r"claim to hold 536870912: expected"):
            run(content)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 1 << 20
    with pytest.raises(ValueError, match="expected at most 1000. .*max_bytes"):
        tfc.decode_tflite(_all_alike(64), max_bytes=1000)
