"""How much the loss curves along each kernel."""

import numpy as np
import tensorflow as tf

_NUM_PROBES = 4


def hessian_traces(model, kernels, data, copy):
    """The trace of each kernel's own block of the Hessian of the loss.

        tr(H_l) ≈ mean_v v_lᵀ (H v)_l

    over random signs `v` for all kernels at once, four for each batch: the blocks between
    different kernels cancel in the mean. Negative estimates become 0.

    Args:
        model: a compiled model, for its loss.
        kernels: variables of `copy`.
        data: an iterable of batches `(x, y)`.
        copy: a model that computes the same.

    Returns:
        An array `(kernels,)`.

    Raises:
        ValueError: if there is no loss or no data.

    Source: Hutchinson (1990); Dong et al., "HAWQ-V2" (2020).
    """
    if not model.compiled:
        raise ValueError(
            "sensitivity='hessian_trace' needs a loss: call model.compile(loss=...) "
            "first."
        )
    variables = [kernel.value for kernel in kernels]

    @tf.function(reduce_retracing=True)
    def probe(x, y):
        signs = [
            tf.where(tf.random.uniform(v.shape) < 0.5, -1.0, 1.0) for v in variables
        ]
        with tf.GradientTape() as outer:
            outer.watch(variables)
            with tf.GradientTape() as inner:
                inner.watch(variables)
                outputs = copy(x, training=False)
                loss = model.compute_loss(x, y, outputs, training=False)
            gradients = inner.gradient(loss, variables, unconnected_gradients="zero")
            along = tf.add_n(
                [tf.reduce_sum(g * s) for g, s in zip(gradients, signs, strict=True)]
            )
        products = outer.gradient(along, variables, unconnected_gradients="zero")
        return [tf.reduce_sum(p * s) for p, s in zip(products, signs, strict=True)]

    found = [probe(x, y) for x, y in data for _ in range(_NUM_PROBES)]
    if not found:
        raise ValueError("data is empty: pass at least one batch (x, y).")
    return np.maximum(np.mean(found, axis=0), 0.0)
