"""Attention and normalization as operations with separate ranges."""

import keras
import numpy as np
import pytest

import tfcompress as tfc
from tfcompress.core.compressed import treatments
from tfcompress.core.walk import weight_refs

L = keras.layers
RNG = np.random.default_rng(0)
X = RNG.normal(size=(16, 6, 8)).astype("float32")
WORDS = np.array([[1, 2, 3, 0, 0, 0], [4, 5, 6, 7, 8, 1]] * 8)


def on_vectors(build):
    x = keras.Input((6, 8))
    return keras.Model(x, build(x)), X


def on_words(build):
    x = keras.Input((6,), dtype="int32")
    return keras.Model(x, build(L.Embedding(9, 8, mask_zero=True)(x))), WORDS


def between(x):
    memory = L.Dense(8)(x)[:, :4]
    y = L.MultiHeadAttention(2, 3, value_dim=5, use_bias=False)(
        x, key=memory, value=L.Dense(4)(memory), use_causal_mask=True
    )
    return y


def shared(x):
    norm, attention = L.LayerNormalization(), L.MultiHeadAttention(2, 4, dropout=0.1)
    for _ in range(2):
        y = norm(x)
        x = x + attention(query=y, value=y, use_causal_mask=True)
    return norm(x)


def with_scores(x):
    y, scores = L.MultiHeadAttention(2, 4)(x, x, return_attention_scores=True)
    return y * scores[:, 0, :, :1]


def in_one_operation(x):
    heads = keras.ops.reshape(L.Dense(8)(x), (-1, 6, 2, 4))
    keys = np.arange(6) < 4
    y = keras.ops.dot_product_attention(
        heads, heads, heads + 1.0, mask=keys[None, None, None, :], scale=0.3
    )
    return keras.ops.reshape(y, (-1, 6, 8))


def masked(x):
    y = L.MultiHeadAttention(2, 4)(x, x)
    return L.GlobalAveragePooling1D()(L.LayerNormalization()(y))


MODELS = {
    "between": lambda: on_vectors(between),
    "shared": lambda: on_vectors(shared),
    "with_scores": lambda: on_vectors(with_scores),
    "in_one_operation": lambda: on_vectors(in_one_operation),
    "masked": lambda: on_words(masked),
    "masked_causal": lambda: on_words(
        lambda x: L.GroupQueryAttention(4, 4, 2)(x, x, use_causal_mask=True)
    ),
    "rms": lambda: on_vectors(L.RMSNormalization()),
    "matrix": lambda: on_vectors(lambda x: L.LayerNormalization()(x[:, 0])),
    "image": lambda: on_vectors(
        lambda x: L.LayerNormalization(center=False)(L.Reshape((2, 3, 8))(x))
    ),
    "without_weights": lambda: on_vectors(
        L.LayerNormalization(center=False, scale=False)
    ),
    "softmax": lambda: on_vectors(lambda x: L.Softmax()(x, mask=x > 0)),
}


@pytest.mark.parametrize("name", MODELS)
def test_what_is_written_out_computes_the_same(name, tmp_path):
    model, x = MODELS[name]()
    for weight in model.weights:
        if weight.name in ("gamma", "beta", "scale"):
            weight.assign(RNG.uniform(0.5, 1.5, weight.shape))
    expected = np.asarray(model(x))
    # Without any data, only operations with fixed ranges round.
    ranged = tfc.quantize_activations(model, bits=16)
    np.testing.assert_allclose(ranged(x), expected, atol=2e-2 * np.abs(expected).max())
    kinds = {type(layer) for layer in ranged.layers}
    assert not kinds & {L.MultiHeadAttention, L.GroupQueryAttention}
    assert not kinds & {L.LayerNormalization, L.RMSNormalization}
    operations = [type(operation).__name__ for operation in ranged.operations]
    assert "DotProductAttention" not in operations
    assert (
        ranged.count_params()
        - sum(v.shape[0] for v in ranged.weights if "range" in v.path)
        == model.count_params()
    )
    ranged.save(tmp_path / "m.keras")
    restored = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(restored(x), ranged(x), atol=1e-6)


def transformer():
    keras.utils.set_random_seed(0)
    x = keras.Input((8, 16))
    h = L.Dense(128)(x)
    y = L.LayerNormalization(name="norm")(h)
    h = L.Add()([h, L.MultiHeadAttention(2, 16, name="a")(y, y)])
    h = L.Add()([h, L.Dense(128, activation="gelu")(L.LayerNormalization()(h))])
    model = keras.Model(x, L.Dense(4)(L.GlobalAveragePooling1D()(h)))
    return model, RNG.normal(size=(64, 8, 16)).astype("float32")


def test_trained_ranges_make_a_transformer_of_integers(tmp_path):
    model, x = transformer()
    ranged = tfc.quantize_activations(model, momentum=0.5)
    before = {ref.path: ref.variable.numpy() for ref in weight_refs(ranged)}
    ranged.compile(keras.optimizers.Adam(1e-3), "mse")
    ranged.fit(x, np.zeros((64, 4)), epochs=2, verbose=0)
    kept = [r.path for r in weight_refs(ranged) if np.all(before[r.path] == r.variable)]
    # A softmax ignores a constant common to all keys.
    assert [path for path in kept if "range" not in path] in ([], ["a/key/bias"])
    result = tfc.export_tflite(ranged, tmp_path / "m.tflite", "int8")
    assert not result.float_operations
    assert max(result.noise.values()) < 0.1
    measured = tfc.export_tflite(model, tmp_path / "m.tflite", "int8", samples=x)
    rounded = tfc.quantize_weights(ranged, 4, x, "gptq")
    four = tfc.export_tflite(rounded, tmp_path / "m.tflite", "int4")
    assert not four.float_operations
    assert four.size_bytes < measured.size_bytes


def test_rules_do_not_take_scales_for_kernels():
    ranged = tfc.quantize_activations(transformer()[0])
    pruned = tfc.compress(ranged, {".*": "mask"})
    paths = [path for path, _ in treatments(pruned)]
    assert "a/query/kernel" in paths
    assert not [path for path in paths if "norm" in path]


def test_compressed_attention_is_left_and_named():
    model = tfc.compress(transformer()[0], {"a": "mask"})
    with pytest.warns(UserWarning, match=r"inside 1 layer: 'a'.*compress it after"):
        tfc.quantize_activations(model)
