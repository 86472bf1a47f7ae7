"""How far errors of layer outputs propagate to the outputs of the model."""

import keras
import numpy as np
import tensorflow as tf

from tfcompress.core.matrices import rows, to_matrix
from tfcompress.core.recording import recorded
from tfcompress.core.samples import batches

# Enough samples for a mean over them and all positions.
_NUM_SAMPLES = 256


def output_sensitivity(model, layers, samples):
    """The effect of errors in each output of some layers on the outputs of the model.

        g_k = E[Σ_p (Jᵀ v)²_pk] for output `k` at all positions `p`

    with the Jacobian `J` of the model's outputs `f` with respect to the layer's
    outputs, and random signs `v`. Errors with the mean square `e_k` then cause
    `E‖Δf‖² = Σ_k g_k e_k`, if those at different positions are independent.

    Args:
        model: a flat functional model.
        layers: its layers that have a matrix.
        samples: an array, or `{input name: array}`.

    Returns:
        `{id(layer): array (outputs,)}` in float64, for layers that run and whose slopes
        are finite.
    """
    totals, count = {}, 0
    for size, calls in _slopes(model, layers, samples):
        count += size
        for layer, _, slope in calls:
            squares = np.square(_by_output(layer, slope)).sum(axis=0, dtype=np.float64)
            totals[id(layer)] = totals.get(id(layer), 0.0) + squares
    return _finite_means(totals, count)


def output_error(model, changes, samples):
    """`E‖Δf‖²` at the outputs of the model, to first order, for each of several changes.

        E[(Σ_pk (Jᵀ v)_pk δ_pk)²],    δ_p = Δᵀ z_p, without its mean over samples and places

    unlike `output_sensitivity`, also valid if errors at different positions add up.

    Args:
        model: a flat functional model.
        changes: `{layer: Δ}`, arrays `(groups, inputs, outputs)`.
        samples: an array, or `{input name: array}`.

    Returns:
        `{id(layer): error}`, for layers that run and whose errors are finite.
    """
    changes = {id(layer): (layer, change) for layer, change in changes.items()}
    totals, count = {}, 0
    layers = [layer for layer, _ in changes.values()]
    for size, calls in _slopes(model, layers, samples):
        count += size
        for layer, inputs, slope in calls:
            change = changes[id(layer)][1].astype(np.float32)
            error = np.matmul(rows(layer, inputs), change)
            error = error.swapaxes(0, 1).reshape(error.shape[1], -1)
            product = (error - error.mean(axis=0)) * _by_output(layer, slope)
            square = np.square(product.reshape(size, -1).sum(axis=1)).sum()
            totals[id(layer)] = totals.get(id(layer), 0.0) + float(square)
    return _finite_means(totals, count)


def _finite_means(totals, count):
    return {k: total / count for k, total in totals.items() if np.isfinite(total).all()}


def _slopes(model, layers, samples):
    """`(samples, [(layer, inputs, Jᵀ v)])` of each batch."""
    listed = keras.Model(model.inputs, model.outputs)
    variables = [variable.value for variable in model.trainable_variables]
    generator = tf.random.Generator.from_seed(0)
    for part in batches(model, first_of(samples)):
        calls = []

        def record(layer, inputs, outputs, *_, calls=calls):
            first = [keras.tree.flatten(each)[0] for each in (inputs, outputs)]
            calls.append((layer, *first))

        with tf.GradientTape() as tape, recorded(layers, record):
            inputs = [tf.convert_to_tensor(array) for array in part]
            tape.watch([x for x in inputs if x.dtype.is_floating] + variables)
            outputs = keras.tree.flatten(listed(inputs, training=False))
            total = tf.add_n([_with_signs(output, generator) for output in outputs])
        slopes = tape.gradient(total, [made for _, _, made in calls])
        yield (
            len(part[0]),
            [
                (layer, inputs, slope.numpy())
                for (layer, inputs, _), slope in zip(calls, slopes, strict=True)
                if slope is not None
            ],
        )


def _by_output(layer, slope):
    """`(places, outputs)`."""
    groups, _, outputs = to_matrix(layer, layer.kernel.numpy()).shape
    return slope.reshape(-1, groups * outputs)


def first_of(samples):
    """As many samples as a choice needs; fitting weights may use more."""
    if isinstance(samples, dict):
        return {name: array[:_NUM_SAMPLES] for name, array in samples.items()}
    return samples[:_NUM_SAMPLES]


def _with_signs(outputs, generator):
    """The sum of outputs, each with a random sign."""
    outputs = tf.cast(outputs, tf.float32)
    signs = tf.where(generator.uniform(tf.shape(outputs)) < 0.5, -1.0, 1.0)
    return tf.reduce_sum(signs * outputs)
