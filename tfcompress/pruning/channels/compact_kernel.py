"""Convolution kernels without rows and columns of zeros."""

import math

import keras
import numpy as np

from tfcompress.core.keras_internals import symbolic_calls
from tfcompress.core.nouns import LayerRewrite


class CompactKernel(LayerRewrite):
    """Drops kernel rows and columns that are zero in all filters, exactly.

    Zero rows at the edges are cut off; if the rest lies on every n-th row, the kernel
    is stored without the rows in between and dilated by n. Padding that the smaller
    kernel no longer adds is inserted before it (`ZeroPadding2D`), or the input is
    cropped, so that each output stays at its position.

    `MACs' = MACs (h' w') / (h w)`.

    Source: Anwar et al., "Structured Pruning of Deep Convolutional Neural Networks"
    (2015), intra-kernel strided sparsity.

    >>> conv = keras.layers.Conv2D(4, 5, padding="same")
    >>> model = keras.Sequential([keras.Input((8, 8, 3)), conv])
    >>> mask = np.zeros((5, 5, 1, 1)); mask[1:4:2, 1:4:2] = 1
    >>> _ = conv.kernel.assign(conv.kernel.numpy() * mask)
    >>> small = tfc.rewrites.apply(model, CompactKernel()).layers[-1]
    >>> small.kernel_size, small.dilation_rate
    ((2, 2), (2, 2))
    """

    def matches(self, layer):
        """A 2-D convolution, depthwise or not, with rows or columns of zeros."""
        kinds = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
        if not isinstance(layer, kinds) or len(symbolic_calls(layer)) != 1:
            return False
        if layer.data_format != "channels_last" or not layer.kernel.numpy().any():
            return False
        is_moving = layer.padding == "same" and max(layer.strides) > 1
        if is_moving and None in layer.input.shape[1:3]:
            return False
        return [len(span) for span in _spans(layer)] != list(layer.kernel_size)

    def __call__(self, layer):
        """The convolution, after padding and cropping where necessary."""
        spans = _spans(layer)
        margins = [_margins(layer, span, axis) for axis, span in enumerate(spans)]
        stays_same = all(_is_same(layer, s, a, margins[a]) for a, s in enumerate(spans))
        smaller = type(layer).from_config(
            {
                **layer.get_config(),
                "kernel_size": [len(span) for span in spans],
                "dilation_rate": [
                    span.step * layer.dilation_rate[axis]
                    for axis, span in enumerate(spans)
                ],
                "padding": "same" if stays_same else "valid",
            }
        )
        layers = [*([] if stays_same else _explicit(margins, layer.name)), smaller]
        shape = layer.input.shape
        for one in layers:
            one.build(shape)
            shape = one.compute_output_shape(shape)
        rows, columns = spans
        smaller.kernel.assign(layer.kernel.numpy()[np.ix_(rows, columns)])
        if layer.use_bias:
            smaller.bias.assign(layer.bias)
        return layers


def _spans(layer):
    """For both axes, the positions from the first to the last that is not zero."""
    kernel = layer.kernel.numpy()
    spans = []
    for axis in (0, 1):
        others = tuple(a for a in range(kernel.ndim) if a != axis)
        used = np.flatnonzero(kernel.any(axis=others)).tolist()
        # Keras does not support dilation together with strides.
        step = (
            1
            if max(layer.strides) > 1
            else math.gcd(*(row - used[0] for row in used)) or 1
        )
        spans.append(range(used[0], used[-1] + 1, step))
    return spans


def _margins(layer, span, axis):
    """Rows of zeros that the smaller kernel needs before and after; negative to crop."""
    dilation, size = layer.dilation_rate[axis], layer.kernel_size[axis]
    before, after = _padding(layer, axis, (size - 1) * dilation + 1)
    return before - span[0] * dilation, after - (size - 1 - span[-1]) * dilation


def _padding(layer, axis, extent):
    """The rows that `padding` adds for a kernel that spans `extent` rows."""
    if layer.padding == "valid":
        return 0, 0
    stride = layer.strides[axis]
    rows = layer.input.shape[1 + axis] or 0
    total = extent - stride if rows % stride == 0 else extent - rows % stride
    total = max(total, 0)
    return total // 2, total - total // 2


def _is_same(layer, span, axis, margins):
    extent = (span[-1] - span[0]) * layer.dilation_rate[axis] + 1
    return layer.padding == "same" and _padding(layer, axis, extent) == margins


def _explicit(margins, name):
    """Layers that add and crop rows."""
    padding = [tuple(max(m, 0) for m in pair) for pair in margins]
    cropping = [tuple(max(-m, 0) for m in pair) for pair in margins]
    if np.any(padding):
        yield keras.layers.ZeroPadding2D(padding, name=f"{name}_padding")
    if np.any(cropping):
        yield keras.layers.Cropping2D(cropping, name=f"{name}_cropping")
