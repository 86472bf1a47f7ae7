"""The gradient of the loss."""

import tensorflow as tf

from tfcompress.core.nouns import Signal


class Gradient(Signal):
    """`E_b[dL_b/dw]`, the mean of the gradients of all batches.

    The loss `L_b` is the mean over a batch. The gradient is that of the effective
    weight, so that masked weights have one too. It has the shape of the weight.

    Source: Mozer and Smolensky, "Skeletonization" (1989); Molchanov et al., "Importance
    Estimation for Neural Network Pruning" (2019).

    Example:
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> class Steep(tfc.criteria.Criterion):
        ...     needs = frozenset({"gradient"})
        ...     def __call__(self, weight, signals):
        ...         return np.abs(signals["gradient"])
        >>> data = [(np.ones((4, 1)), np.zeros((4, 1)))]
        >>> tfc.prune(model, 0.0, criterion=Steep, data=data).count_params()
        2
    """

    observes = frozenset({"gradient"})

    def update(self, seen):
        """The gradient of the batch, and a count of one batch."""
        return seen.gradient, tf.constant(1.0)

    def result(self, totals, ref):
        """The mean."""
        gradient, batches = totals
        return ref.layout.to_canonical(gradient / batches)
