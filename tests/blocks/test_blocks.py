import itertools

import keras
import numpy as np
import pytest

import tfcompress as tfc
from tests import models

SIZE = 8


def product(**choices):
    return [
        dict(zip(choices, values, strict=True))
        for values in itertools.product(*choices.values())
    ]


def depthwise_separable_parameters(
    channels, filters, kernel_size=3, strides=1, use_batch_norm=True
):
    kernels = kernel_size**2 * channels + channels * filters
    return kernels + (4 if use_batch_norm else 1) * (channels + filters)


def squeeze_excite_parameters(channels, ratio=0.25):
    bottleneck = max(1, round(ratio * channels))
    return 2 * channels * bottleneck + bottleneck + channels


def inverted_residual_parameters(
    channels, filters, expansion=6, kernel_size=3, strides=1, squeeze_excite_ratio=None
):
    width = round(expansion * channels)
    expand = channels * width + 4 * width if expansion != 1 else 0
    depthwise = kernel_size**2 * width + 4 * width
    project = width * filters + 4 * filters
    ratio = squeeze_excite_ratio
    attention = squeeze_excite_parameters(width, ratio) if ratio else 0
    return expand + depthwise + project + attention


def fire_parameters(channels, squeeze, expand, use_batch_norm=False):
    kernels = channels * squeeze + squeeze * expand + 9 * squeeze * expand
    return kernels + (4 if use_batch_norm else 1) * (squeeze + 2 * expand)


def shuffle_unit_parameters(channels, filters, groups=3, strides=1):
    bottleneck = filters // 4
    added = filters if strides == 1 else filters - channels
    grouped = (channels * bottleneck + bottleneck * added) // groups
    return grouped + 9 * bottleneck + 4 * (2 * bottleneck + added)


def ghost_parameters(
    channels, filters, kernel_size=1, ratio=2, cheap_size=3, strides=1
):
    primary = filters // ratio
    kernels = kernel_size**2 * channels * primary
    return kernels + cheap_size**2 * primary * (ratio - 1) + 4 * filters


def ghost_bottleneck_parameters(
    channels, filters, expand, kernel_size=3, strides=1, squeeze_excite_ratio=None
):
    count = (channels + 9) * expand // 2 + 4 * expand
    count += (expand + 9) * filters // 2 + 4 * filters
    if strides == 2:
        count += (kernel_size**2 + 4) * expand
    if squeeze_excite_ratio:
        count += squeeze_excite_parameters(expand, squeeze_excite_ratio)
    if strides == 2 or channels != filters:
        count += kernel_size**2 * channels + channels * filters
        count += 4 * (channels + filters)
    return count


def binary_residual_parameters(
    channels, filters, kernel_size=3, strides=1, activation=None
):
    shortcut = channels * filters + 4 * filters if filters != channels else 0
    return kernel_size**2 * channels * filters + 4 * filters + shortcut


def xception_entry_parameters(channels, filters):
    separable = 9 * channels + channels * filters + 9 * filters + filters**2
    return separable + channels * filters + 4 * 3 * filters


GRIDS = {
    "depthwise_separable": product(
        filters=[5, 12],
        kernel_size=[3, 5],
        strides=[1, 2],
        use_batch_norm=[True, False],
    ),
    "squeeze_excite": product(ratio=[0.01, 0.25, 1]),
    "inverted_residual": [
        *product(filters=[12, 7], expansion=[1, 2.3], strides=[1, 2]),
        *product(filters=[12], kernel_size=[5], squeeze_excite_ratio=[0.25, 1]),
    ],
    "fire": product(squeeze=[1, 3], expand=[4, 5], use_batch_norm=[True, False]),
    "shuffle_unit": [
        *product(filters=[12], groups=[1, 3]),
        *product(filters=[24, 36], groups=[1, 3], strides=[2]),
    ],
    "ghost": [
        *product(filters=[6, 12], kernel_size=[1, 3], ratio=[2, 3]),
        *product(filters=[6], cheap_size=[1, 5], strides=[1, 2]),
    ],
    "ghost_bottleneck": [
        *product(filters=[12, 8], expand=[6, 24], strides=[1, 2]),
        *product(filters=[8], expand=[6], kernel_size=[5], squeeze_excite_ratio=[0.25]),
    ],
    "binary_residual": [
        *product(filters=[12, 7], kernel_size=[1, 3], strides=[1, 2]),
        *product(filters=[12], activation=["relu"]),
    ],
    "xception_entry": product(filters=[5, 12]),
}
CASES = [(name, arguments) for name, grid in GRIDS.items() for arguments in grid]


@pytest.mark.parametrize("channels", [12])
@pytest.mark.parametrize("name, arguments", CASES, ids=str)
def test_parameters_and_shape_follow_the_formulas(name, arguments, channels):
    x = keras.Input((SIZE, SIZE, channels))
    y = getattr(tfc.blocks, name)(x, **arguments)
    expected = globals()[f"{name}_parameters"](channels, **arguments)
    assert keras.Model(x, y).count_params() == expected
    strides = 2 if name == "xception_entry" else arguments.get("strides", 1)
    filters = arguments.get("filters", channels)
    filters = 2 * arguments["expand"] if name == "fire" else filters
    assert y.shape == (None, SIZE // strides, SIZE // strides, filters)


def test_separable_against_plain_convolution():
    x = keras.Input((SIZE, SIZE, 12))
    y = tfc.blocks.depthwise_separable(x, 20, use_batch_norm=False)
    separable = keras.Model(x, y)
    plain = keras.Model(x, keras.layers.Conv2D(20, 3, padding="same")(x))
    positions = SIZE * SIZE
    kernels = 3 * 3 * 12 + 12 * 20
    assert sum(tfc.core.macs.macs(separable).values()) == positions * kernels
    assert sum(tfc.core.macs.macs(plain).values()) == positions * 3 * 3 * 12 * 20
    assert np.isclose(kernels / (3 * 3 * 12 * 20), 1 / 20 + 1 / 9)


def test_odd_sizes_are_rounded_up():
    x = keras.Input((7, 5, 12))
    for name, arguments in [
        ("depthwise_separable", {"filters": 8}),
        ("inverted_residual", {"filters": 8}),
        ("shuffle_unit", {"filters": 24}),
        ("ghost", {"filters": 8}),
        ("ghost_bottleneck", {"filters": 8, "expand": 16}),
        ("binary_residual", {"filters": 8}),
    ]:
        y = getattr(tfc.blocks, name)(x, strides=2, **arguments)
        assert y.shape[:3] == (None, 4, 3)
    assert tfc.blocks.xception_entry(x, 8).shape == (None, 4, 3, 8)


def test_shuffle_deals_out_the_channels():
    x = np.arange(2 * 3 * 2 * 6, dtype="float32").reshape(2, 3, 2, 6)
    y = np.asarray(tfc.blocks.channel_shuffle(x, 3))
    np.testing.assert_array_equal(y, x[..., [0, 2, 4, 1, 3, 5]])
    back = np.asarray(tfc.blocks.channel_shuffle(y, 2))
    np.testing.assert_array_equal(back, x)


def test_shuffle_with_one_unknown_size():
    x = keras.Input((None, 4, 6))
    y = tfc.blocks.channel_shuffle(x, 3)
    assert y.shape == (None, None, 4, 6)
    assert keras.Model(x, y)(np.zeros((1, 5, 4, 6))).shape == (1, 5, 4, 6)


def test_residual_only_where_shapes_agree():
    x = keras.Input((SIZE, SIZE, 12))

    def has_add(y):
        layers = keras.Model(x, y).layers
        return any(isinstance(layer, keras.layers.Add) for layer in layers)

    block = tfc.blocks.inverted_residual
    assert has_add(block(x, 12))
    assert not has_add(block(x, 12, strides=2))
    assert not has_add(block(x, 13))


@pytest.fixture(scope="module")
def network():
    """Every block once."""
    keras.utils.set_random_seed(0)
    blocks = tfc.blocks
    x = keras.Input((16, 16, 4), name="image")
    y = blocks.xception_entry(x, 8, activate_first=False, name="entry")
    y = blocks.depthwise_separable(y, 12, name="separable")
    y = blocks.inverted_residual(
        y, 12, 2, squeeze_excite_ratio=0.25, activation="hard_swish", name="inverted"
    )
    y = blocks.fire(y, 4, 6, name="fire")
    y = blocks.shuffle_unit(y, 12, groups=3, name="shuffle1")
    y = blocks.shuffle_unit(y, 24, groups=3, strides=2, name="shuffle2")
    y = blocks.ghost(y, 12, name="ghost")
    y = blocks.ghost_bottleneck(y, 12, 16, name="bottleneck1")
    y = blocks.ghost_bottleneck(
        y, 16, 24, strides=2, squeeze_excite_ratio=0.25, name="bottleneck2"
    )
    y = keras.layers.GlobalAveragePooling2D(name="head_pool")(y)
    model = keras.Model(x, keras.layers.Dense(5, name="head")(y))
    data = models.inputs(model, 16)
    # Eagerly, since tracing takes longer than a step.
    models.compile(model, run_eagerly=True)
    loss = model.train_on_batch(data, models.classes(16))
    return model, data, loss


def test_training_step_is_finite(network):
    _, _, loss = network
    assert np.isfinite(loss).all()


def test_names_have_their_prefix(network):
    prefixes = "entry separable inverted fire shuffle1 shuffle2 ghost bottleneck1"
    expected = tuple(f"{p}_" for p in [*prefixes.split(), "bottleneck2", "head"])
    names = [layer.name for layer in network[0].layers[1:]]
    assert [n for n in names if n != "head" and not n.startswith(expected)] == []


def test_saves_and_loads(network, tmp_path):
    model, x, _ = network
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False)
    assert models.difference(model, loaded, x) == 0


def test_exports_to_int8(network, tmp_path):
    model, x, _ = network
    result = tfc.export_tflite(model, tmp_path / "model.tflite", "int8", samples=x)
    assert result.float_operations == {}
    with tfc.Interpreter(tmp_path / "model.tflite") as interpreter:
        assert interpreter.run(x[:2]).shape == (2, 5)


@pytest.mark.parametrize(
    "name, arguments, message",
    [
        (
            "depthwise_separable",
            {"filters": 0},
            r"\(filters\): got 0, expected a positive",
        ),
        (
            "depthwise_separable",
            {"filters": 8, "strides": 3},
            r"\(strides\): got 3, expected 1",
        ),
        ("squeeze_excite", {"ratio": 1.5}, r"\(ratio\): got 1.5, expected .* fraction"),
        (
            "squeeze_excite",
            {"ratio": None},
            r"\(ratio\): got None, expected .* fraction",
        ),
        (
            "inverted_residual",
            {"filters": 8, "expansion": 0.5},
            r"\(expansion\): got 0.5",
        ),
        (
            "inverted_residual",
            {"filters": 8, "squeeze_excite_ratio": 0},
            r"\(squeeze_excite_ratio\): got 0",
        ),
        ("fire", {"squeeze": 2, "expand": 2.5}, r"fire\(expand\): got 2.5"),
        ("shuffle_unit", {"filters": 10}, "multiple of 4"),
        ("shuffle_unit", {"filters": 8}, "must be its 12 channels"),
        ("shuffle_unit", {"filters": 12, "strides": 2}, "expected more than 12"),
        (
            "shuffle_unit",
            {"filters": 12, "groups": 2},
            r"\(groups=2\): does not divide the 3 bottleneck_channels",
        ),
        ("channel_shuffle", {"groups": 5}, r"\(groups=5\): does not divide the 12"),
        ("ghost", {"filters": 5}, r"\(ratio=2\): does not divide the 5 filters"),
        (
            "ghost",
            {"filters": 5, "ratio": 1},
            r"\(ratio\): got 1, expected .* at least 2",
        ),
        (
            "ghost_bottleneck",
            {"filters": 8, "expand": 7},
            r"\(expand=7\): .* an even",
        ),
        ("binary_residual", {"filters": 8, "strides": 4}, r"\(strides\): got 4"),
        ("binary_residual", {"filters": 8, "quantizer": "sing"}, "Did you mean 'sign'"),
        ("xception_entry", {"filters": -1}, r"\(filters\): got -1"),
        (
            "fire",
            {"squeeze": 2, "expand": 2, "name": "a/b"},
            "expected a string without '/'",
        ),
    ],
)
def test_errors(name, arguments, message):
    x = keras.Input((SIZE, SIZE, 12))
    with pytest.raises(ValueError, match=message):
        getattr(tfc.blocks, name)(x, **arguments)


def test_unknown_channels():
    with pytest.raises(ValueError, match="a known number of channels"):
        tfc.blocks.fire(keras.Input((8, 8, None)), 2, 2)
    with pytest.raises(ValueError, match="expected a tensor of shape .batch"):
        tfc.blocks.ghost(keras.Input((8,)), 2)
    with pytest.raises(ValueError, match="height and width of x are unknown"):
        tfc.blocks.channel_shuffle(keras.Input((None, None, 6)), 2)


def test_names_are_optional():
    x = keras.Input((SIZE, SIZE, 12))
    y = tfc.blocks.fire(tfc.blocks.fire(x, 2, 2), 2, 2)
    assert keras.Model(x, y).count_params() > 0


def test_one_rule_covers_binary_convolutions_without_names():
    x = keras.Input((8, 8, 4))
    y = tfc.blocks.binary_residual(tfc.blocks.binary_residual(x, 4), 8, strides=2)
    model = tfc.compress(keras.Model(x, y), {".*_binary": "binary"})
    kernels = [w for w in tfc.report(model).weights if w.name.endswith("kernel")]
    assert [w.bits for w in kernels] == [1, 1, 32]
