"""One value for all weights: what a network can do through its connections alone."""

import keras
import numpy as np
from keras import ops

from tfcompress.core.cloning import clone_layer
from tfcompress.core.macs import input_specs
from tfcompress.core.samples import random_inputs
from tfcompress.distillation.outputs import output_kinds

VALUES = (-2.0, -1.0, -0.5, 0.5, 1.0, 2.0)


def with_value(value):
    """`(weight, mask) -> weight` with the same value everywhere."""
    return lambda weight, mask: np.full_like(weight, value)


def ensemble(models):
    """A model whose outputs are the mean probabilities of several models.

    Logits become the logarithm of that: `log(mean_i softmax(z_i))`; other outputs are
    averaged.

    Args:
        models: models with the same inputs and outputs.
    """
    first = models[0]
    kinds = output_kinds(first, first(random_inputs(first, 2), training=False))
    inputs = keras.tree.map_structure(
        lambda spec: keras.Input(spec.shape[1:], dtype=spec.dtype, name=spec.name),
        input_specs(first),
    )
    outputs = [_named(model, str(i))(inputs) for i, model in enumerate(models)]
    columns = zip(*map(keras.tree.flatten, outputs), strict=True)
    means = [_mean(each, kind) for each, kind in zip(columns, kinds, strict=True)]
    return keras.Model(inputs, keras.tree.pack_sequence_as(outputs[0], means))


def _named(model, name):
    """A copy, since no two layers of a model may have the same name."""
    copy = clone_layer(model)
    copy.name = f"{model.name}_{name}"
    return copy


def _mean(outputs, kind):
    if kind != "logits" or outputs[0].shape[-1] == 1:
        return ops.mean(ops.stack(list(outputs)), axis=0)
    logs = ops.stack([ops.log_softmax(output) for output in outputs])
    return ops.logsumexp(logs, axis=0) - np.log(len(outputs))
