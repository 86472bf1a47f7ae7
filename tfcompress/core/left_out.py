"""One warning for what a function was asked to do and did not do."""

import keras

from tfcompress.core.composite import reason_of
from tfcompress.core.walk import is_compressed, path_of, weight_refs
from tfcompress.core.warn import warn

L = keras.layers

# Methods handle what runs inside these, as far as possible.
_OPENED = (L.RNN, L.Bidirectional, L.MultiHeadAttention, L.GroupQueryAttention)
_NUM_NAMES = 4


def closed_layers(flat):
    """`{name: layer}` of layers that contain layers with kernels that no graph shows.

    These are custom layers made of others, nested models that are not graphs, and
    wrappers. Keras layers that methods look into (recurrent layers, attention) are left
    out.

    >>> inside = keras.Sequential([keras.Input((3, 4)),
    ...     keras.layers.TimeDistributed(keras.layers.Dense(2), name="each"),
    ...     keras.layers.LSTM(2), keras.layers.Dense(2)])
    >>> list(closed_layers(inside))
    ['each']
    """
    return {layer.name: layer for layer in flat.layers if _is_closed(layer)}


def _is_closed(layer):
    layer = layer.inner if is_compressed(layer) else layer
    if isinstance(layer, _OPENED):
        return False
    return any(ref.is_kernel and ref.owner is not layer for ref in weight_refs(layer))


def warn_of(layers, what, why):
    """Warns about what happened to some layers.

    Args:
        layers: `{path: layer}`; if empty, there is no warning.
        what: a sentence in which `{layers}` stands for their number.
        why: sentences that give the reason, and how to fix it.

    >>> import warnings
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     layer = keras.layers.Dense(2)
    ...     warn_of({"a/b": layer}, "lift left {layers} unchanged", "Too heavy.")
    >>> print(caught[0].message)
    lift left 1 layer unchanged: 'a/b' (Dense). Too heavy.
    """
    if not layers:
        return
    count = f"{len(layers)} layer{'s' if len(layers) > 1 else ''}"
    shown = [
        f"{path_of(path)!r} ({type(layer).__name__})" for path, layer in layers.items()
    ][:_NUM_NAMES]
    more = len(layers) - len(shown)
    names = ", ".join(shown) + (f" and {more} more" if more else "")
    reasons = dict.fromkeys(filter(None, map(reason, layers.values())))
    because = next(iter(reasons), "")
    warn(f"{what.format(layers=count)}: {names}{because}. {why}")


def reason(layer):
    """Why a layer could not be opened, to be appended to what is said of it.

    >>> reason(keras.layers.Dense(2))
    ''
    """
    known = reason_of(layer)
    return f": {known}" if known else ""
