"""Small residual networks."""

import keras
import numpy as np

L = keras.layers


def residual(num_blocks=2, name="residual"):
    """Blocks of two convolutions, each with batch norm, and a ReLU after the addition."""
    inputs = keras.Input((8, 8, 3), name="image")
    x = L.ReLU()(L.Conv2D(4, 3, padding="same", name="stem")(inputs))
    for index in range(num_blocks):
        y = convolution(x, 4, f"block{index}_a")
        y = convolution(L.ReLU()(y), 4, f"block{index}_b")
        x = L.ReLU()(L.Add(name=f"block{index}")([y, x]))
    y = convolution(x, 6, "wider", strides=2)
    x = L.ReLU()(L.Add(name="changes")([y, L.Conv2D(6, 1, 2, name="shortcut")(x)]))
    outputs = L.Dense(3, name="head")(L.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, outputs, name=name)


def convolution(x, filters, name, strides=1):
    x = L.Conv2D(filters, 3, strides, "same", use_bias=False, name=name)(x)
    return L.BatchNormalization(name=f"{name}_norm")(x)


def images(count=16):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(count, 8, 8, 3)).astype("float32")
    return x, generator.integers(0, 3, count)


def cross_entropy():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)
