"""Regularizers on the weights of an existing model."""

import keras

from tfcompress.core.errors import shown
from tfcompress.core.kinds import Converted
from tfcompress.core.nouns import Regularizer, WeightTransform

_EXPECTED = (
    "a tfc.regularizers or keras.regularizers object, or the name or {name: arguments} of "
    "one of tfc.regularizers"
)


def as_regularizer(value):
    """A regularizer from tfcompress or Keras."""
    if isinstance(value, keras.regularizers.Regularizer):
        return value
    if isinstance(value, (str, dict)):
        return Regularizer.get(value)
    raise ValueError(f"got {shown(value)}, expected {_EXPECTED}.")


REGULARIZER = Converted(as_regularizer, _EXPECTED)


class Penalty(WeightTransform):
    """Leaves a weight unchanged and adds a penalty on it to the loss.

    `y = w`, `loss + r(w)`: what `kernel_regularizer=` does for a layer that is not yet
    built. It can be combined with other transforms; the penalty is on the latent
    weight, before all of them, so that masked weights shrink too, even after a `Mask`.
    An existing regularizer of the layer is added to it. `tfc.strip` removes it.

    Args:
        regularizer: a `tfc.regularizers` or `keras.regularizers` object, or the name or
            `{name: arguments}` of one of `tfc.regularizers`.

    Raises:
        ValueError: if it is not a regularizer, or does not support weights of that shape.

    Source: Krogh and Hertz, "A Simple Weight Decay Can Improve Generalization" (1991).

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        >>> _ = model.layers[0].kernel.assign(np.full((2, 3), 0.5))
        >>> penalty = Penalty(tfc.regularizers.L1(0.1))
        >>> penalized = tfc.compress(model, {".*": [penalty, "mask"]})
        >>> round(float(sum(penalized.losses)), 6)
        0.3
    """

    def __init__(self, regularizer: REGULARIZER):
        self.regularizer = regularizer

    def build(self, layer, weight, layout):
        """Stores the weight and the axes of its filters and channels."""
        self._weight = weight
        self._of_weight = self.regularizer
        if isinstance(self.regularizer, Regularizer):
            self._of_weight = self.regularizer.of_layout(layout)

    def __call__(self, weight, training=False):
        """The weight itself."""
        return weight

    def penalty(self):
        """The regularizer's penalty on the weight."""
        return self._of_weight(keras.ops.convert_to_tensor(self._weight))

    def bake(self, weight):
        """The weight itself."""
        return weight
