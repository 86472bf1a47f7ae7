"""The noun of weight rounding."""

from tfcompress.core.plugin import Plugin


class Rounding(Plugin):
    """Chooses the integers that stand for the weights of a layer.

    Attributes:
        needs_inputs: whether it looks at what the layer is fed.
    """

    needs_inputs = False

    def __call__(self, weight, scale, level, inputs=None):
        """Whole numbers from `-level` to `level`, in an array like `weight`.

        Args:
            weight: array `(groups, inputs, outputs)`.
            scale: array `(groups, 1, outputs)`, the step of each output channel.
            level: `2^(bits - 1) - 1`.
            inputs: a `tfcompress.post_training.matrices.Inputs` with second moments.
        """
        raise NotImplementedError
