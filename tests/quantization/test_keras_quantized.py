"""Models quantized by Keras, as float models and as files."""

import gc
import warnings
from unittest import mock

import keras
import numpy as np
import pytest

import tfcompress as tfc
from tfcompress.tflite.describe import describe

L = keras.layers
_GENERATOR = np.random.default_rng(0)


def _no_collection():
    """Keras collects garbage for each variable that it replaces, which takes minutes."""
    return mock.patch.object(gc, "collect")


class Tokens:
    """A tokenizer of texts of digits, as GPTQ and AWQ of Keras ask for one."""

    def tokenize(self, texts):
        return [[int(c) for c in text] for text in texts]

    def __call__(self, texts):
        return np.array(self.tokenize(texts))


def network():
    ids = keras.Input((8,), dtype="int32")
    y = L.Embedding(10, 64, name="embedding")(ids)
    # Keras' GPTQ takes its time for each input.
    y = L.Dense(32, activation="relu", name="first")(y)
    y = L.EinsumDense("abc,cd->abd", (None, 32), name="second", bias_axes="d")(y)
    model = keras.Model(ids, L.Dense(48, name="head")(y))
    return model, _GENERATOR.integers(0, 10, (32, 8)).astype("int32")


def quantized(mode):
    """A model, quantized, and inputs."""
    model, x = network()
    if mode in ("int8", "int4"):
        model.quantize(mode)
        return model, x
    if mode == "int4 per channel":
        model.quantize(config=keras.quantizers.Int4QuantizationConfig(block_size=None))
        return model, x
    texts = ["".join(map(str, row)) for row in x]
    kinds = {"gptq": keras.quantizers.GPTQConfig, "awq": keras.quantizers.AWQConfig}
    config = kinds[mode](
        dataset=texts * 4,
        tokenizer=Tokens(),
        weight_bits=4,
        num_samples=16,
        sequence_length=8,
        group_size=32,
        quantization_layer_structure={
            "pre_block_layers": [model.get_layer("embedding")],
            "sequential_blocks": [
                model.get_layer(n) for n in ("first", "second", "head")
            ],
        },
    )
    model.quantize(mode, config=config)
    return model, x


@pytest.fixture(
    scope="module", params=["int8", "int4", "int4 per channel", "gptq", "awq"]
)
def case(request):
    with warnings.catch_warnings(), _no_collection():
        warnings.simplefilter("ignore")
        return (request.param, *quantized(request.param))


def test_the_float_copy_computes_the_same(case):
    mode, model, x = case
    plain = tfc.interop.dequantize(model)
    assert not any(layer.quantization_mode for layer in plain.layers if layer.weights)
    expected = model(x)
    # In int8 mode, Keras also rounds inputs.
    tolerance = 0.03 if mode == "int8" else 1e-5
    spread = np.std(expected)
    np.testing.assert_allclose(plain(x), expected, atol=tolerance * spread * 4)
    # It is an ordinary model: saved, compressed, trained.
    tfc.strip(tfc.compress(plain, {".*": "mask"}))
    assert plain.get_layer("first").kernel.trainable


def test_files_hold_the_integers_of_keras(case, tmp_path):
    mode, model, x = case
    precision = "dynamic" if mode == "int8" else "dynamic_int4"
    path = tmp_path / "m.tflite"
    result = tfc.export_tflite(model, path, precision, samples=x)
    assert not [note for note in result.notes if "bits" in note]
    weights = 64 * 32 + 32 * 32 + 32 * 48
    kinds = describe(path).weight_bytes
    if mode == "int8":
        assert kinds["INT8"] >= weights
        # Both round inputs to 8 bits, by different ranges.
        limit = 0.03
    else:
        assert kinds["INT4"] >= weights / 2
        assert "INT8" not in kinds
        # Keras computes with float inputs; the steps of blocks have 8 significant bits.
        limit = 0.05
    assert max(result.noise.values()) < limit


def test_int8_codes_are_those_of_keras(tmp_path):
    model = keras.Sequential([keras.Input((64,)), L.Dense(32, name="dense")])
    model.layers[0].kernel.assign(_GENERATOR.normal(size=(64, 32)))
    model.quantize("int8")
    path = tmp_path / "m.tflite"
    x = _GENERATOR.normal(size=(16, 64)).astype("float32")
    tfc.export_tflite(model, path, "dynamic", samples=x)
    interpreter = tfc.Interpreter(path)._interpreter
    stored = [
        interpreter.get_tensor(detail["index"])
        for detail in interpreter.get_tensor_details()
        if detail["dtype"] == np.int8 and list(detail["shape"]) == [32, 64]
    ]
    np.testing.assert_array_equal(stored[0].T, model.layers[0].kernel)


def test_layers_inside_of_others(tmp_path):
    x = keras.Input((5, 64))
    model = keras.Model(x, L.MultiHeadAttention(2, 32, name="attention")(x, x))
    with _no_collection():
        model.quantize(config=keras.quantizers.Int4QuantizationConfig(block_size=32))
    plain = tfc.interop.dequantize(model)
    x = _GENERATOR.normal(size=(16, 5, 64)).astype("float32")
    np.testing.assert_allclose(plain(x), model(x), atol=1e-5)
    path = tmp_path / "m.tflite"
    result = tfc.export_tflite(model, path, "dynamic_int4", samples=x)
    assert describe(path).weight_bytes["INT4"] == 4 * 64 * 64 / 2
    assert max(result.noise.values()) < 0.05


def test_a_lora_update_has_to_be_merged_first():
    model = keras.Sequential([keras.Input((64,)), L.Dense(32)])
    model.quantize("int8")
    model.layers[0].enable_lora(2)
    with pytest.raises(ValueError, match="LoRA"):
        tfc.interop.dequantize(model)
