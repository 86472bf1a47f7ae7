"""Weights that already lie on a grid keep that grid in an integer file."""

import functools

import keras
import numpy as np
import tensorflow as tf

from tfcompress.core.grid import integer_grid
from tfcompress.core.layout import layout
from tfcompress.core.walk import weight_refs

_PER_CHANNEL = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
_PER_TENSOR = (keras.layers.Dense, keras.layers.EinsumDense)


def grid_values(model):
    """Fake quantization for the kernels whose grid the converter would not find itself.

    The converter chooses the scale `max|w| / 127` for each output channel. If weights are
    whole multiples of a larger step, as after 4-bit or codebook training, a fake
    quantization whose range is 127 such steps passes this step to the converter, so that
    the file holds the trained values exactly. (The converter accepts it per channel for
    convolutions, and per tensor for dense layers.)

    Args:
        model: a plain Keras model.

    Returns:
        `{id(variable): function that returns the tensor}`.
    """
    values = {}
    for ref in weight_refs(model):
        if not ref.is_kernel or not isinstance(
            ref.owner, (*_PER_CHANNEL, *_PER_TENSOR)
        ):
            continue
        kernel = ref.variable.numpy()
        matrix = ref.layout.to_canonical(kernel).reshape(-1, ref.layout.num_outputs)
        scales, levels = integer_grid(matrix)
        if not levels.all() or (levels == 127).all():
            continue
        fake_quant = _fake_quant_channels
        if not isinstance(ref.owner, _PER_CHANNEL):
            fake_quant = _fake_quant_tensor
            scales, levels = integer_grid(kernel.reshape(-1, 1))
        if levels.all():
            scales = np.where(scales > 0, scales, 1.0 / 127).astype(np.float32)
            values[id(ref.variable)] = functools.partial(fake_quant, kernel, scales)
    return values


def dense_kernels(model):
    """The kernels of a plain model's dense layers, as arrays `(outputs, inputs)`."""
    return [
        ref.variable.numpy().T
        for ref in weight_refs(model)
        if ref.is_kernel and isinstance(ref.owner, keras.layers.Dense)
    ]


def lies_on_grid(layer, max_level):
    """Whether the kernel of a layer lies on a grid, with one step per output."""
    kernel_layout = layout(layer, layer.kernel)
    matrix = kernel_layout.to_canonical(layer.kernel.numpy())
    _, levels = integer_grid(matrix.reshape(-1, kernel_layout.num_outputs), max_level)
    return bool(levels.all())


def _fake_quant_tensor(kernel, scales):
    reach = float(scales[0]) * 127
    return tf.quantization.fake_quant_with_min_max_vars(
        tf.constant(kernel), -reach, reach, narrow_range=True
    )


def _fake_quant_channels(kernel, scales):
    # A depthwise kernel's outputs span two axes, and only the last one can have scales.
    reach = scales * 127
    merged = tf.constant(kernel.reshape(*kernel.shape[:2], -1, len(scales)))
    rounded = tf.quantization.fake_quant_with_min_max_vars_per_channel(
        merged, -reach, reach, narrow_range=True
    )
    return tf.reshape(rounded, kernel.shape)
