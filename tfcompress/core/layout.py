"""Which axes of a weight are its outputs: one answer for all methods.

A dense kernel is `(inputs, outputs)`, a convolution `(height, width, inputs,
outputs)`, but a depthwise kernel is `(height, width, channels, multiplier)` and a
transposed convolution `(height, width, outputs, inputs)`. The canonical form of a
weight has all output axes merged into one last axis, so that a filter is always
`canonical[..., k]`, whatever the layer.
"""

import dataclasses
import math

import keras
import numpy as np

_TRANSPOSED = (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)
_DEPTHWISE = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)


@dataclasses.dataclass(frozen=True)
class Layout:
    """Shape of a weight and the axes that index its outputs.

    >>> depthwise = Layout((3, 3, 8, 2), output_axes=(2, 3))
    >>> depthwise.canonical_shape
    (3, 3, 16)
    >>> Layout((3, 3, 4, 8), output_axes=(2,)).canonical_shape  # transposed conv
    (3, 3, 8, 4)
    """

    shape: tuple
    output_axes: tuple
    # The axes of input channels; a depthwise kernel has none.
    input_axes: tuple = dataclasses.field(default=(), repr=False, compare=False)

    @property
    def reduction_axes(self):
        """The axes that are not outputs, those within a filter."""
        return tuple(a for a in range(len(self.shape)) if a not in self.output_axes)

    @property
    def num_outputs(self):
        """Number of filters or neurons, 1 for a weight without an output axis."""
        return math.prod(self.shape[a] for a in self.output_axes)

    @property
    def canonical_shape(self):
        """`(*receptive_field, inputs, outputs)`."""
        return (*(self.shape[a] for a in self.reduction_axes), self.num_outputs)

    def to_canonical(self, array):
        """Moves the output axes to the end and merges them."""
        order = self.reduction_axes + self.output_axes
        return np.transpose(array, order).reshape(self.canonical_shape)

    def from_canonical(self, array):
        """The inverse of `to_canonical`."""
        order = self.reduction_axes + self.output_axes
        moved = np.reshape(array, [self.shape[a] for a in order])
        return np.transpose(moved, np.argsort(order))


def layout(layer, weight):
    """The `Layout` of `weight`, a variable of `layer`.

    Args:
        layer: the layer that owns the variable itself, not one that contains it.
        weight: a Keras variable.

    >>> dense = keras.layers.Dense(3); dense.build((None, 5))
    >>> layout(dense, dense.kernel)
    Layout(shape=(5, 3), output_axes=(1,))
    """
    shape = tuple(weight.shape)
    rank = len(shape)
    if rank < 2:
        return Layout(shape, ())
    if isinstance(layer, _TRANSPOSED):
        return Layout(shape, (rank - 2,), (rank - 1,))
    if isinstance(layer, _DEPTHWISE) or weight.name == "depthwise_kernel":
        return Layout(shape, (rank - 2, rank - 1))
    if isinstance(layer, keras.layers.EinsumDense) and weight.name == "kernel":
        outputs = _einsum_output_axes(layer.equation, rank)
        inputs = tuple(axis for axis in range(rank) if axis not in outputs)
        return Layout(shape, outputs, inputs)
    return Layout(shape, (rank - 1,), (rank - 2,))


def _einsum_output_axes(equation, rank):
    operands, result = equation.replace("...", "").split("->")
    _, kernel = operands.split(",")
    axes = tuple(i for i, label in enumerate(kernel) if label in result)
    return axes or (rank - 1,)
