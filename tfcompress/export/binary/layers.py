"""Layers that are the operations `tfc.BConv2D`, `tfc.BDense` and `tfc.BMaxPool2D`.

The operations are tested against what the layers compute here. Activations are float,
or bits as packed by `bits`. A kernel is one plane of bits `w = p`, or two for ternary
weights, `w = (p + q) / 2`, where a zero is `p = +1, q = -1`.
"""

import keras
import numpy as np
import tensorflow as tf

from tfcompress.export.binary.bits import (
    merge_last,
    num_words,
    packed,
    packed_tensor,
    split_last,
    unpacked_tensor,
)
from tfcompress.export.binary.composite import composite


class _BinaryLayer(keras.layers.Layer):
    """Sums of signed activations, then `multiplier sum + bias` or `sum < threshold`.

    With `relu`, negative sums are treated as zero.
    """

    def __init__(
        self,
        num_outputs,
        channels,
        planes,
        binarize,
        relu=False,
        writes_bits=False,
        **kwargs,
    ):
        super().__init__(trainable=False, **kwargs)
        self.num_outputs = num_outputs
        self.channels = channels
        self.planes = planes
        self.binarize = binarize
        self.relu = relu
        self.writes_bits = writes_bits

    def build(self, input_shape=None):
        """Creates the packed kernel, and either multiplier and bias or a threshold."""
        self.filter = self._add("filter", "int32", self._filter_shape())
        if self.writes_bits:
            self.thresholds = self._add("threshold", "int32")
            self._tail = [self.thresholds]
        else:
            self.multiplier = self._add("multiplier", "float32")
            self.bias = self._add("bias", "float32")
            self._tail = [self.multiplier, self.bias]
        self._operation = composite(
            self.operation_name, self._attributes(), self._compute
        )

    def _add(self, name, dtype, shape=None):
        return self.add_weight(
            name=name,
            shape=(self.num_outputs,) if shape is None else shape,
            dtype=dtype,
            initializer="zeros",
            trainable=False,
            autocast=False,
        )

    def assign(self, signs, *tail):
        """Sets the weights.

        Args:
            signs: array of -1, 0 and 1, `(outputs, ..., channels)`.
            *tail: multiplier and bias, or threshold; each `(outputs,)`.
        """
        planes = [signs < 0, signs <= 0][: self.planes]
        self.filter.assign(packed(np.stack(planes)))
        for variable, values in zip(self._tail, tail, strict=True):
            variable.assign(values)

    def call(self, inputs):
        """The operation."""
        weights = [self.filter, *self._tail]
        return self._operation(
            tf.convert_to_tensor(inputs), *map(tf.convert_to_tensor, weights)
        )

    def compute_output_spec(self, inputs):
        """The shape and type of the output."""
        channels = num_words(self.num_outputs) if self.writes_bits else self.num_outputs
        dtype = "int32" if self.writes_bits else "float32"
        return keras.KerasTensor((*self._positions(inputs), channels), dtype)

    def _compute(self, inputs, filters, *tail):
        kernel = tf.reduce_mean(unpacked_tensor(filters, self.channels), axis=0)
        sums = self._sums(self._values(inputs), kernel)
        if self.writes_bits:
            return packed_tensor(sums < tf.cast(tail[0], tf.float32))
        multiplier, bias = tail
        sums = tf.nn.relu(sums) if self.relu else sums
        return sums * multiplier + bias

    def _values(self, inputs):
        if inputs.dtype == tf.int32:
            return unpacked_tensor(inputs, self.channels)
        if not self.binarize:
            return inputs
        return tf.where(inputs >= 0, tf.ones_like(inputs), -tf.ones_like(inputs))

    def get_config(self):
        """The constructor's arguments."""
        config = super().get_config()
        config.pop("trainable")
        names = (
            "num_outputs",
            "channels",
            "planes",
            "binarize",
            "relu",
            "writes_bits",
        )
        return {**config, **{name: getattr(self, name) for name in names}}


class BConv2D(_BinaryLayer):
    """Convolution of images, or images of bits, with a kernel of bits."""

    operation_name = "tfc.BConv2D"

    def __init__(self, *args, kernel_size, strides, dilation_rate, padding, **kwargs):
        super().__init__(*args, **kwargs)
        self.kernel_size = tuple(kernel_size)
        self.strides = tuple(strides)
        self.dilation_rate = tuple(dilation_rate)
        self.padding = padding

    def _filter_shape(self):
        words = num_words(self.channels)
        return (self.planes, self.num_outputs, *self.kernel_size, words)

    def _attributes(self):
        return {
            "channels": self.channels,
            "stride_height": self.strides[0],
            "stride_width": self.strides[1],
            "dilation_height": self.dilation_rate[0],
            "dilation_width": self.dilation_rate[1],
            "same_padding": self.padding == "same",
            "binarize": self.binarize,
            "relu": self.relu,
        }

    def _positions(self, inputs):
        return _windows(
            inputs, self.kernel_size, self.strides, self.dilation_rate, self.padding
        )

    def _sums(self, values, kernel):
        return tf.nn.conv2d(
            values,
            tf.transpose(kernel, (1, 2, 3, 0)),
            self.strides,
            self.padding.upper(),
            dilations=self.dilation_rate,
        )

    def get_config(self):
        """The constructor's arguments."""
        names = ("kernel_size", "strides", "dilation_rate", "padding")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


class BDense(_BinaryLayer):
    """Dense layer with a kernel of bits.

    A flattened image of bits has `groups` pixels of `channels` values each.
    """

    operation_name = "tfc.BDense"

    def __init__(self, *args, groups=1, **kwargs):
        super().__init__(*args, **kwargs)
        self.groups = groups

    def _filter_shape(self):
        return (self.planes, self.num_outputs, self.groups, num_words(self.channels))

    def _attributes(self):
        return {
            "channels": self.channels,
            "binarize": self.binarize,
            "relu": self.relu,
        }

    def _values(self, inputs):
        if inputs.dtype != tf.int32:
            return super()._values(inputs)
        pixels = split_last(inputs, num_words(self.channels))
        return merge_last(super()._values(pixels))

    def _positions(self, inputs):
        return inputs.shape[:-1]

    def _sums(self, values, kernel):
        return tf.tensordot(values, merge_last(kernel), [[-1], [-1]])

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "groups": self.groups}


class BMaxPool2D(keras.layers.Layer):
    """Max pooling of images of bits: +1 where any value of a window is +1."""

    def __init__(self, pool_size, strides, padding, **kwargs):
        super().__init__(trainable=False, **kwargs)
        self.pool_size = tuple(pool_size)
        self.strides = tuple(strides)
        self.padding = padding
        attributes = {
            "pool_height": self.pool_size[0],
            "pool_width": self.pool_size[1],
            "stride_height": self.strides[0],
            "stride_width": self.strides[1],
            "same_padding": self.padding == "same",
        }
        self._operation = composite("tfc.BMaxPool2D", attributes, self._compute)

    def call(self, inputs):
        """The operation."""
        return self._operation(tf.convert_to_tensor(inputs))

    def compute_output_spec(self, inputs):
        """The shape and type of the output."""
        positions = _windows(inputs, self.pool_size, self.strides, (1, 1), self.padding)
        return keras.KerasTensor((*positions, inputs.shape[-1]), "int32")

    def _compute(self, inputs):
        values = unpacked_tensor(inputs, 32 * inputs.shape[-1])
        largest = tf.nn.max_pool2d(
            values, self.pool_size, self.strides, self.padding.upper()
        )
        return packed_tensor(largest < 0)

    def get_config(self):
        """The constructor's arguments."""
        config = super().get_config()
        config.pop("trainable")
        names = ("pool_size", "strides", "padding")
        return {**config, **{name: getattr(self, name) for name in names}}


def _windows(images, sizes, strides, dilations, padding):
    """The batch size, and the number of windows of an image, down and across.

    Keras would determine it by tracing the layer, which takes a hundred times as long.
    """
    batch, *extents, _ = images.shape
    reach = [(size - 1) * d for size, d in zip(sizes, dilations, strict=True)]
    if padding == "same":
        reach = [0, 0]
    rest = [extent - r for extent, r in zip(extents, reach, strict=True)]
    return (batch, *(-(-r // stride) for r, stride in zip(rest, strides, strict=True)))
