"""Residual blocks that take no time where they are skipped."""

import keras
import tensorflow as tf
from keras import ops

from tfcompress.core.substituted import call_substituted


@keras.saving.register_keras_serializable("tfcompress")
class SkippedBlock(keras.layers.Layer):
    """A whole residual block, run where a gate is 1, or its input, where it is 0.

    For a batch of one only what is asked for runs: a `.tflite` file has the operation IF.
    In larger batches all of it runs, for all samples.

    Args:
        block: a functional model `x -> x + f(x)`.
    """

    def __init__(self, block, **kwargs):
        super().__init__(**kwargs)
        self.block = block

    def call(self, x, gate):
        if x.shape[0] != 1:
            gate = ops.reshape(gate, (-1, *[1] * (len(x.shape) - 1)))
            return ops.where(gate > 0.5, self.block(x, training=False), x)
        constants = {id(v): _constant(v) for v in self.block.variables}
        return ops.cond(
            ops.reshape(gate, ()) > 0, lambda: self._run(x, constants), lambda: x
        )

    def _run(self, x, constants):
        # Made outside, they would be arguments of the branch, and no kernel could be
        # packed, and no batch norm folded.
        inside = {k: tf.constant(v) for k, v in constants.items() if v is not None}
        return call_substituted(self.block, inside, x, training=False).outputs

    def compute_output_shape(self, x_shape, gate_shape):
        return x_shape

    def get_config(self):
        block = keras.saving.serialize_keras_object(self.block)
        return {**super().get_config(), "block": block}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        restore = keras.saving.deserialize_keras_object
        return cls(**{k: restore(v, custom_objects) for k, v in config.items()})


def _constant(variable):
    """The value that a variable has in the graph of a file; None if that is open."""
    value = variable.value
    return None if tf.executing_eagerly() else tf.get_static_value(value)
