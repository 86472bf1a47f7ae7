"""Kernels as matrices, and the inputs of their layers as the rows that these multiply.

A kernel is `(groups, inputs, outputs)`: one group for dense and convolution layers, one
per channel for depthwise convolution. A table of embeddings is one group as well: its rows
are the outputs, and it has no rows of inputs. A convolution's inputs are the weights of its
window, and its rows the patches that the window covers. The inputs of an `EinsumDense`
are the axes that it sums over, its outputs those that it produces, both in the order of
the kernel.
"""

import math

import keras
import numpy as np
import tensorflow as tf

L = keras.layers


def has_matrix(layer):
    """Whether a layer multiplies its inputs by such a kernel."""
    if isinstance(layer, (L.Conv1D, L.Conv2D)):
        return layer.data_format == "channels_last" and layer.padding in (
            "same",
            "valid",
        )
    if isinstance(layer, L.DepthwiseConv2D):
        return layer.data_format == "channels_last"
    if isinstance(layer, L.EinsumDense):
        return not layer.quantization_mode and _is_product(layer.equation)
    return isinstance(layer, L.Dense) and not layer.quantization_mode


def is_table(layer):
    """Whether a layer looks up rows of a float table."""
    return isinstance(layer, L.Embedding) and not layer.quantization_mode


def kernel_of(layer):
    """The variable that is a matrix: the kernel, or the table of embeddings."""
    return layer.embeddings if isinstance(layer, L.Embedding) else layer.kernel


def to_matrix(layer, kernel):
    """The kernel (NumPy array) as `(groups, inputs, outputs)`."""
    if isinstance(layer, L.Embedding):
        return kernel.T[None]
    if isinstance(layer, L.EinsumDense):
        summed, made = _kernel_axes(layer.equation)
        size = math.prod(kernel.shape[axis] for axis in summed)
        return kernel.transpose(*summed, *made).reshape(1, size, -1)
    groups, outputs = _groups(layer)
    return kernel.reshape(-1, groups, outputs).transpose(1, 0, 2)


def from_matrix(layer, matrix):
    """The inverse of `to_matrix`."""
    if isinstance(layer, L.Embedding):
        return matrix[0].T
    if isinstance(layer, L.EinsumDense):
        order = sum(_kernel_axes(layer.equation), ())
        moved = matrix.reshape([layer.kernel.shape[axis] for axis in order])
        return moved.transpose(np.argsort(order))
    return matrix.transpose(1, 0, 2).reshape(layer.kernel.shape)


def _groups(layer):
    """`(groups, outputs of a group)`."""
    if isinstance(layer, L.DepthwiseConv2D):
        return tuple(layer.kernel.shape[-2:])
    groups = getattr(layer, "groups", 1)
    return groups, layer.kernel.shape[-1] // groups


def bias_of(layer):
    """The bias added to the outputs of the matrix, one number per output, or None."""
    bias = getattr(layer, "bias", None)
    if not isinstance(layer, L.EinsumDense) or bias is None:
        return bias
    _, kernel, _ = labels(layer.equation)
    made = "".join(kernel[axis] for axis in _kernel_axes(layer.equation)[1])
    return bias if layer.bias_axes == made else None


def rows(layer, inputs):
    """The rows that the kernel multiplies, a tensor `(groups, rows, inputs)`."""
    if isinstance(layer, L.Dense):
        return tf.reshape(inputs, (1, -1, inputs.shape[-1]))
    if isinstance(layer, L.EinsumDense):
        return _summed_last(layer, inputs)
    sizes, strides, rates = layer.kernel_size, layer.strides, layer.dilation_rate
    if isinstance(layer, L.Conv1D):
        inputs = tf.expand_dims(inputs, 1)
        sizes, strides, rates = (1, *sizes), (1, *strides), (1, *rates)
    patches = tf.image.extract_patches(
        inputs,
        (1, *sizes, 1),
        (1, *strides, 1),
        (1, *rates, 1),
        layer.padding.upper(),
    )
    groups, _ = _groups(layer)
    window = math.prod(sizes)
    patches = tf.reshape(patches, (-1, window, groups, inputs.shape[-1] // groups))
    return tf.reshape(
        tf.transpose(patches, (2, 0, 1, 3)),
        (groups, -1, window * inputs.shape[-1] // groups),
    )


def labels(equation):
    """The axis labels of the inputs, the kernel and the outputs."""
    operands, made = equation.replace(" ", "").split("->")
    return (*operands.split(","), made)


def _is_product(equation):
    """Whether each kernel axis is summed over or an output, and no other is summed."""
    read, kernel, made = (set(part) - {"."} for part in labels(equation))
    return not kernel & read & made and kernel <= read | made and read <= kernel | made


def _kernel_axes(equation):
    """The axes of the kernel that are summed over, and its output axes."""
    read, kernel, _ = labels(equation)
    summed = tuple(axis for axis, label in enumerate(kernel) if label in read)
    return summed, tuple(axis for axis in range(len(kernel)) if axis not in summed)


def factor_equations(equation):
    """The equations of two einsums in sequence, whose kernels are factors of a kernel.

    The first kernel has the axes that are summed over and then a new one, over which the
    second sums: as matrices, they are `(inputs, rank)` and `(rank, outputs)`.

    >>> factor_equations("abc,cde->abde")
    ('abc,cf->abf', 'abf,fde->abde')
    """
    read, kernel, made = labels(equation)
    new = next(c for c in "abcdefghijklmnopqrstuvwxyz" if c not in equation)
    inputs, outputs = (
        "".join(kernel[axis] for axis in axes) for axes in _kernel_axes(equation)
    )
    between = "".join(label for label in made if label not in kernel) + new
    return f"{read},{inputs}{new}->{between}", f"{between},{new}{outputs}->{made}"


def _summed_last(layer, inputs):
    """Rows of the inputs of an `EinsumDense`, with axes in the kernel's order."""
    read, kernel, _ = labels(layer.equation)
    rank = len(inputs.shape)
    before, _, after = read.partition("...")
    places = dict(zip(before, range(rank), strict=False))
    places |= zip(after, range(rank - len(after), rank), strict=True)
    summed = [places[kernel[axis]] for axis in _kernel_axes(layer.equation)[0]]
    others = [axis for axis in range(rank) if axis not in summed]
    size = math.prod(inputs.shape[axis] for axis in summed)
    return tf.reshape(tf.transpose(inputs, [*others, *summed]), (1, -1, size))
