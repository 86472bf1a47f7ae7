"""Small models whose files hold what the native core computes."""

import keras
import numpy as np

import tfcompress as tfc


def _inputs(count):
    x = np.random.default_rng(1).normal(size=(count, 32, 32, 3))
    return x.astype("float32")


def _with_statistics(model):
    """The model with batch norms that do something."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_mean.assign(keras.random.normal(layer.moving_mean.shape))
    return model


def chain(path):
    """Operations between which bits flow."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    x = inputs = keras.Input((32, 32, 3))
    x = layers.Conv2D(40, 3, strides=2)(x)
    for filters in (64, 70):
        x = tfc.layers.QuantizedActivation("sign")(x)
        x = layers.Conv2D(
            filters, 3, padding="same", use_bias=False, name=f"binary_{filters}"
        )(x)
        x = layers.MaxPooling2D()(x)
        x = layers.BatchNormalization()(x)
    x = layers.Flatten()(tfc.layers.QuantizedActivation("sign")(x))
    x = layers.Dense(10, name="binary_last")(x)
    model = _with_statistics(keras.Model(inputs, x))
    tfc.export_tflite(tfc.compress(model, {"binary_.*": "binary"}), path)


def residual(path):
    """Binary convolutions among int8 layers."""
    keras.utils.set_random_seed(0)
    model = tfc.blocks.quicknet((32, 32, 3), 10, filters=(32, 64), blocks=(1, 2))
    model = tfc.compress(_with_statistics(model), {".*_binary": "binary"})
    # Untrained, its signs turn with the rounding; here two machines are compared.
    tfc.export_tflite(model, path, "int8", samples=_inputs(16), verify=False)


def encoded(path):
    """Weights that the delegate decodes."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Conv2D(16, 3, strides=2, activation="relu"),
            layers.DepthwiseConv2D(3, activation="relu"),
            layers.Conv2D(128, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10),
        ]
    )
    options = {"precision": "int8", "samples": _inputs(16), "codec": "huffman"}
    tfc.export_tflite(model, path, **options)


MODELS = (chain, residual, encoded)
