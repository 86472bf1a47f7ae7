"""Base of all rewrites that approximate a kernel by smaller ones."""

import math

import keras
import numpy as np

from tfcompress.core.errors import check_finite
from tfcompress.core.matrices import labels
from tfcompress.core.nouns import LayerRewrite
from tfcompress.factorization.ranks import Fixed, full_ranks

AXES = ("depth", "height", "width")
_DEPTHWISE = {
    keras.layers.Conv1D: keras.layers.DepthwiseConv1D,
    keras.layers.Conv2D: keras.layers.DepthwiseConv2D,
}
CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
# Arguments that only the last layer of a chain has.
_INNER = {
    "use_bias": False,
    "activation": "linear",
    "activity_regularizer": None,
    "bias_regularizer": None,
    "bias_constraint": None,
}


class Factorizer(LayerRewrite):
    """Replaces a layer by a chain of layers with smaller kernels.

    The last of the new layers keeps the name, bias and activation; the others are called
    `<name>_<role>`. Every kernel keeps the regulariser; a constraint on the kernel does not
    apply to its factors and is dropped. A new method implements `reason`, `tensor`,
    `kernel`, `matrices`, `decompose`, `compose` and `chain`.

    Attributes:
        kinds: the layer classes that it replaces; subclasses are not replaced, since they
            may compute something else.
        rank: a `Rank`.
    """

    kinds = ()
    rank = Fixed(1)

    def reason(self, *layers):
        """Why layers of the right class are not replaced, or None."""

    def tensor(self, *layers):
        """The kernel as an array with its axes in the order for the decomposition."""
        raise NotImplementedError

    def kernel(self, tensor, *layers):
        """The inverse of `tensor`: the array in the layout of the kernel."""
        raise NotImplementedError

    def matrices(self, tensor):
        """One matrix, or stack of matrices, per rank."""
        raise NotImplementedError

    def limits(self, tensor):
        """The full rank for each of `matrices`."""
        return full_ranks(self.matrices(tensor))

    def feasible(self, ranks, shape):
        """Ranks reduced to what the other ranks allow to be used."""
        return ranks

    def decompose(self, tensor, ranks):
        """Kernels of the layers in the chain that have weights, without axes of size 1."""
        raise NotImplementedError

    def compose(self, factors, shape):
        """The approximation from the factors of `decompose`, an array of `shape`."""
        raise NotImplementedError

    def chain(self, ranks, *layers):
        """The new layers, not yet built."""
        raise NotImplementedError

    def objection(self, *layers):
        """Why the layers are not replaced, as text, or None."""
        layer = layers[-1]
        if getattr(layer, "is_compressed", False):
            return "compressed: factorise before tfc.compress, or after tfc.strip"
        if type(layer) not in self.kinds:
            names = [kind.__name__ for kind in self.kinds]
            return f"{type(layer).__name__}, not {' or '.join(names)}"
        if layer.dtype_policy.quantization_mode is not None:
            return "quantized by Keras: factorise before layer.quantize"
        if getattr(layer, "lora_enabled", False):
            return "has LoRA weights in addition to its kernel"
        if getattr(layer, "groups", 1) > 1:
            return f"convolution in {layer.groups} groups"
        return self.reason(*layers) or self._value_objection(*layers)

    def _value_objection(self, *layers):
        tensor = self.tensor(*layers)
        if not tensor.any():
            return "a kernel of zeros"
        least = (1,) * len(self.limits(tensor))
        return self.rank.objection(
            self._macs_ratio(self.feasible(least, tensor.shape), *layers)
        )

    def matches(self, *layers):
        """Whether there is no `objection`."""
        return self.objection(*layers) is None

    def ranks(self, *layers):
        """The ranks that `rank` chooses, as a tuple of integers."""
        tensor = self.tensor(*layers)

        def macs_ratio(ranks):
            return self._macs_ratio(self.feasible(ranks, tensor.shape), *layers)

        matrices, limits = self.matrices(tensor), self.limits(tensor)
        return self.feasible(self.rank(matrices, limits, macs_ratio), tensor.shape)

    def _macs_ratio(self, ranks, *layers):
        shape = layers[0].input.shape
        after, _ = work(self.chain(ranks, *layers), shape)
        before, _ = work(layers, shape)
        return after / before

    def approximated(self, *layers):
        """The kernel that the new layers represent, in the shape of the old one."""
        tensor = self.tensor(*layers)
        factors = self.decompose(tensor, self.ranks(*layers))
        kernel = self.compose(factors, tensor.shape)
        return self.kernel(kernel, *layers)

    def build(self, ranks, *layers):
        """The new layers with their weights, and the error of the kernel.

        Returns:
            The list of layers and `‖W - Ŵ‖ / ‖W‖`, Frobenius norms.
        """
        layer, chain = layers[-1], self.chain(ranks, *layers)
        tensor = self.tensor(*layers)
        factors = self.decompose(tensor, ranks)
        shape = layers[0].input.shape
        for new in chain:
            new.build(shape)
            shape = new.compute_output_shape(shape)
        weighted = [new for new in chain if new.weights]
        for new, factor in zip(weighted, factors, strict=True):
            new.kernel.assign(np.reshape(factor, new.kernel.shape))
        if layer.bias is not None:
            bias = keras.ops.convert_to_numpy(layer.bias)
            weighted[-1].bias.assign(np.reshape(bias, weighted[-1].bias.shape))
        lost = np.linalg.norm(tensor - self.compose(factors, tensor.shape))
        return chain, float(lost / np.linalg.norm(tensor))

    def __call__(self, *layers):
        """The new layers; the last one keeps the name."""
        return self.build(self.ranks(*layers), *layers)[0]


def kernel_of(layer):
    """The kernel in double precision, checked for NaN."""
    kernel = keras.ops.convert_to_numpy(layer.kernel).astype(np.float64)
    check_finite(f"Weight {layer.name}/kernel", kernel)
    return kernel


def unfold(tensor, axis):
    """The matrix with `axis` as rows and all other axes as columns.

    >>> unfold(np.arange(8).reshape(2, 2, 2), 1)
    array([[0, 1, 4, 5],
           [2, 3, 6, 7]])
    """
    return np.moveaxis(tensor, axis, 0).reshape(tensor.shape[axis], -1)


def truncated_svd(matrix, rank):
    """`(U sqrt(S), sqrt(S) V)` for the largest singular values, also for a stack.

    The singular values are divided evenly between the factors, so that both get the same
    range of values, for training and for quantization.

    >>> left, right = truncated_svd(np.diag([4.0, 1.0]), 1)
    >>> left @ right
    array([[4., 0.],
           [0., 0.]])
    """
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    roots = np.sqrt(values[..., :rank])
    left = left[..., :rank] * roots[..., None, :]
    return left, right[..., :rank, :] * roots[..., None]


def like(layer, role=None, **changes):
    """An unbuilt layer with the arguments of `layer`, except for `changes`.

    Args:
        layer: a convolution, dense or einsum layer.
        role: suffix of the name of a layer before the last one; None for the last, which
            keeps the name, bias and activation.
        **changes: other arguments.

    >>> dense = keras.layers.Dense(8, activation="relu", name="fc")
    >>> like(dense, "in", units=2).name, like(dense).activation.__name__
    ('fc_in', 'relu')
    """
    config = layer.get_config()
    # Initialisers may hold arrays of the old shape; all weights are assigned anyway.
    for name in ("kernel_initializer", "bias_initializer"):
        config.pop(name)
    config.update(kernel_constraint=None, activation=layer.activation)
    if role:
        inner = {name: value for name, value in _INNER.items() if name in config}
        config.update(inner, name=f"{layer.name}_{role}")
    return type(layer).from_config({**config, **changes})


def pointwise(layer, role=None, filters=None, **changes):
    """`like`, as a 1x1 convolution; a dense layer stays a dense layer."""
    if isinstance(layer, keras.layers.Dense):
        return like(layer, role, units=filters or layer.units)
    one = {"kernel_size": 1, "strides": 1, "dilation_rate": 1, "padding": "valid"}
    return like(layer, role, **{**one, "filters": filters or layer.filters, **changes})


def along(layer, axis, role=None, filters=None):
    """`like`, with the kernel size, strides and dilation of only one axis.

    >>> convolution = keras.layers.Conv2D(8, 3, strides=2, name="c")
    >>> column = along(convolution, 0, "height", filters=4)
    >>> column.kernel_size, column.strides, column.filters
    ((3, 1), (2, 1), 4)
    """
    filters = filters or layer.filters
    return like(layer, role, filters=filters, **_of_axis(layer, axis))


def depthwise(layer, role, axis=None, depth_multiplier=1):
    """A depthwise convolution with the kernel size of `layer`, or of one of its axes."""
    return _DEPTHWISE[type(layer)](
        depth_multiplier=depth_multiplier,
        padding=layer.padding,
        data_format=layer.data_format,
        use_bias=False,
        depthwise_regularizer=layer.kernel_regularizer,
        trainable=layer.trainable,
        dtype=layer.dtype_policy,
        name=f"{layer.name}_{role}",
        **_of_axis(layer, axis),
    )


def axis_names(layer):
    """Names of the spatial axes: width; height, width; depth, height, width."""
    return AXES[-len(layer.kernel_size) :]


def _of_axis(layer, axis=None):
    """The arguments of a convolution for one axis, or for all without `axis`."""
    return {
        name: tuple(
            size if axis in (i, None) else 1
            for i, size in enumerate(getattr(layer, name))
        )
        for name in ("kernel_size", "strides", "dilation_rate")
    }


def work(layers, shape):
    """MACs and kernel elements of a chain of layers, built or not.

    Counted as in `tfc.report`: `MACs = kernel elements * positions`, for one sample;
    unknown sizes count as 1.

    Args:
        layers: dense, convolution and einsum layers, and layers without weights.
        shape: shape of the input, with the batch.

    >>> work([keras.layers.Conv2D(4, 3), keras.layers.Conv2D(2, 1)], (None, 8, 8, 3))
    (4176, 116)
    """
    macs = elements = 0
    for layer in layers:
        outputs = _output_shape(layer, shape)
        kernel, positions = _kernel_and_positions(layer, shape, outputs)
        macs += kernel * positions
        elements += kernel
        shape = outputs
    return macs, elements


def _kernel_and_positions(layer, inputs, outputs):
    if isinstance(layer, keras.layers.EinsumDense):
        return _einsum_kernel_and_positions(layer, inputs, outputs)
    channels = 1 if getattr(layer, "data_format", None) == "channels_first" else -1
    sizes = list(outputs[1:])
    del sizes[channels if channels < 0 else 0]
    positions = math.prod(size or 1 for size in sizes)
    if isinstance(layer, keras.layers.Dense):
        return inputs[-1] * layer.units, positions
    if isinstance(layer, CONVOLUTIONS):
        window = math.prod(layer.kernel_size)
        return window * inputs[channels] * layer.filters, positions
    if isinstance(layer, tuple(_DEPTHWISE.values())):
        window = math.prod(layer.kernel_size)
        return window * inputs[channels] * layer.depth_multiplier, positions
    return 0, positions


def _einsum_kernel_and_positions(layer, inputs, outputs):
    source, kernel, result = labels(layer.equation)
    sizes = {
        **dict(zip(source, inputs, strict=True)),
        **dict(zip(result, outputs, strict=True)),
    }
    seen = [sizes[label] or 1 for label in result[1:] if label not in kernel]
    return math.prod(sizes[label] for label in kernel), math.prod(seen)


def _output_shape(layer, shape):
    outputs = layer.compute_output_shape(shape)
    if not isinstance(layer, keras.layers.EinsumDense):
        return outputs
    # It knows no sizes except those that it was given.
    source, _, result = labels(layer.equation)
    known = dict(zip(source, shape, strict=True))
    return tuple(n or known.get(o) for o, n in zip(result, outputs, strict=True))
