"""Change of the loss if a feature map were removed."""

import tensorflow as tf

from tfcompress.pruning.signals.per_output import PerOutput, calls_of, maps


class ActivationGradient(PerOutput):
    """`E_n |1/M Σ_m a_nmk dL_n/da_nmk|` of each output channel `k`.

    Over samples `n` with losses `L_n`, and the `M` positions `m` of a feature map. The
    calls of a shared layer count as positions.

    Source: Molchanov et al., "Pruning Convolutional Neural Networks for Resource
    Efficient Inference" (2017), equation 8.

    Example:
        >>> tfc.signals.get("activation_gradient")
        ActivationGradient()
    """

    observes = frozenset({"calls", "output_gradient"})

    def update(self, seen):
        """The sum over the samples, and their number."""
        products = [
            maps(call, seen.ref) * maps(call, seen.ref, call.output_gradient)
            for call in calls_of(seen)
        ]
        effect = tf.abs(tf.reduce_mean(tf.concat(products, axis=1), axis=1))
        samples = tf.cast(tf.shape(effect)[0], effect.dtype)
        return tf.reduce_sum(effect, axis=0), samples

    def per_channel(self, total, samples):
        """The mean."""
        return total / samples
