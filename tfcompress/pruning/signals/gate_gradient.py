"""Change of the loss if a gate on an output were closed."""

import tensorflow as tf

from tfcompress.pruning.signals.per_output import PerOutput, calls_of, maps


class GateGradient(PerOutput):
    """`E_b[(dL_b/dz_k)²]` of a gate `z_k = 1` on each output channel `k`.

    The gate multiplies the outputs of the batch normalization that reads the layer, so
    the value is `E_b[(γ_k dL_b/dγ_k + β_k dL_b/dβ_k)²]`. If there is none, it
    multiplies the weights of the channel: `E_b[(Σ_i w_ik dL_b/dw_ik)²]`. `L_b` is the
    mean loss of a batch; normalization runs in inference mode.

    Source: Molchanov et al., "Importance Estimation for Neural Network Pruning" (2019),
    equations 6 to 8.

    Example:
        >>> tfc.signals.get("gate_gradient")
        GateGradient()
    """

    observes = frozenset({"calls", "gradient", "norm", "output_gradient"})

    def update(self, seen):
        """The square for the batch, and a count of one batch."""
        norms = [call.norm for call in seen.calls if call.norm is not None]
        slope = _behind(norms, seen) if norms else _of_kernel(seen)
        return slope**2, tf.constant(1.0)

    def per_channel(self, squares, batches):
        """The mean."""
        return squares / batches


def _behind(norms, seen):
    """For gates on the outputs of batch normalization."""
    samples = tf.cast(tf.shape(calls_of(seen)[0].inputs)[0], tf.float32)
    products = [
        maps(norm, seen.ref) * maps(norm, seen.ref, norm.output_gradient)
        for norm in norms
    ]
    # Output gradients are those of each sample's loss.
    return tf.add_n([tf.reduce_sum(p, (0, 1)) for p in products]) / samples


def _of_kernel(seen):
    """For gates on the weights of each channel, or on each element of a bias."""
    layout = seen.ref.layout
    axes = layout.reduction_axes if layout.output_axes else ()
    return tf.reshape(tf.reduce_sum(seen.gradient * seen.weight, axes), [-1])
