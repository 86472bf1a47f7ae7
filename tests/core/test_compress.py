import keras
import numpy as np
import pytest

import tfcompress as tfc
from tests import models
from tfcompress.core.compressed import CompressedLayer, treatments
from tfcompress.transforms import Codebook, Mask, Uniform

L = keras.layers


def names(model):
    return [name for name, _ in treatments(model)]


def test_the_input_model_is_not_changed():
    model = models.residual()
    x = models.inputs(model)
    before = model(x).numpy()
    weights = [w.copy() for w in model.get_weights()]
    compressed = tfc.compress(model, {".*": [Mask(), Codebook(4), Uniform(4)]})
    models.compile(compressed).fit(x, models.classes(len(x)), verbose=0)
    np.testing.assert_array_equal(model(x), before)
    for old, new in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("build", models.ALL, ids=lambda f: f.__name__)
def test_an_empty_mask_changes_no_prediction(build):
    model = build()
    x = models.inputs(model)
    assert models.difference(model, tfc.compress(model, {".*": "mask"}), x) == 0


def test_rules_cover_kernels_and_named_weights():
    model = models.sequential()
    assert names(tfc.compress(model, {".*": "mask"})) == [
        "conv/kernel",
        "depthwise/kernel",
        "head/kernel",
    ]
    assert names(tfc.compress(model, {"conv/bias": "mask", "norm/gamma": "mask"})) == [
        "conv/bias",
        "norm/gamma",
    ]
    assert names(tfc.compress(model, {L.Dense: "mask"})) == ["head/kernel"]
    assert names(tfc.compress(model, {lambda layer: "conv" in layer.name: "mask"})) == [
        "conv/kernel"
    ]
    assert names(
        tfc.compress(model, {".*": "mask"}, skip=["head", L.DepthwiseConv2D])
    ) == ["conv/kernel"]


def test_the_name_of_the_whole_model_is_no_layer():
    layers = [keras.Input((4,)), L.Dense(3, name="conv"), L.Dense(2, name="head")]
    model = keras.Sequential(layers, name="conv_net")
    assert names(tfc.compress(model, {"conv.*": "mask"})) == ["conv/kernel"]
    with pytest.raises(ValueError, match="matches no weight"):
        tfc.compress(model, {keras.Sequential: "mask"})


def test_later_rules_win():
    model = tfc.compress(models.sequential(), {".*": Uniform(2), "head": Uniform(8)})
    bits = {name: t.transforms[0].bits for name, t in treatments(model)}
    assert bits == {"conv/kernel": 2, "depthwise/kernel": 2, "head/kernel": 8}


def test_nested_layers_are_found_by_name_and_path():
    model = models.nested()
    assert names(tfc.compress(model, {"inside": "mask"})) == ["inner/inside/kernel"]
    compressed = tfc.compress(
        models.recurrent(), {"attention/query": "mask", "lstm": "mask"}
    )
    assert names(compressed) == [
        "lstm/lstm_cell/kernel",
        "lstm/lstm_cell/recurrent_kernel",
        "attention/query/kernel",
    ]


def test_a_shared_layer_is_compressed_once():
    model = tfc.compress(models.nested(), {"shared": Uniform(4)})
    assert len(names(model)) == 1
    assert len(model.get_layer("shared")._inbound_nodes) == 2


def test_transforms_of_different_weights_share_nothing():
    model = tfc.compress(models.recurrent(), {".*": Mask()})
    masks = [t.transforms[0] for _, t in treatments(model)]
    assert len({id(mask) for mask in masks}) == len(masks)


@pytest.mark.parametrize("build", [models.sequential, models.subclassed])
def test_float16_gradients_are_scaled(build):
    keras.config.set_dtype_policy("mixed_float16")
    model = models.compile(tfc.compress(build(), {".*": "mask"}))
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)


def test_a_compiled_whole_model_wrapper_reloads_compiled(tmp_path):
    model = models.compile(tfc.compress(models.subclassed(), {".*": "uniform"}))
    x, y = models.inputs(model, 16), models.classes(16)
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "m.keras")
    restored = keras.models.load_model(tmp_path / "m.keras")
    assert int(restored.optimizer.iterations.numpy()) == 1
    np.testing.assert_allclose(
        restored.evaluate(x, y, verbose=0), model.evaluate(x, y, verbose=0)
    )


def test_copies_keep_losses_that_only_this_process_knows():
    def squared_error(wanted, found):
        return keras.ops.square(wanted - found)

    inner = keras.Sequential([keras.Input((4,)), L.Dense(2)])
    model = tfc.compress(
        keras.Sequential([keras.Input((4,)), inner]), {".*": "uniform"}
    )
    model.compile("sgd", squared_error, metrics=[squared_error])
    assert tfc.strip(model).loss is squared_error
    tfc.quantize_activations(model)


def test_batch_statistics_move_inside_a_whole_model_wrapper():
    model = tfc.compress(models.subclassed(), {".*": Uniform(8)})
    before = model.model.norm.moving_mean.numpy()
    x = models.inputs(model, 16)
    models.compile(model).fit(x, models.classes(16), verbose=0)
    assert np.abs(model.model.norm.moving_mean.numpy() - before).max() > 0


def test_dropout_draws_anew_in_a_wrapped_composite():
    class Block(L.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.dense = L.Dense(64)
            self.dropout = L.Dropout(0.5)

        def build(self, shape):
            self.dense.build(shape)

        def call(self, x, training=None):
            return self.dropout(self.dense(x), training=training)

    model = keras.Sequential([keras.Input((8,)), Block()])
    model = tfc.compress(model, {".*": "mask"})
    x = np.ones((1, 8), "float32")
    first, second = model(x, training=True), model(x, training=True)
    assert np.abs(first - second).max() > 0


def test_losses_added_inside_still_count():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            L.Dense(3, activity_regularizer="l2", kernel_regularizer="l2"),
        ]
    )
    compressed = tfc.compress(model, {".*": "mask"})
    x = np.ones((2, 4), "float32")
    plain, wrapped = (
        m(x, training=True) is not None and sum(m.losses) for m in (model, compressed)
    )
    np.testing.assert_allclose(plain, wrapped, rtol=1e-6)


def test_frozen_layers_stay_frozen():
    model = models.sequential()
    model.get_layer("conv").trainable = False
    compressed = tfc.compress(model, {".*": Codebook(4)})
    assert not compressed.get_layer("conv").trainable_variables
    assert not tfc.strip(compressed).get_layer("conv").trainable_variables


def test_composition_keeps_zeros_values_and_grid():
    model = models.sequential()
    for variable in model.trainable_variables:
        if variable.name == "kernel":
            value = variable.numpy()
            variable.assign(
                np.where(np.abs(value) < np.median(np.abs(value)), 0, value)
            )
    model = tfc.compress(model, {".*": [Mask(), Codebook(8), Uniform(8)]})
    zeros = {name: t.bake() == 0 for name, t in treatments(model)}
    x, y = models.inputs(model, 64), models.classes(64)
    models.compile(model).fit(x, y, epochs=5, verbose=0)
    for name, treatment in treatments(model):
        value = treatment.bake()
        assert (value[zeros[name]] == 0).all()
        assert len(np.unique(value)) <= 9
        levels = value / (np.abs(value).max() / 127)
        np.testing.assert_allclose(levels, np.rint(levels), atol=1e-3)


def test_compressing_again_keeps_the_zeros():
    model = tfc.compress(models.sequential(), {".*": "mask"})
    pruning = tfc.callbacks.Pruning(0.7)
    pruning.set_model(model)
    pruning.update(0)
    again = tfc.compress(tfc.strip(model), {".*": ["mask", "uniform"]})
    assert tfc.report(again).sparsity == tfc.report(model).sparsity > 0.69


def test_strip_of_a_plain_model_copies_it():
    model = models.residual()
    copy = tfc.strip(model)
    assert copy is not model
    assert models.difference(model, copy, models.inputs(model)) == 0


def test_compressed_layer_wraps_a_new_layer():
    layer = CompressedLayer(L.Dense(3, name="d"), {0: [Uniform(2)]})
    assert layer(np.ones((2, 4), "float32")).shape == (2, 3)
    assert len(np.unique(np.abs(layer.treatments[0].bake()), axis=0)) <= 6


def test_masked_timesteps_are_seen_through_the_wrapper():
    x = keras.Input((5,), dtype="int32")
    y = L.Embedding(7, 4, mask_zero=True)(x)
    model = keras.Model(x, L.LSTM(3)(y))
    compressed = tfc.compress(model, {".*": "mask"})
    tokens = np.array([[1, 2, 0, 0, 0], [3, 4, 5, 6, 0]])
    assert models.difference(model, compressed, tokens) == 0


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"cnov": "mask"}, "matches no weight.*Did you mean 'conv'"),
        ({"*": "mask"}, "not a regular expression"),
        ({".*": "musk"}, "Unknown weight transform 'musk'.*Did you mean 'mask'"),
        ({L.LSTM: "mask"}, "matches no weight"),
    ],
)
def test_bad_rules(rules, message):
    with pytest.raises(ValueError, match=message):
        tfc.compress(models.sequential(), rules)


def test_a_rule_must_be_a_pattern():
    with pytest.raises(TypeError, match="got 3"):
        tfc.compress(models.sequential(), {3: "mask"})


def test_a_skip_that_matches_nothing():
    with pytest.raises(ValueError, match="'nothing' matches no weight"):
        tfc.compress(models.sequential(), {".*": "mask"}, skip=["nothing"])


def test_an_unbuilt_model():
    model = keras.Sequential([L.Dense(3)])
    with pytest.raises(ValueError, match="not built.*keras.Input"):
        tfc.compress(model, {".*": "mask"})


def test_something_else_than_a_model():
    with pytest.raises(TypeError, match="expected a keras.Model"):
        tfc.compress("model.keras", {".*": "mask"})


def test_a_keras_2_model_is_pointed_to_interop():
    tf_keras_model = type("Model", (), {"__module__": "tf_keras.src.engine.training"})()
    with pytest.raises(TypeError, match=r"tfcompress\.interop\.tfmot"):
        tfc.compress(tf_keras_model, {".*": "mask"})


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_not_finite(bad):
    model = models.sequential()
    kernel = model.get_layer("conv").kernel
    kernel.assign(
        np.where(np.arange(kernel.numpy().size).reshape(kernel.shape) == 3, bad, 0)
    )
    with pytest.raises(ValueError, match="conv/kernel has 1 NaN or infinite"):
        tfc.compress(model, {".*": "mask"})


def test_a_layer_whose_configuration_does_not_restore_it():
    class Forgetful(L.Layer):
        def __init__(self, units):
            super().__init__()
            self.units = units

        def get_config(self):
            return {}

        def build(self, shape):
            self.w = self.add_weight(shape=(shape[-1], self.units))

        def call(self, x):
            return x @ self.w

    model = keras.Sequential([keras.Input((4,)), Forgetful(3)])
    small = tfc.compress(model, {".*": "mask"})
    x = np.ones((2, 4), "float32")
    np.testing.assert_array_equal(small(x), model(x))


@pytest.mark.parametrize("prefix", ["_", "-", ".", "1"])
def test_names_that_keras_takes(tmp_path, prefix):
    inputs = keras.Input((6, 6, 2), name=f"{prefix}x")
    x = keras.layers.Conv2D(3, 3, name=f"{prefix}conv")(inputs)
    inner = [keras.layers.Dense(4, name=f"{prefix}a"), keras.layers.Flatten()]
    x = keras.Sequential(inner, name=f"{prefix}inner")(x)
    model = keras.Model(inputs, keras.layers.Dense(2, name=f"{prefix}head")(x))
    small = tfc.compress(model, {".*": ["mask", "uniform"]})
    small.compile("sgd", "mse")
    images = np.ones((4, 6, 6, 2), "float32")
    small.fit(images, np.ones((4, 2)), verbose=0)
    tfc.export_tflite(small, tmp_path / "m.tflite")
    with tfc.Interpreter(tmp_path / "m.tflite") as interpreter:
        ours = interpreter.run(images)
    np.testing.assert_allclose(ours, small(images), rtol=1e-4, atol=1e-5)
