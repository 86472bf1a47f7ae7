"""Blocks that replace one convolution.

A stand-in is a function `(x, layer, norm) -> y`: a block that has the strides, padding,
dilation, bias and output shape of the convolution `layer`. It includes nothing that
follows the convolution except its batch norm: `norm` is applied after the last
convolutions of the block, each of which may have a part of the channels.
"""

import keras

from tfcompress.blocks.convolution import convolution, depthwise
from tfcompress.blocks.shuffle_unit import channel_shuffle

# 6, as in MobileNetV2, would have more parameters than most 3x3 convolutions.
_EXPANSION = 2
_SQUEEZE = 8
_GROUPS = (4, 3, 2)


class Unfit(Exception):
    """Says why a block cannot replace a convolution."""


class Divided:
    """A batch norm, divided between the tensors it is called on, in channel order.

    The parts have its configuration, scale and shift; their moving statistics are reset.

    Args:
        norm: a built BatchNormalization; None for no batch norm at all.
    """

    def __init__(self, norm):
        self._norm = norm
        self._num_parts = self._start = 0

    def __call__(self, x):
        """The tensor after its part of the batch norm."""
        norm = self._norm
        if norm is None:
            return x
        self._num_parts += 1
        start, self._start = self._start, self._start + x.shape[-1]
        is_whole = x.shape[-1] == norm.moving_mean.shape[0]
        name = norm.name if is_whole else f"{norm.name}_{self._num_parts}"
        part = keras.layers.BatchNormalization.from_config(
            {**norm.get_config(), "name": name, "trainable": True}
        )
        y = part(x)
        if norm.scale:
            part.gamma.assign(norm.gamma[start : self._start])
        if norm.center:
            part.beta.assign(norm.beta[start : self._start])
        return y


def depthwise_separable(x, layer, norm):
    """Depthwise k·k, batch norm, ReLU; 1x1."""
    y = _depthwise(x, layer)
    return norm(_linear(y, layer, "pointwise", layer.filters))


def inverted_residual(x, layer, norm):
    """1x1 to twice the channels, ReLU6; depthwise k·k, ReLU6; 1x1. No shortcut."""
    name = f"{layer.name}_expand"
    width = _EXPANSION * x.shape[-1]
    y = _pointwise(x, layer, width, activation="relu6", name=name)
    y = _depthwise(y, layer, activation="relu6")
    return norm(_linear(y, layer, "project", layer.filters))


def fire(x, layer, norm):
    """1x1 to an eighth of the filters, ReLU; then half the filters by 1x1, half by k·k."""
    if layer.filters < 2:
        raise Unfit("1 filter cannot be divided between two expansions")
    ones = layer.filters // 2
    squeezed = max(1, layer.filters // _SQUEEZE)
    z = _pointwise(x, layer, squeezed, name=f"{layer.name}_squeeze")
    size = "x".join(map(str, layer.kernel_size))
    centre = _centre(z, layer)
    parts = [
        _linear(centre, layer, "expand_1x1", ones, strides=layer.strides),
        _linear(
            z,
            layer,
            f"expand_{size}",
            layer.filters - ones,
            layer.kernel_size,
            **_geometry(layer),
        ),
    ]
    return _concatenated([norm(part) for part in parts], layer)


def shuffle(x, layer, norm):
    """Grouped 1x1, ReLU; channel shuffle; depthwise k·k; grouped 1x1. No shortcut."""
    channels = x.shape[-1]
    fitting = [g for g in _GROUPS if not channels % g and not layer.filters % g]
    if not fitting:
        raise Unfit(
            f"no group count of {', '.join(map(str, _GROUPS))} divides both {channels} "
            f"input channels and {layer.filters} filters"
        )
    if x.shape[1] is None and x.shape[2] is None:
        raise Unfit("the height and width of its input are unknown")
    groups = fitting[0]
    name = f"{layer.name}_mix"
    y = _pointwise(x, layer, channels, name=name, groups=groups)
    y = channel_shuffle(y, groups, f"{layer.name}_shuffle")
    y = _depthwise(y, layer, activation=None)
    return norm(_linear(y, layer, "pointwise", layer.filters, groups=groups))


def ghost(x, layer, norm):
    """Half of the filters by k·k, the other half from those by depthwise 3x3."""
    if layer.filters % 2:
        raise Unfit(f"{layer.filters} filters is odd, so half cannot make the others")
    half = layer.filters // 2
    z = _linear(x, layer, "primary", half, layer.kernel_size, **_geometry(layer))
    # Before the depthwise kernels, so that only batch norm reads the convolution, which
    # folding needs.
    z = norm(z)
    cheap = depthwise(
        z,
        activation=None,
        use_batch_norm=False,
        use_bias=layer.use_bias,
        name=f"{layer.name}_cheap",
    )
    return _concatenated([z, norm(cheap)], layer)


STAND_INS = {
    function.__name__: function
    for function in (depthwise_separable, fire, ghost, inverted_residual, shuffle)
}


def _geometry(layer):
    return {
        "strides": layer.strides,
        "padding": layer.padding,
        "dilation_rate": layer.dilation_rate,
    }


def _depthwise(x, layer, activation="relu"):
    # Whether TensorFlow supports others depends on the machine (oneDNN) and on XLA.
    if layer.strides[0] != layer.strides[1]:
        raise Unfit(f"depthwise kernels need equal strides, not {layer.strides}")
    name = f"{layer.name}_depthwise"
    return depthwise(x, layer.kernel_size, activation, name=name, **_geometry(layer))


def _pointwise(x, layer, filters, **options):
    regularizer = layer.kernel_regularizer
    return convolution(x, filters, kernel_regularizer=regularizer, **options)


def _linear(x, layer, part, filters, kernel_size=1, **options):
    """One of the convolutions at the end, with a bias if the layer has one."""
    return keras.layers.Conv2D(
        filters,
        kernel_size,
        use_bias=layer.use_bias,
        kernel_regularizer=layer.kernel_regularizer,
        bias_regularizer=layer.bias_regularizer,
        name=f"{layer.name}_{part}",
        **options,
    )(x)


def _centre(x, layer):
    """What the center of the kernel sees: without padding, not the image's border."""
    if layer.padding == "same":
        return x
    edges = [
        d * (k - 1) for k, d in zip(layer.kernel_size, layer.dilation_rate, strict=True)
    ]
    return keras.layers.Cropping2D(
        [(edge // 2, edge - edge // 2) for edge in edges], name=f"{layer.name}_crop"
    )(x)


def _concatenated(parts, layer):
    return keras.layers.Concatenate(name=f"{layer.name}_concat")(parts)
