"""How operations treat activations at inference: one answer for all methods."""

import keras

from tfcompress.core.keras_internals import all_layers

L = keras.layers
# Layers that return their inputs unchanged at inference.
PASSIVE = (
    L.Dropout,
    L.AlphaDropout,
    L.GaussianDropout,
    L.SpatialDropout1D,
    L.SpatialDropout2D,
    L.SpatialDropout3D,
    L.GaussianNoise,
    L.ActivityRegularization,
    L.Identity,
)


def is_passive(operation):
    """Whether an operation returns its inputs unchanged at inference.

    >>> is_passive(keras.layers.AlphaDropout(0.5)), is_passive(keras.layers.ReLU())
    (True, False)
    """
    return isinstance(operation, PASSIVE)


def is_fake_quant(operation):
    """Whether an operation rounds activations to the levels of a range, and nothing else.

    Our own layers declare it (`is_fake_quant`); `tfc.strip` and quantization-aware
    models from other tools contain an operation of Keras.

    >>> is_fake_quant(tfc.layers.FakeQuant()), is_fake_quant(keras.layers.ReLU())
    (True, False)
    """
    named = type(operation).__name__ == "FakeQuantWithMinMaxVars"
    return named or getattr(operation, "is_fake_quant", False)


def is_batch_norm(operation):
    """Whether an operation is a batch normalization."""
    return isinstance(operation, L.BatchNormalization)


def batch_norms(model):
    """The batch normalization layers of a model, also inside other layers."""
    return list(filter(is_batch_norm, all_layers(model)))


def kept_states(model):
    """The states that recurrent layers keep between calls, which Keras does not list.

    >>> layer = keras.layers.GRU(3, stateful=True); _ = layer(np.ones((1, 5, 2)))
    >>> [tuple(state.shape) for state in kept_states(layer)], layer.non_trainable_weights
    ([(1, 3)], [])
    """
    return [
        state
        for layer in all_layers(model)
        if isinstance(layer, L.RNN) and layer.stateful
        for state in keras.tree.flatten(layer.states or [])
    ]


def has_ranges(model):
    """Whether a model rounds activations to ranges.

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> has_ranges(model), has_ranges(tfc.quantize_activations(model))
    (False, True)
    """
    operations = getattr(model, "operations", None) or all_layers(model)
    return any(map(is_fake_quant, operations))
