import keras
import numpy as np
import pytest

import tfcompress as tfc
from tests import models

L = keras.layers
BLOCKS = ("depthwise_separable", "fire", "ghost", "inverted_residual", "shuffle")
# Of a 3x3 convolution from 32 to 64 channels, and of each block for it.
PLAIN = 9 * 32 * 64
KERNELS = {
    "depthwise_separable": 9 * 32 + 32 * 64,
    "fire": 32 * 8 + 8 * 32 + 9 * 8 * 32,
    "ghost": 9 * 32 * 32 + 9 * 32,
    "inverted_residual": 2 * (32 * 32 + 9 * 32 + 32 * 64),
    "shuffle": (32 * 32 + 32 * 64) // 4 + 9 * 32,
}
# Channels of the batch norms and of the biases inside and at the end of each block.
INNER_NORMS = {
    "depthwise_separable": 32,
    "fire": 8,
    "ghost": 0,
    "inverted_residual": 2 * 64,
    "shuffle": 2 * 32,
}


def one(batch_norm=False, **options):
    """A convolution of every kind after a first one."""
    x = keras.Input((9, 8, 3), name="image")
    y = L.Conv2D(32, 3, padding="same", name="stem")(x)
    y = L.Conv2D(64, 3, name="conv", **options)(y)
    if batch_norm:
        y = L.BatchNormalization(name="norm", epsilon=1e-4)(y)
    y = L.GlobalAveragePooling2D(name="pool")(y)
    return keras.Model(x, L.Dense(5, name="head")(y), name="one")


def resnet():
    x = keras.Input((12, 12, 3), name="image")
    y = L.Conv2D(16, 3, padding="same", use_bias=False, name="stem")(x)
    y = L.ReLU(name="stem_relu")(L.BatchNormalization(name="stem_norm")(y))
    for block, (filters, strides) in enumerate([(16, 1), (32, 2)], 1):
        shared = {"padding": "same", "use_bias": False, "kernel_regularizer": "l2"}
        name = f"block{block}"
        z = L.Conv2D(filters, 3, strides, name=f"{name}_conv1", **shared)(y)
        z = L.ReLU(name=f"{name}_relu1")(L.BatchNormalization(name=f"{name}_norm1")(z))
        z = L.Conv2D(filters, 3, name=f"{name}_conv2", **shared)(z)
        z = L.BatchNormalization(name=f"{name}_norm2")(z)
        if strides == 2:
            y = L.Conv2D(filters, 1, strides, name=f"{name}_shortcut", **shared)(y)
            y = L.BatchNormalization(name=f"{name}_shortcut_norm")(y)
        y = L.ReLU(name=f"{name}_relu2")(L.Add(name=f"{name}_add")([y, z]))
    y = L.GlobalAveragePooling2D(name="pool")(y)
    model = keras.Model(x, L.Dense(5, name="head")(y), name="resnet")
    generator = np.random.default_rng(0)
    for variable in model.variables:
        variable.assign(generator.random(variable.shape) / 10 + 0.05)
    return model


def substitute(model, block, **options):
    return tfc.blocks.substitute(model, block, verbose=0, **options)


def names(model):
    return [layer.name for layer in model.layers]


@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("block", BLOCKS)
def test_parameters(block, batch_norm):
    model = one(batch_norm)
    lean = substitute(model, block)
    biases = 32 + 32 if block == "ghost" else 64
    expected = KERNELS[block] + 4 * INNER_NORMS[block] + biases
    assert lean.count_params() - model.count_params() == expected - (PLAIN + 64)


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize(
    "options",
    [
        {"padding": "same"},
        {"strides": 2, "padding": "same", "use_bias": False},
        {"strides": 2, "activation": "relu"},
        {"dilation_rate": 2},
        {"dilation_rate": 2, "padding": "same", "activation": "softmax"},
    ],
    ids=str,
)
def test_shape_and_activation_stay(block, options):
    model = one(**options)
    lean = substitute(model, block)
    x = models.inputs(model)
    before = keras.Model(model.input, model.get_layer("pool").input)(x)
    after = np.asarray(keras.Model(lean.input, lean.get_layer("pool").input)(x))
    assert after.shape == before.shape
    assert np.isfinite(after).all() and after.std() > 0
    if options.get("activation") == "relu":
        assert after.min() == 0
    if options.get("activation") == "softmax":
        np.testing.assert_allclose(after.sum(-1), 1, rtol=1e-5)


@pytest.mark.parametrize("block", BLOCKS)
def test_stand_ins_see_the_same_image(block):
    """An output depends on no pixel that the convolution would not see."""
    model = one()
    lean = substitute(model, block)
    outputs = keras.Model(lean.input, lean.get_layer("pool").input)
    x = np.zeros((1, 9, 8, 3), "float32")
    x[0, 0, 0] = 1
    difference = np.asarray(outputs(x) - outputs(np.zeros_like(x)))[0].any(-1)
    # The stem reaches 1 pixel, the convolution 2 more; ghosts look 1 further.
    reach = 3 if block == "ghost" else 2
    assert difference.any()
    assert not difference[reach:].any() and not difference[:, reach:].any()


@pytest.mark.parametrize("block", BLOCKS)
def test_residual_network(block):
    model = resnet()
    before = [v.numpy() for v in model.variables]
    lean = substitute(model, block)
    assert lean.count_params() < model.count_params()
    assert lean.output_shape == model.output_shape
    for old, new in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, new)
    for name in ("stem", "stem_norm", "block2_shortcut", "head"):
        pairs = zip(
            model.get_layer(name).variables, lean.get_layer(name).variables, strict=True
        )
        for old, new in pairs:
            np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("block", BLOCKS)
def test_trains_saves_and_loads(block, tmp_path):
    lean = substitute(one(True), block)
    x = models.inputs(lean, 8)
    # Eagerly, since tracing takes longer than a step.
    models.compile(lean, run_eagerly=True)
    loss = lean.train_on_batch(x, models.classes(8))
    assert np.isfinite(loss).all()
    lean.save(tmp_path / "lean.keras")
    loaded = keras.models.load_model(tmp_path / "lean.keras", compile=False)
    assert models.difference(lean, loaded, x) == 0


def test_exports_to_int8(tmp_path):
    model = one(True)
    x = models.inputs(model, 16)
    for block in BLOCKS:
        path = tmp_path / f"{block}.tflite"
        result = tfc.export_tflite(substitute(model, block), path, "int8", samples=x)
        assert result.float_operations == {}
        # All batch norm is folded, which would be impossible after the branches.
        assert not {"MUL", "ADD"} & set(result.operations)


def test_fresh_weights_differ_and_are_initialised():
    model = resnet()
    lean = substitute(model, "depthwise_separable")
    pointwise = lean.get_layer("block1_conv2_pointwise").kernel.numpy()
    assert 0.1 < pointwise.std() < 0.5  # Glorot: sqrt(2 / (16 + 16)) = 0.25
    depthwise = lean.get_layer("block1_conv2_depthwise").kernel.numpy()
    assert 0.3 < depthwise.std() < 0.7  # He: sqrt(2 / 9) = 0.47
    assert abs(pointwise.mean()) < 0.1


def test_batch_norm_behind_keeps_scale_and_shift():
    model = resnet()
    model.get_layer("block1_norm1").trainable = False
    lean = substitute(model, "depthwise_separable")
    old, new = (m.get_layer("block1_norm1") for m in (model, lean))
    np.testing.assert_array_equal(old.gamma, new.gamma)
    np.testing.assert_array_equal(old.beta, new.beta)
    assert (
        not new.moving_mean.numpy().any() and (new.moving_variance.numpy() == 1).all()
    )
    assert new.trainable
    after = names(lean)[names(lean).index("block1_conv1_pointwise") + 1 :]
    assert after[:2] == ["block1_norm1", "block1_relu1"]


def test_batch_norm_is_divided_over_branches():
    model = one(True)
    norm = model.get_layer("norm")
    norm.gamma.assign(np.arange(64.0))
    lean = substitute(model, "fire")
    halves = [lean.get_layer(f"norm_{i}") for i in (1, 2)]
    gammas = np.concatenate([half.gamma.numpy() for half in halves])
    np.testing.assert_array_equal(gammas, np.arange(64.0))
    assert all(half.epsilon == 1e-4 for half in halves)


@pytest.mark.parametrize("block", ["depthwise_separable", "ghost"])
def test_batch_norm_behind_the_activation_stays_there(block):
    lean = substitute(one(True, activation="relu"), block)
    assert names(lean)[-4:] == ["conv_activation", "norm", "pool", "head"]


def test_regularizers_stay():
    lean = substitute(resnet(), "shuffle")
    layers = [layer for layer in lean.layers if layer.name.startswith("block1_conv1_")]
    convolutions = [layer for layer in layers if type(layer) is L.Conv2D]
    assert len(convolutions) == 2
    assert all(layer.kernel_regularizer is not None for layer in convolutions)


def test_where():
    model = resnet()
    for where in (
        "block1_conv1|block2_.*",
        lambda layer: layer.name != "block1_conv2",
    ):
        lean = substitute(model, "depthwise_separable", where=where)
        assert {"block1_conv2", "block2_shortcut"} < set(names(lean))
        assert {"block1_conv1", "block2_conv1"}.isdisjoint(names(lean))
    lean = substitute(model, "depthwise_separable", where=L.Conv2D)
    assert "block1_conv2_pointwise" in names(lean)


def test_table_says_what_stays_and_why(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    x = keras.Input((8, 8, 3))
    y = L.Rescaling(1 / 255, name="scale")(x)
    y = L.Conv2D(8, 3, padding="same", name="stem")(y)
    y = L.Conv2D(2, 3, name="narrow")(y)
    y = L.Conv2D(64, (1, 1), name="pointwise")(y)
    y = L.Conv2D(64, 3, groups=4, name="grouped")(y)
    y = L.Conv2D(64, 3, name="conv")(y)
    model = keras.Model(x, L.Dense(5, name="head")(L.Flatten()(y)), name="mixed")
    lean = tfc.blocks.substitute(model, "inverted_residual")
    rows = capsys.readouterr().out
    for text in (
        "inverted_residual in mixed",
        "reads the input",
        "the block would have",
        "1x1 is already lean",
        "4 groups are already lean",
        "Dense is not Conv2D",
        f"{model.count_params():,}",
        f"{lean.count_params():,}",
    ):
        assert text in rows
    substitute(model, "inverted_residual")
    assert capsys.readouterr().out == ""


def test_nested_models_and_equal_names():
    def inner(name):
        layers = [keras.Input((8, 8, 16)), L.Conv2D(16, 3, padding="same", name="conv")]
        return keras.Sequential(layers, name=name)

    stem = L.Conv2D(16, 3, padding="same", name="conv_depthwise")
    model = keras.Sequential([keras.Input((8, 8, 3)), stem, inner("one"), inner("two")])
    lean = substitute(model, "depthwise_separable")
    convolutions = [layer.name for layer in lean.layers if type(layer) is L.Conv2D]
    assert convolutions == ["conv_depthwise", "conv_pointwise", "two_conv_pointwise"]
    assert "conv_depthwise_2" in names(lean)


def test_shared_convolution_becomes_a_shared_block(tmp_path):
    x = keras.Input((8, 8, 3))
    shared = L.Conv2D(16, 3, padding="same", name="shared")
    y = L.Conv2D(16, 3, padding="same", name="stem")(x)
    y = L.BatchNormalization(name="norm")(shared(y))
    model = keras.Model(x, L.Flatten()(shared(y)))
    lean = substitute(model, "fire")
    assert len(lean.get_layer("shared_squeeze")._inbound_nodes) == 2
    assert lean.get_layer("norm") and lean.count_params() < model.count_params()
    lean.save(tmp_path / "lean.keras")
    loaded = keras.models.load_model(tmp_path / "lean.keras", compile=False)
    assert models.difference(lean, loaded, models.inputs(model)) == 0


def test_shared_on_two_sizes_stays():
    x = keras.Input((8, 8, 3))
    shared = L.Conv2D(16, 3, name="shared")
    y = L.Conv2D(16, 3, padding="same", name="stem")(x)
    model = keras.Model(x, L.Flatten()(shared(shared(y))))
    with pytest.raises(ValueError, match="shared: is called on different shapes"):
        substitute(model, "fire")


def test_a_block_of_your_own():
    def narrow(x, layer):
        y = L.Conv2D(2, 1, name=f"{layer.name}_narrow")(x)
        return L.Conv2D(layer.filters, 3, padding=layer.padding, name=layer.name)(y)

    lean = substitute(one(True), narrow)
    assert names(lean)[2:5] == ["conv_narrow", "conv", "norm"]
    with pytest.raises(
        ValueError, match=r"returns the shape .None, 9, 8, 64.; the conv"
    ):
        substitute(one(), lambda x, layer: L.Conv2D(64, 1)(x))


def test_mixed_precision_stays():
    keras.config.set_dtype_policy("mixed_float16")
    model = one(True)
    keras.config.set_dtype_policy("float32")
    lean = substitute(model, "ghost")
    policies = {layer.dtype_policy.name for layer in lean.layers[1:]}
    assert policies == {"mixed_float16"}
    assert keras.config.dtype_policy().name == "float32"


def test_what_a_block_cannot_stand_for():
    x = keras.Input((None, None, 3))
    y = L.Conv2D(14, 3, name="stem")(x)
    y = L.Conv2D(15, 3, name="odd")(y)
    model = keras.Model(x, L.Conv2D(16, 3, strides=(2, 1), name="uneven")(y))
    for block, where, message in [
        ("ghost", "odd", "odd: 15 filters is odd"),
        ("shuffle", "odd", "no group count of 4, 3, 2 divides both 14"),
        ("depthwise_separable", "uneven", r"need equal strides, not \(2, 1\)"),
        ("fire", "stem", "stem: reads the input"),
    ]:
        with pytest.raises(ValueError, match=message):
            substitute(model, block, where=where)
    assert substitute(model, "ghost").output_shape == (None, None, None, 16)
    y = L.Conv2D(16, 3, name="conv")(L.Conv2D(16, 3, name="stem")(x))
    with pytest.raises(ValueError, match="height and width of its input are unknown"):
        substitute(keras.Model(x, y), "shuffle")


class Branching(keras.Model):
    def call(self, inputs):
        return inputs if keras.ops.sum(inputs) > 0 else -inputs


def test_errors():
    branching = Branching(name="branching")
    branching(np.zeros((1, 8, 8, 3)))
    with pytest.raises(ValueError, match="'ghosts': expected one of .* mean 'ghost'"):
        substitute(one(), "ghosts")
    with pytest.raises(ValueError, match="Unknown block None"):
        substitute(one(), None)
    with pytest.raises(ValueError, match="matches no convolution.* mean 'conv'"):
        substitute(one(), "ghost", where="convv")
    with pytest.raises(ValueError, match="The model has none"):
        substitute(models.nested(), "ghost", where="nothing")
    with pytest.raises(ValueError, match="cannot be traced"):
        substitute(branching, "ghost")
    with pytest.raises(TypeError, match=r"expected a keras\.Model"):
        substitute("model.keras", "ghost")
