"""Residual blocks that take no time if they are skipped."""

import keras
import tensorflow as tf
from keras import ops

from tfcompress.core.substituted import call_substituted


@keras.saving.register_keras_serializable("tfcompress")
class SkippedBlock(keras.layers.Layer):
    """A residual block that runs where a gate is 1, and returns its input where it is 0.

    For a batch of one, it runs only if needed: a `.tflite` file has the operation IF. In
    larger batches, the block runs for all samples.

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
        remade = _remade([variable.value for variable in self.block.variables])
        return ops.cond(
            ops.reshape(gate, ()) > 0, lambda: self._run(x, remade), lambda: x
        )

    def _run(self, x, remade):
        inside = dict(zip(map(id, self.block.variables), remade(), strict=True))
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


def _remade(values):
    """A function that creates values again in the graph of a branch.

    Constants of the surrounding graph would become arguments of the branch, whose kernels
    could then not be packed and whose batch norm could not be folded. The same holds for
    what operations compute from constants, such as rounding. The rest is used as it is.
    """
    parts = [_constant_part(v) if tf.is_symbolic_tensor(v) else None for v in values]

    def remake():
        return [
            value
            if part is None
            else tf.import_graph_def(part, return_elements=[value.name])[0]
            for value, part in zip(values, parts, strict=True)
        ]

    return remake


def _constant_part(tensor):
    """The part of a graph that computes a tensor; None if it depends on inputs."""
    found, waiting = {}, [tensor.op]
    while waiting:
        operation = waiting.pop()
        if operation.type == "Placeholder":
            return None
        found[operation.name] = operation.node_def
        waiting += [one.op for one in operation.inputs if one.op.name not in found]
    return tf.compat.v1.GraphDef(node=found.values())
