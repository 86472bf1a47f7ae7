"""Small models of every kind, and data for them."""

import keras
import numpy as np
import tensorflow as tf

import tfcompress as tfc
from tfcompress.core.compressed import treatments

L = keras.layers

# Transforms that learn what goes, or how much each weight matters.
LEARNED = {
    tfc.transforms.ContinuousSparsification,
    tfc.transforms.EdgePopup,
    tfc.transforms.GaussianWeights,
    tfc.transforms.GroupNormalJeffreys,
    tfc.transforms.HardConcrete,
    tfc.transforms.LogNormal,
    tfc.transforms.Movement,
    tfc.transforms.PDP,
    tfc.transforms.Penalty,
    tfc.transforms.Powerpropagation,
    tfc.transforms.ShiftAttention,
    tfc.transforms.SoftMovement,
    tfc.transforms.SoftThreshold,
    tfc.transforms.SparseVariationalDropout,
    tfc.transforms.Supermask,
}


def sequential():
    return keras.Sequential(
        [
            keras.Input((8, 8, 3), name="image"),
            L.Conv2D(4, 3, name="conv"),
            L.BatchNormalization(name="norm"),
            L.ReLU(name="relu"),
            L.DepthwiseConv2D(3, name="depthwise"),
            L.Dropout(0.5, name="dropout"),
            L.Flatten(name="flatten"),
            L.Dense(5, name="head"),
        ],
        name="sequential",
    )


def small():
    """As little as there is to train, for tests of what does not depend on layers."""
    return keras.Sequential(
        [
            keras.Input((8,), name="vector"),
            L.Dense(6, activation="relu", name="hidden"),
            L.Dense(5, name="head"),
        ],
        name="small",
    )


def residual():
    x = keras.Input((8, 8, 3), name="image")
    y = L.Conv2D(6, 3, padding="same", name="conv1")(x)
    y = L.BatchNormalization(name="norm1")(y)
    y = L.ReLU(name="relu1")(y)
    z = L.SeparableConv2D(6, 3, padding="same", name="separable")(y)
    z = L.Conv2DTranspose(6, 1, name="transposed")(z)
    y = L.Add(name="add")([y, z])
    y = L.Concatenate(name="concat")([y, z])
    y = L.GlobalAveragePooling2D(name="pool")(y)
    y = keras.ops.multiply(y, 2.0)
    return keras.Model(
        x, L.Dense(5, activation="softmax", name="head")(y), name="residual"
    )


def nested():
    inner = keras.Sequential(
        [keras.Input((8,)), L.Dense(8, activation="relu", name="inside")], name="inner"
    )
    x = keras.Input((8,), name="vector")
    shared = L.Dense(8, name="shared")
    y = inner(shared(x))
    y = inner(shared(y))
    return keras.Model(x, L.Dense(5, name="head")(y), name="nested")


def recurrent():
    x = keras.Input((6, 4), name="sequence")
    y = L.LSTM(5, return_sequences=True, name="lstm")(x)
    y = L.MultiHeadAttention(2, 3, name="attention")(y, y)
    y = L.LayerNormalization(name="norm")(y)
    y = L.Bidirectional(L.GRU(3), name="both_ways")(y)
    return keras.Model(x, L.Dense(5, name="head")(y), name="recurrent")


def two_ports():
    a, b = keras.Input((4,), name="a"), keras.Input((3,), name="b")
    y = L.Dense(6, activation="relu", name="hidden")(L.Concatenate(name="both")([a, b]))
    outputs = {"u": L.Dense(2, name="u")(y), "v": L.Dense(3, name="v")(y)}
    return keras.Model({"a": a, "b": b}, outputs, name="two_ports")


@keras.saving.register_keras_serializable("tests")
class Subclassed(keras.Model):
    def __init__(self, units=6, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.hidden = L.Dense(units, name="hidden")
        self.norm = L.BatchNormalization(name="norm")
        self.head = L.Dense(5, name="head")

    def call(self, inputs, training=None):
        hidden = self.norm(self.hidden(inputs), training=training)
        return self.head(keras.ops.relu(hidden))


def subclassed():
    model = Subclassed(name="subclassed")
    model(np.zeros((1, 8), "float32"))
    return model


ALL = (sequential, residual, nested, recurrent, subclassed)


def inputs(model, count=4, seed=0):
    """Random inputs for a model with one input."""
    specs = keras.tree.flatten(tfc.core.macs.input_specs(model))
    generator = np.random.default_rng(seed)
    return generator.normal(size=(count, *specs[0].shape[1:])).astype("float32")


def classes(count=4, num_classes=5, seed=0):
    return np.random.default_rng(seed).integers(0, num_classes, count)


def compile(model, **kwargs):
    model.compile(
        "adam",
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        **kwargs,
    )
    return model


def set_weights(model, values):
    """Nested lists as the weights of a model."""
    for weight, value in zip(model.weights, values, strict=True):
        weight.assign(value)


def difference(model, other, x):
    """Largest absolute difference of two models' outputs."""
    outputs = (m(x, training=False) for m in (model, other))
    return float(
        np.abs(np.subtract(*(np.asarray(y, np.float64) for y in outputs))).max()
    )


def dense_treatment(kernel, *transforms):
    """The treatment of a dense kernel `(inputs, outputs)` with given values."""
    kernel = np.asarray(kernel, "float32")
    layer = L.Dense(kernel.shape[1], use_bias=False)
    model = keras.Sequential([keras.Input(kernel.shape[:1]), layer])
    layer.kernel.assign(kernel)
    return treatments(tfc.compress(model, {".*": list(transforms)}))[0][1]


def gradients(treatment, upstream, *variables, training=False):
    """Gradients of `sum(upstream y)` in the latent weight and in further variables."""
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(treatment(training) * upstream)
    found = tape.gradient(loss, [v.value for v in (treatment.variable, *variables)])
    return found if variables else found[0]
