"""The delegate on valid and hostile files."""

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import interpreter as litert

import tfcompress as tfc
from tests.native.loading import load_each
from tests.native.single import CONV, FLOAT32, INT8, INT32, POOL, file_of
from tfcompress import native

_CHANNELS, _OUTPUTS = 40, 36


def _packed(values):
    """Bits of the last axis, set where negative, in words of 32."""
    bits = np.packbits(values < 0, axis=-1, bitorder="little")
    missing = -bits.shape[-1] % 4
    bits = np.pad(bits, [(0, 0)] * (bits.ndim - 1) + [(0, missing)])
    return np.ascontiguousarray(bits).view(np.int32)


def _signs(*shape, seed=0):
    return np.random.default_rng(seed).choice([-1.0, 1.0], shape).astype("float32")


def _affine(seed=1):
    generator = np.random.default_rng(seed)
    return [generator.normal(size=_OUTPUTS).astype("float32") for _ in range(2)]


def _conv_file(x=None, y=None, constants=None, attributes=CONV, name="tfc.BConv2D"):
    """A valid file, except for the given arguments."""
    filter = _packed(_signs(1, _OUTPUTS, 3, 3, _CHANNELS))
    return file_of(
        name,
        attributes,
        x or ((1, 6, 5, _CHANNELS), FLOAT32),
        [filter, *_affine()] if constants is None else constants,
        y or ((1, 6, 5, _OUTPUTS), FLOAT32),
    )


def _sums(x, kernel):
    return tf.nn.conv2d(
        x.astype("float32"), kernel.transpose(1, 2, 3, 0), 1, "SAME"
    ).numpy()


@pytest.mark.parametrize("num_threads", [1, 2])
def test_a_convolution_of_signs(num_threads):
    x = np.random.default_rng(3).normal(size=(1, 6, 5, _CHANNELS)).astype("float32")
    sums = _sums(np.where(x < 0, -1, 1), _signs(1, _OUTPUTS, 3, 3, _CHANNELS)[0])
    multiplier, bias = _affine()
    y = tfc.Interpreter(_conv_file(), num_threads).run(x)
    np.testing.assert_array_equal(y, multiplier * sums + bias)


def test_bits_and_int8_in_and_out():
    x = _signs(1, 6, 5, _CHANNELS, seed=3)
    sums = _sums(x, _signs(1, _OUTPUTS, 3, 3, _CHANNELS)[0])
    filter = _packed(_signs(1, _OUTPUTS, 3, 3, _CHANNELS))
    threshold = np.arange(_OUTPUTS, dtype=np.int32) - 18
    bits = _conv_file(((1, 6, 5, 2), INT32), ((1, 6, 5, 2), INT32), [filter, threshold])
    y = tfc.Interpreter(bits).run(_packed(x))
    np.testing.assert_array_equal(y, _packed(sums - threshold))
    int8 = _conv_file(
        ((1, 6, 5, _CHANNELS), INT8, 0.5, 3), ((1, 6, 5, _OUTPUTS), INT8, 2.0, -5)
    )
    multiplier, bias = _affine()
    expected = np.clip(np.rint((multiplier * sums + bias) / 2) - 5, -128, 127)
    np.testing.assert_array_equal(
        tfc.Interpreter(int8).run(x), 2 * (expected + 5).astype("float32")
    )


def test_a_dense_layer_and_a_pool():
    x = _signs(3, 70, seed=4)
    kernel = _signs(1, _OUTPUTS, 1, 70)
    dense = file_of(
        "tfc.BDense",
        {"channels": 70, "binarize": 0, "relu": 0},
        ((3, 70), FLOAT32),
        [_packed(kernel), *_affine()],
        ((3, _OUTPUTS), FLOAT32),
    )
    multiplier, bias = _affine()
    y = tfc.Interpreter(dense).run(x)
    np.testing.assert_array_equal(y, multiplier * (x @ kernel[0, :, 0].T) + bias)
    image = _signs(1, 4, 6, 40, seed=5)
    pool = file_of(
        "tfc.BMaxPool2D", POOL, ((1, 4, 6, 2), INT32), [], ((1, 2, 3, 2), INT32)
    )
    largest = image.reshape(1, 2, 2, 3, 2, 40).max(axis=(2, 4))
    np.testing.assert_array_equal(
        tfc.Interpreter(pool).run(_packed(image)), _packed(largest)
    )


def _hostile():
    filter = _packed(_signs(1, _OUTPUTS, 3, 3, _CHANNELS))
    multiplier, bias = _affine()
    small = filter[:, :-1]
    short = {k: v for k, v in CONV.items() if k != "binarize"}
    yield "no attributes", _conv_file(attributes=b"")
    yield "half of the attributes", _conv_file(attributes=b"\x28\x01")
    yield "an attribute is missing", _conv_file(attributes=short)
    for key, values in {
        "channels": (0, -1, 41, 72, 2**31 - 1, 2**40),
        "stride_height": (0, -1),
        "stride_width": (0, -(2**31)),
        "dilation_height": (0, -1, 2**31 - 1),
        "same_padding": (2, -1),
        "binarize": (2,),
        "relu": (2, -1),
    }.items():
        for value in values:
            yield f"{key}={value}", _conv_file(attributes=CONV | {key: value})
    valid = CONV | {"same_padding": 0}
    yield "no output", _conv_file(((1, 2, 2, _CHANNELS), FLOAT32), attributes=valid)
    yield "rank of x", _conv_file(((6, 5, _CHANNELS), FLOAT32))
    yield "channels of x", _conv_file(((1, 6, 5, 39), FLOAT32))
    yield "type of x", _conv_file(((1, 6, 5, _CHANNELS), 4))
    yield "int8 without scale", _conv_file(((1, 6, 5, _CHANNELS), INT8))
    yield (
        "bits, real values",
        _conv_file(((1, 6, 5, 2), INT32), attributes=CONV | {"binarize": 0}),
    )
    yield "bits as output", _conv_file(y=((1, 6, 5, 2), INT32))
    yield "few inputs", _conv_file(constants=[filter])
    yield "rank of filter", _conv_file(constants=[filter[0], multiplier, bias])
    yield "few multipliers", _conv_file(constants=[small, multiplier, bias])
    yield "three planes", _conv_file(constants=[filter.repeat(3, 0), multiplier, bias])
    yield "type of bias", _conv_file(constants=[filter, multiplier, bias.view("int32")])
    yield (
        "pool too large",
        file_of(
            "tfc.BMaxPool2D",
            POOL | {"pool_height": 2**31 - 1},
            ((1, 4, 6, 2), INT32),
            [],
            ((1, 2, 3, 2), INT32),
        ),
    )
    yield "an unknown operation", _conv_file(name="tfc.BNothing")


def test_hostile_files_are_refused(tmp_path):
    files = dict(_hostile()) | {"right": _conv_file()}
    lines = load_each(files, tmp_path)
    assert [name for name, message in lines.items() if message == "loaded"] == ["right"]
    assert (
        "tfc.BConv2D: no integer attribute 'binarize'"
        in lines["an attribute is missing"]
    )


def test_a_delegate_for_other_programs():
    assert tfc.runtime.delegate_path() == native.library_path()


def test_instruction_sets_by_name():
    path = str(tfc.runtime.delegate_path())
    x = np.random.default_rng(3).normal(size=(1, 6, 5, _CHANNELS)).astype("float32")
    outputs = []
    for isa in ("best", "reference", "portable"):
        interpreter = litert.Interpreter(
            model_content=_conv_file(),
            experimental_delegates=[litert.load_delegate(path, {"isa": isa})],
        )
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
        interpreter.invoke()
        detail = interpreter.get_output_details()[0]
        outputs.append(interpreter.get_tensor(detail["index"]))
    np.testing.assert_array_equal(outputs[0], outputs[1])
    np.testing.assert_array_equal(outputs[0], outputs[2])
    for options in ({"isa": "mmx"}, {"speed": "best"}):
        with pytest.raises(ValueError, match="the only option .* is isa"):
            litert.load_delegate(path, options)


def test_without_the_native_core(monkeypatch):
    monkeypatch.setattr(native, "library", lambda: None)
    with pytest.raises(native.NativeError, match="tfc.BConv2D.*Install a C compiler"):
        tfc.Interpreter(_conv_file())
    with pytest.raises(native.NativeError, match="Install a C compiler"):
        tfc.runtime.delegate_path()
