"""Folds factors of channels into a layer next to them."""

import keras

from tfcompress.core.cloning import clone_layer
from tfcompress.core.graph import rewire
from tfcompress.core.keras_internals import symbolic_calls
from tfcompress.core.layout import layout
from tfcompress.core.nouns import LayerRewrite
from tfcompress.rewrites.apply import apply_to_flat

L = keras.layers
_CONVOLUTIONS = (L.Conv1D, L.Conv2D, L.Conv3D)
# Layers that are linear in a kernel, with one slice of it per output channel.
MAKERS = (
    *_CONVOLUTIONS,
    L.Conv1DTranspose,
    L.Conv2DTranspose,
    L.Conv3DTranspose,
    L.Dense,
    L.SeparableConv1D,
    L.SeparableConv2D,
)


class FoldChannelScale(LayerRewrite):
    """Folds factors of channels into the layer before or after them.

    The factors `s` are the kernel of an `EinsumDense` such as `"...a,a->...a"`, into which
    `tfc.strip` turns the gates of `tfc.gate_channels`:

    - after a linear dense or convolution layer, `kernel' = kernel s` and `bias' = bias s`
      for each output channel;
    - after batch normalisation, `γ' = γ s` and `β' = β s`;
    - before a dense or convolution layer, `kernel' = s kernel` for each input channel.

    Example:
        >>> x = keras.Input((4,))
        >>> y = keras.layers.EinsumDense("ab,b->ab", 3)(keras.layers.Dense(3)(x))
        >>> len(tfc.rewrites.apply(keras.Model(x, y), FoldChannelScale()).layers)
        2
    """

    length = 2

    def matches(self, first, second):
        """Whether the layers are factors and a layer that can absorb them."""
        if _is_scale(second):
            return _scaled_axis(second) == _axis_made(first)
        return _is_scale(first) and _scaled_axis(first) == _axis_read(second)

    def __call__(self, first, second):
        """The layer with other weights."""
        if not _is_scale(second):
            return [_with_scaled_inputs(second, first.kernel.numpy())]
        scale = second.kernel.numpy()
        if isinstance(first, L.BatchNormalization):
            return [_scaled_norm(first, scale)]
        return [_with_scaled_outputs(first, scale)]


def fold_channel_scales(flat):
    """`FoldChannelScale` wherever it matches, for shared factors at each place.

    Args:
        flat: a fresh flat model.
    """
    shared = [a for a in flat.layers if _is_scale(a) and len(symbolic_calls(a)) > 1]
    names = {layer.name for layer in shared}

    def call(key, operation, /, *args, **kwargs):
        name, index = key
        if name in names and index:
            operation = clone_layer(operation)
            operation.name = f"{name}_{index}"
        return operation(*args, **kwargs)

    folded, flat = rewire(flat, call) if shared else flat, None
    # A layer may have factors before and after it.
    while folded is not flat:
        flat, folded = folded, apply_to_flat(folded, FoldChannelScale())
    return folded


def _is_scale(layer):
    if not isinstance(layer, L.EinsumDense) or layer.quantization_mode:
        return False
    inputs, _, outputs = _terms(layer)
    is_linear = layer.activation is keras.activations.linear
    is_alone = is_linear and layer.bias is None
    return is_alone and inputs == outputs and len(layer.kernel.shape) == 1


def _terms(layer):
    operands, outputs = layer.equation.replace(" ", "").split("->")
    return (*operands.split(","), outputs)


def _scaled_axis(layer):
    """The axis that is scaled, counted from the end."""
    inputs, kernel, _ = _terms(layer)
    before, _, after = inputs.partition(kernel)
    if "..." in after:
        return len(before) - len(layer.output.shape)
    return -1 - len(after)


def _axis_made(layer):
    """The output axis whose channels a layer can scale, from the end, or None."""
    if isinstance(layer, L.BatchNormalization):
        rank = len(layer.output.shape)
        return layer.axis if layer.axis < 0 else layer.axis - rank
    is_linear = getattr(layer, "activation", None) is keras.activations.linear
    return _channel_axis(layer) if isinstance(layer, MAKERS) and is_linear else None


def _axis_read(layer):
    is_reader = isinstance(layer, (L.Dense, *_CONVOLUTIONS))
    if not is_reader or getattr(layer, "groups", 1) > 1:
        return None
    return _channel_axis(layer)


def _channel_axis(layer):
    if getattr(layer, "quantization_mode", None) or getattr(
        layer, "lora_enabled", False
    ):
        return None
    if getattr(layer, "data_format", "channels_last") == "channels_last":
        return -1
    return 1 - len(layer.output.shape)


def _with_scaled_outputs(layer, scale):
    scaled = clone_layer(layer)
    kernel = getattr(scaled, "pointwise_kernel", None)
    kernel = scaled.kernel if kernel is None else kernel
    axes = layout(scaled, kernel)
    values = axes.to_canonical(kernel.numpy()) * scale
    kernel.assign(axes.from_canonical(values))
    if scaled.use_bias:
        scaled.bias.assign(scaled.bias.numpy() * scale)
    return scaled


def _with_scaled_inputs(layer, scale):
    scaled = clone_layer(layer)
    kernel = scaled.kernel.numpy()
    scaled.kernel.assign(kernel * scale.reshape(-1, 1))
    return scaled


def _scaled_norm(norm, scale):
    scaled = type(norm).from_config(
        {**norm.get_config(), "scale": True, "center": True}
    )
    scaled.build(norm.input.shape)
    scaled.gamma.assign(scale * (norm.gamma.numpy() if norm.scale else 1.0))
    scaled.beta.assign(scale * (norm.beta.numpy() if norm.center else 0.0))
    scaled.moving_mean.assign(norm.moving_mean)
    scaled.moving_variance.assign(norm.moving_variance)
    return scaled
