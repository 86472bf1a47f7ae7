"""Norms of groups of weights that should be removed together."""

import math

import keras

from tfcompress.core.kinds import Each, Integer, Number, OneOf
from tfcompress.core.nouns import Regularizer

# Makes the gradient at zero zero rather than NaN.
_EPSILON = 1e-16


class GroupLasso(Regularizer):
    """`strength Σ_g sqrt(|g|) ‖w_g‖₂`, over groups of `|g|` weights.

    All weights of a group become zero together. The gradient is
    `strength sqrt(|g|) w / sqrt(‖w_g‖² + 1e-16)`, 0 at 0; the proximal step
    `w max(1 - step strength sqrt(|g|) / ‖w_g‖, 0)`. Gradients alone only bring weights
    close to zero: use `tfc.callbacks.ProximalStep`, or prune the small ones.

    These are the groups of *structured sparsity learning*: `tfc.shrink` removes filters
    and channels that are zero, and rows and columns of a convolution that are zero in
    all filters. A residual block with a layer whose `"layer"` group is zero does
    nothing; `tfc.shrink` leaves one channel inside such a block, since a layer needs at
    least one. For single weights use `L1` or `SmoothedL12`: within a group that stays,
    this penalty does not distinguish weights.

    Args:
        strength: 0 or more.
        groups: `"filters"`, all weights that produce one output; `"channels"`, all that
            read one input; `"shapes"`, those at one position in all filters; `"layer"`,
            the whole kernel; or the axes that index the groups, with sums over the
            others: `(-1,)` are the filters of a dense layer or a convolution.

    A regularizer that is passed to a layer cannot know the kind of layer, and assumes
    outputs on the last axis and inputs on the one before. For transposed convolutions
    (outputs `(-2,)`, inputs `(-1,)`) and depthwise ones (outputs `(-2, -1)`), pass
    axes; `tfc.transforms.Penalty` and `ProximalStep` determine them.

    Raises:
        ValueError: on call, if a weight has no such axes.

    Source: Yuan and Lin, "Model selection and estimation in regression with grouped
    variables" (2006); SSL: Wen et al., "Learning Structured Sparsity in Deep Neural
    Networks" (2016), section 3.

    Example:
        >>> kernel = np.array([[3.0, 0.0], [4.0, 0.0]])
        >>> round(float(GroupLasso(1.0, "filters")(kernel)), 4)
        7.0711
        >>> GroupLasso(1.0, "filters").proximal(kernel, step=2.0**0.5).numpy()
        array([[1.8, 0. ],
               [2.4, 0. ]])
    """

    def __init__(
        self,
        strength: Number(0) = 1e-4,
        groups: OneOf("filters", "channels", "shapes", "layer")
        | Each(Integer(), "axes that number the groups") = "filters",
    ):
        self.strength = strength
        self.groups = groups if isinstance(groups, str) else tuple(groups)

    def __call__(self, weight):
        """The penalty."""
        axes, size = self._summed(weight.shape)
        squares = keras.ops.sum(keras.ops.square(weight), axes)
        norms = keras.ops.sum(keras.ops.sqrt(squares + _EPSILON))
        return self.strength * math.sqrt(size) * norms

    def proximal(self, weight, step):
        """Each group, shrunk or zero."""
        axes, size = self._summed(weight.shape)
        squares = keras.ops.sum(keras.ops.square(weight), axes, keepdims=True)
        norms = keras.ops.sqrt(squares + _EPSILON)
        return weight * keras.ops.relu(
            1 - step * (self.strength * math.sqrt(size)) / norms
        )

    def of_layout(self, layout):
        """The same regularizer with axes in place of names.

        Raises:
            ValueError: if a weight has no such axes.
        """
        if not isinstance(self.groups, str):
            return self
        axes = {
            "filters": layout.output_axes,
            "channels": layout.input_axes,
            "shapes": layout.reduction_axes if layout.output_axes else (),
            "layer": (),
        }[self.groups]
        if not axes and self.groups != "layer":
            self._refuse(layout.shape)
        return GroupLasso(self.strength, axes)

    def _summed(self, shape):
        """The axes that are summed over, and the number of weights per group."""
        rank = len(shape)
        axes = self.groups
        if isinstance(axes, str):
            if axes != "layer" and rank < 2:
                self._refuse(shape)
            axes = {
                "filters": (rank - 1,),
                "channels": (rank - 2,),
                "shapes": tuple(range(rank - 1)),
                "layer": (),
            }[axes]
        if any(not -rank <= axis < rank for axis in axes):
            self._refuse(shape)
        numbering = {axis % rank for axis in axes}
        summed = tuple(axis for axis in range(rank) if axis not in numbering)
        return summed, math.prod(shape[axis] for axis in summed)

    def _refuse(self, shape):
        raise ValueError(
            f"{self!r} got a weight of shape {tuple(shape)}, which has no such groups: "
            "expected the kernel of a layer that has these axes (a depthwise kernel has "
            "no input channels, a bias no filters). Choose other layers in the rule, or "
            "other groups."
        )
