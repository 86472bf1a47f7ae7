"""Flow through each weight if all weights were positive."""

import keras
import numpy as np
import tensorflow as tf

from tfcompress.core.cloning import is_graph
from tfcompress.core.compress import strip
from tfcompress.core.keras_internals import all_layers, producer, recast
from tfcompress.core.macs import input_specs
from tfcompress.core.nouns import Signal
from tfcompress.core.walk import weight_refs
from tfcompress.distillation.outputs import sums_to_one


class SynapticFlow(Signal):
    """`dR/d|w|`, with `R` the sum of the outputs of the model made positive.

    All its variables, including the statistics of batch normalization, are replaced
    with their magnitudes, the input is all ones, and the model runs in inference mode
    without a final softmax, in float64: the products of many layers overflow float32.
    No data is needed. It has the shape of the weight.

    Raises:
        ValueError: if a model that is not a graph ends in a softmax.

    Source: Tanaka et al., "Pruning neural networks without any data by iteratively
    conserving synaptic flow" (2020), equation 2 and appendix.

    Example:
        >>> tfc.signals.get("synaptic_flow")
        SynapticFlow()
    """

    def measure(self, source):
        """The flow through the current effective weights."""
        refs = [weight.ref for weight in source.weights]
        flow = source.prepared(self, lambda: _Flow(source.copy, refs))
        flows = flow([weight.bake() for weight in source.weights])
        return [
            weight.ref.layout.to_canonical(flow)
            for weight, flow in zip(source.weights, flows, strict=True)
        ]


class _Flow:
    """A positive copy of a model in float64, and the gradients of what it returns."""

    def __init__(self, model, refs):
        copy = strip(model)
        self._logits = _with_logits(copy)
        for layer in all_layers(self._logits):
            recast(layer, "float64")
        for ref in weight_refs(copy):
            ref.variable.assign(np.abs(ref.variable.numpy()))
        held = {ref.path: ref.variable for ref in weight_refs(copy)}
        self._variables = [held[ref.path] for ref in refs]
        self._inputs = keras.tree.map_structure(_ones, input_specs(copy))
        self._gradients = tf.function(self._differentiate)

    def __call__(self, values):
        for variable, value in zip(self._variables, values, strict=True):
            variable.assign(np.abs(value))
        return [gradient.numpy() for gradient in self._gradients()]

    def _differentiate(self):
        watched = [variable.value for variable in self._variables]
        with tf.GradientTape() as tape:
            tape.watch(watched)
            outputs = keras.tree.flatten(self._logits(self._inputs, training=False))
            total = tf.add_n([tf.reduce_sum(output) for output in outputs])
        return tape.gradient(total, watched, unconnected_gradients="zero")


def _ones(spec):
    dtype = tf.float64 if spec.dtype.is_floating else spec.dtype
    return tf.ones([size or 1 for size in spec.shape], dtype)


def _with_logits(model):
    """A model with the same layers, without a final softmax or sigmoid."""
    if not is_graph(model):
        outputs = model(keras.tree.map_structure(_ones, input_specs(model)))
        if any(map(sums_to_one, keras.tree.flatten(outputs))):
            raise ValueError(
                f"SynapticFlow needs logits, but model {model.name!r} returns "
                "probabilities, whose sum does not depend on its weights. Move the "
                "softmax into the loss (from_logits=True)."
            )
        return model
    return keras.Model(model.inputs, list(map(_before_squashing, model.outputs)))


def _before_squashing(output):
    operation = producer(output)
    if type(operation).__name__ in ("Softmax", "Sigmoid"):
        return operation.input
    if isinstance(operation, keras.Model) and len(operation.outputs) == 1:
        return _with_logits(operation)(operation.input)
    if getattr(operation, "activation", None) in _SQUASHING:
        operation.activation = keras.activations.linear
    return output


_SQUASHING = (keras.activations.softmax, keras.activations.sigmoid)
