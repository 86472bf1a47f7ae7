"""Layers whose weights are drawn during training, separately for each example.

One draw for a whole batch makes gradients noisy: all examples err in the same direction.
"""

import contextlib

import keras
import tensorflow as tf

from tfcompress.core.keras_internals import uncast
from tfcompress.core.matrices import has_matrix
from tfcompress.core.substituted import call_substituted

# Added to variances, whose square root has no gradient at zero.
_LEAST_VARIANCE = 1e-8


def how_drawn(compressed, args, kwargs):
    """The function below that calls a compressed layer during training, or None.

    Args:
        compressed: a `CompressedLayer`.
        args: positional arguments of its call.
        kwargs: keyword arguments of its call.
    """
    treatments = compressed.treatments
    if len(args) != 1 or kwargs or any(t.is_looked_at for t in treatments):
        return None
    if hasattr(compressed.inner, "call_per_example"):
        drawn = [t for treatment in treatments for t in treatment.transforms]
        return call_per_example if all(t.draws_each for t in drawn) else None
    return call_with_drawn_outputs if _kernel(compressed) else None


def call_per_example(compressed, inputs):
    """Calls a layer with a separate weight for each example."""
    layer = compressed.inner
    with uncast():
        weights = compressed.treatments[0](True, count=tf.shape(inputs)[0])
    return layer.call_per_example(tf.cast(inputs, layer.compute_dtype), weights)


def call_with_drawn_outputs(compressed, inputs):
    """Calls a layer that is linear in its kernel, drawing its outputs.

    With independent weights of mean `m` and variance `v`, an output before bias and
    activation has the mean `x m` and the variance `x² v`.

    Source: Kingma et al., "Variational Dropout and the Local Reparameterization Trick"
    (2015), section 2.3.
    """
    layer, kernel = compressed.inner, _kernel(compressed)
    inputs = tf.cast(inputs, layer.compute_dtype)
    with uncast():
        values = {
            id(t.variable): t(True) for t in compressed.treatments if t is not kernel
        }
        mean, variance = kernel.moments()
    with _without_activation(layer) as activation:
        values[id(kernel.variable)] = mean
        means = call_substituted(layer, values, inputs).outputs
        if layer.bias is not None:
            values[id(layer.bias)] = tf.zeros(layer.bias.shape, layer.bias.dtype)
        values[id(kernel.variable)] = variance
        variances = call_substituted(layer, values, tf.square(inputs)).outputs
    draw = kernel.transforms[-1].draw
    return activation(draw(means, variances + _LEAST_VARIANCE))


def _kernel(compressed):
    """The treatment of a kernel for which outputs can be drawn instead, or None."""
    layer = compressed.inner
    if not has_matrix(layer) or layer.activity_regularizer:
        return None
    # Squares exceed the range of this precision.
    if layer.compute_dtype == "float16":
        return None
    return next(
        (
            treatment
            for treatment in compressed.treatments
            if treatment.variable is getattr(layer, "kernel", None)
            and treatment.has_moments
        ),
        None,
    )


@contextlib.contextmanager
def _without_activation(layer):
    """Within it, a layer is linear; yields its activation."""
    activation = layer.activation
    # Bypasses Keras, which would track it as a part of the layer's state.
    object.__setattr__(layer, "activation", keras.activations.linear)
    try:
        yield activation
    finally:
        object.__setattr__(layer, "activation", activation)
