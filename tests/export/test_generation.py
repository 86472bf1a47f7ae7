"""Language models with a cache, as files that LiteRT's pipeline runs."""

import types

import keras
import numpy as np
import pytest
from keras import ops

import tfcompress as tfc
from tfcompress.export.generation import _of_backbone
from tfcompress.tflite.read import read

LAYERS, HEADS, SIZE, WORDS, LENGTH = 2, 2, 8, 50, 16


class Block(keras.layers.Layer):
    """Causal attention over a cache, and a feed-forward network."""

    def __init__(self):
        super().__init__()
        width = HEADS * SIZE
        self.project = keras.layers.Dense(3 * width)
        self.merge, self.norm = (
            keras.layers.Dense(width),
            keras.layers.RMSNormalization(),
        )
        self.wide = keras.layers.Dense(64, activation="gelu")
        self.narrow = keras.layers.Dense(width)

    def call(self, x, cache, position=0):
        count, width = x.shape[1], HEADS * SIZE
        parts = ops.reshape(self.project(self.norm(x)), (-1, count, 3, HEADS, SIZE))
        start = [0, position, 0, 0]
        keys = ops.slice_update(cache[:, 0], start, parts[:, :, 1])
        values = ops.slice_update(cache[:, 1], start, parts[:, :, 2])
        scores = ops.einsum("bqhd,bkhd->bhqk", parts[:, :, 0], keys) / SIZE**0.5
        places = ops.arange(cache.shape[2])[None] - ops.arange(count)[:, None]
        scores = ops.where(places <= position, scores, -1e9)
        read = ops.einsum("bhqk,bkhd->bqhd", ops.softmax(scores), values)
        x = x + self.merge(ops.reshape(read, (-1, count, width)))
        return x + self.narrow(self.wide(x)), ops.stack([keys, values], axis=1)


class Language(keras.Model):
    """A small language model with the interface of KerasHub's."""

    def __init__(self):
        super().__init__(name="language")
        self.embed = keras.layers.Embedding(WORDS, HEADS * SIZE)
        self.blocks = [Block() for _ in range(LAYERS)]
        self.head = keras.layers.Dense(WORDS, name="head")

    def call_with_cache(self, tokens, cache, position):
        x, caches = self.embed(tokens), []
        for number, block in enumerate(self.blocks):
            x, new = block(x, cache[:, number], position=position)
            caches.append(new)
        return self.head(x), x, ops.stack(caches, axis=1)

    def call(self, tokens):
        shape = ops.shape(tokens)[0], LAYERS, 2, tokens.shape[1], HEADS, SIZE
        return self.call_with_cache(tokens, ops.zeros(shape), 0)[0]


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    model = Language()
    model(np.zeros((1, 3), np.int32))
    return model


SHAPE = {"cache_length": LENGTH, "cache_shape": (LAYERS, 2, HEADS, SIZE)}


@pytest.mark.parametrize(("precision", "atol"), [("float32", 1e-4), ("dynamic", 0.1)])
def test_a_prompt_in_two_parts_then_token_by_token(model, precision, atol, tmp_path):
    path = tmp_path / "language.tflite"
    result = tfc.export.export_generation(
        model, path, prefill_lengths=(4, 2), precision=precision, **SHAPE
    )
    assert result.noise["logits"] < atol
    tokens = np.random.default_rng(1).integers(0, WORDS, (1, 12), dtype=np.int32)
    expected = model(tokens).numpy()[0]
    names = [f"kv_cache_{kind}_{number}" for number in range(LAYERS) for kind in "kv"]
    carried = dict.fromkeys(names, np.zeros((1, LENGTH, HEADS, SIZE), np.float32))
    place = 0
    for signature in ("prefill_4", "prefill_2", *["decode"] * 6):
        with tfc.Interpreter(path, signature=signature) as interpreter:
            count = interpreter.input_details["tokens"]["shape"][1]
            carried = interpreter.run(
                {
                    "tokens": tokens[:, place : place + count],
                    "input_pos": np.arange(place, place + count, dtype=np.int32),
                    **carried,
                }
            )
        place += count
        if signature == "decode":
            logits = carried.pop("logits")
            np.testing.assert_allclose(logits[0, 0], expected[place - 1], atol=atol)
        assert {*carried} == {*names}


def test_weights_are_stored_once(model, tmp_path):
    found = []
    for lengths in (4,), (4, 6):
        path = tmp_path / "m.tflite"
        tfc.export.export_generation(
            model, path, prefill_lengths=lengths, verify=False, **SHAPE
        )
        constants = [buffer.data for buffer in read(path.read_bytes()).buffers]
        found.append(
            sorted(
                bytes(each)
                for each in constants
                if each is not None and len(each) > 500
            )
        )
    assert found[0] == found[1]
    assert len(found[0]) == len({*found[0]}) >= 4 * LAYERS + 1


@pytest.mark.parametrize(
    ("backbone", "expected"),
    [
        ({"num_layers": 3, "num_heads": 4, "hidden_dim": 32}, (3, 2, 4, 8)),
        (
            {
                "num_layers": 3,
                "num_query_heads": 4,
                "num_key_value_heads": 2,
                "hidden_dim": 32,
            },
            (3, 2, 2, 8),
        ),
        ({"num_layers": 1, "num_key_value_heads": 1, "head_dim": 16}, (1, 2, 1, 16)),
        ({"num_layers": 1}, None),
    ],
)
def test_the_cache_of_a_backbone(backbone, expected):
    model = types.SimpleNamespace(backbone=types.SimpleNamespace(**backbone))
    assert _of_backbone(model) == expected


def test_what_cannot_be_written(model, tmp_path):
    path = tmp_path / "m.tflite"
    export = tfc.export.export_generation
    with pytest.raises(TypeError, match=r"has no call_with_cache\(tokens, cache"):
        export(keras.Sequential([keras.Input((4,))]), path, 8)
    with pytest.raises(
        ValueError, match="prefill_lengths has 8, and the cache holds 8"
    ):
        export(model, path, 8, (4, 8))
    with pytest.raises(ValueError, match="unknown: pass cache_shape"):
        export(model, path, 8, (4,))
    with pytest.raises(ValueError, match="in which 2 stands for keys and values"):
        export(model, path, 8, (4,), cache_shape=(2, 3, 2, 8))
    assert not path.exists()
