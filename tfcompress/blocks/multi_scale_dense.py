"""The layers of MSDNet: dense features at several resolutions, for early exits."""

import itertools

import keras

from tfcompress.blocks.arguments import COUNT, IMAGE, NAME
from tfcompress.blocks.convolution import convolution, joined
from tfcompress.core.kinds import Each, Integer, checked

_COUNTS = Each(COUNT, "numbers of channels, one per resolution", least=1)


@checked
def multi_scale_first(x: IMAGE, filters: _COUNTS, name: NAME = None):
    """Features of an image at several resolutions, each half of the previous one.

    `y¹ = f(norm(K¹ * x))` and `yˢ = f(norm(Kˢ *₂ yˢ⁻¹))` with 3x3 kernels, of stride 2
    from the second resolution on.

    Parameters, for `I` input channels and `F` = filters: `9 · (I·F₁ + Σ_s F_{s-1}·F_s)` in
    kernels and `4 · Σ_s F_s` in batch norms, half of them trainable. Multiply-accumulates
    per output position of a resolution: the number of elements in its kernel.

    Args:
        x: images `(batch, height, width, I)`.
        filters: channels of each resolution, the highest first.
        name: prefix of the layers' names; None lets Keras choose them.

    Returns:
        A list of tensors, `(batch, height / 2^s, width / 2^s, F_s)` for s = 0, 1, ...

    Raises:
        ValueError: if an argument is out of range or the channels of `x` are unknown.

    Source: MSDNet: Huang et al., "Multi-Scale Dense Networks for Resource Efficient
    Image Classification" (2018), section 4.1.

    Example:
        >>> features = multi_scale_first(keras.Input((32, 32, 3)), [6, 12, 24])
        >>> [tuple(y.shape[1:]) for y in features]
        [(32, 32, 6), (16, 16, 12), (8, 8, 24)]
    """
    features = []
    for scale, count in enumerate(filters):
        strides = 2 if scale else 1
        x = convolution(
            x, count, 3, strides=strides, name=joined(name, f"scale{scale}")
        )
        features.append(x)
    return features


@checked
def multi_scale_dense(
    features: Each(IMAGE, "images, one per resolution", least=1),
    growth: _COUNTS,
    bottleneck: Integer(1) = None,
    name: NAME = None,
):
    """Adds channels to the features at each resolution, computed from all earlier ones.

    For resolution s and `g = growth[s]`:

        z¹ = f(norm(K¹ * x¹)),
        zˢ = concatenate(f(norm(Kˢ * xˢ)), f(norm(Lˢ *₂ xˢ⁻¹))),
        yˢ = concatenate(xˢ, zˢ)

    with 3x3 kernels, where `*₂` has stride 2; the highest resolution gets g channels from
    its own kernel, the others `g // 2` from the finer resolution and the rest from their
    own. With `bottleneck`, a 1x1 convolution before each of them reduces its inputs to
    `min(inputs, bottleneck · outputs)` channels. An exit that reads the last resolution
    sees coarse features from the first layer on, which is why early exits of MSDNet do not
    harm later ones.

    Parameters: 9 · inputs · outputs for each 3x3 kernel, inputs · outputs for each 1x1
    kernel, 4 · outputs for the batch norm after each. Multiply-accumulates per output
    position: the number of elements in the kernel.

    Args:
        features: tensors `(batch, height / 2^s, width / 2^s, channels)`, as
            `multi_scale_first` and this function return.
        growth: number of new channels per resolution; at least 2 from the second one on.
        bottleneck: width of the 1x1 convolutions as a multiple of the outputs; None for no
            1x1 convolutions. The paper has 1, 2, 4, 4 for its resolutions.
        name: prefix of the layers' names; None lets Keras choose them.

    Returns:
        A list of tensors, each with `growth[s]` more channels.

    Raises:
        ValueError: if the number of `growth` differs from that of the resolutions, a
            resolution is not half of the previous one, or an argument is out of range.

    Source: MSDNet: Huang et al., "Multi-Scale Dense Networks for Resource Efficient
    Image Classification" (2018), section 4.1.

    Example:
        >>> x = keras.Input((32, 32, 3))
        >>> features = multi_scale_first(x, [6, 12])
        >>> for _ in range(3):
        ...     features = multi_scale_dense(features, [6, 12], bottleneck=2)
        >>> [tuple(y.shape[1:]) for y in features]
        [(32, 32, 24), (16, 16, 48)]
    """
    _check(features, growth)
    grown = []
    for scale, (x, count) in enumerate(zip(features, growth, strict=True)):
        prefix = joined(name, f"scale{scale}")
        from_finer = count // 2 if scale else 0
        parts = [x, _new(x, count - from_finer, 1, bottleneck, joined(prefix, "own"))]
        if scale:
            finer = features[scale - 1]
            parts.append(
                _new(finer, from_finer, 2, bottleneck, joined(prefix, "finer"))
            )
        grown.append(keras.layers.Concatenate(name=joined(prefix, "concat"))(parts))
    return grown


def _new(x, filters, strides, bottleneck, name):
    if bottleneck is not None:
        width = min(x.shape[-1], bottleneck * filters)
        x = convolution(x, width, name=joined(name, "bottleneck"))
    return convolution(x, filters, 3, strides=strides, name=name)


def _check(features, growth):
    if len(features) != len(growth):
        raise ValueError(
            f"multi_scale_dense: got {len(features)} resolutions but {len(growth)} "
            "numbers of new channels: expected the same number."
        )
    if min(growth[1:], default=2) < 2:
        raise ValueError(
            f"multi_scale_dense(growth): got {list(growth)}; expected at least 2 from the "
            "second resolution on, one of which comes from the finer one."
        )
    for finer, coarser in itertools.pairwise(features):
        halves = [None if n is None else -(-n // 2) for n in finer.shape[1:3]]
        if list(coarser.shape[1:3]) != halves:
            raise ValueError(
                f"multi_scale_dense: images of {tuple(coarser.shape[1:3])} follow those of "
                f"{tuple(finer.shape[1:3])}: expected half the size, rounded up."
            )
