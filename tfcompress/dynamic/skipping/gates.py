"""Small networks that decide from the input of a block whether it runs."""

import math

import keras
import tensorflow as tf
from keras import ops

L = keras.layers

# Gates start with this probability of running their block.
_INITIAL_PROBABILITY = 0.9
_INITIAL_LOGIT = math.log(_INITIAL_PROBABILITY / (1 - _INITIAL_PROBABILITY))
_NUM_UNITS = 10


def pooled(tensor, name):
    """Means over all positions, `(batch, channels)`."""
    kinds = {
        3: L.GlobalAveragePooling1D,
        4: L.GlobalAveragePooling2D,
        5: L.GlobalAveragePooling3D,
    }
    kind = kinds.get(len(tensor.shape))
    return kind(name=f"{name}_pool")(tensor) if kind else tensor


class PooledGates:
    """A gate of two dense layers for each block, on its channel means."""

    def __call__(self, x, name):
        """The logit for the input of a block, `(batch, 1)`."""
        hidden = L.Dense(_NUM_UNITS, "relu", name=f"{name}_hidden")(pooled(x, name))
        return _logit(f"{name}_logit")(hidden)


class RecurrentGates:
    """One LSTM cell for all blocks, which remembers what it has seen of a sample.

    A dense layer per block turns channel means into inputs of the cell.
    """

    def __init__(self):
        self._cell = L.LSTMCell(_NUM_UNITS, name="gates_cell")
        self._logit = _logit("gates_logit")
        self._states = None

    def __call__(self, x, name):
        """The logit for the input of a block, `(batch, 1)`."""
        features = L.Dense(_NUM_UNITS, name=f"{name}_features")(pooled(x, name))
        if self._states is None:
            self._states = [ops.zeros_like(features), ops.zeros_like(features)]
        hidden, self._states = self._cell(features, self._states)
        return self._logit(hidden)


def _logit(name):
    initializer = keras.initializers.Constant(_INITIAL_LOGIT)
    return L.Dense(1, bias_initializer=initializer, name=name)


GATES = {"pooled": PooledGates, "recurrent": RecurrentGates}


@keras.saving.register_keras_serializable("tfcompress")
class HardGate(keras.layers.Layer):
    """1 where the sigmoid of a logit is above 0.5, 0 elsewhere.

    The gradient is that of the sigmoid. With `samples`, it is 1 with the probability
    `sigmoid(logit)` in training and has no gradient.
    """

    def __init__(self, samples=False, **kwargs):
        super().__init__(**kwargs)
        self.samples = samples
        self._seeds = keras.random.SeedGenerator()

    def call(self, logits, training=None):
        if training and self.samples:
            drawn = keras.random.uniform(ops.shape(logits), seed=self._seeds)
            runs = drawn < ops.sigmoid(ops.cast(logits, drawn.dtype))
            return ops.cast(runs, logits.dtype)
        return _hard(logits)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "samples": self.samples}


@tf.custom_gradient
def _hard(logits):
    probability = tf.sigmoid(logits)

    def gradient(upstream):
        return upstream * probability * (1 - probability)

    # Not `logits > 0`: in an integer file, a lone zero has no scale.
    return tf.cast(probability > 0.5, logits.dtype), gradient


@keras.saving.register_keras_serializable("tfcompress")
class GatedAdd(keras.layers.Layer):
    """`x + g f(x)`; at inference x itself, bit for bit, where the gate g is 0."""

    def call(self, shortcut, branch, gate, training=None):
        gate = ops.reshape(gate, (-1, *[1] * (len(shortcut.shape) - 1)))
        gate = ops.cast(gate, shortcut.dtype)
        if training:
            return shortcut + gate * branch
        return ops.where(gate > 0.5, shortcut + branch, shortcut)

    def compute_output_shape(self, shortcut_shape, branch_shape, gate_shape):
        return shortcut_shape
