"""Proof that a copy of a model computes the same as the model."""

import keras
import numpy as np

from tfcompress.core.cloning import clone_layer
from tfcompress.core.keras_internals import all_layers
from tfcompress.core.recording import recorded
from tfcompress.core.samples import random_inputs
from tfcompress.core.substituted import call_substituted

# Largest allowed RMS of the differences, relative to the RMS of the outputs.
_MOST = 1e-2
_BATCH_SIZE = 2
# "V" is the kind of bfloat16.
_FLOAT_KINDS = "fV"


def copy_model(model):
    """A copy of a model that is known to compute the same.

    Raises:
        ValueError: see `clone_layer` and `check_agreement`.
    """
    copy = clone_layer(model)
    check_agreement(model, copy)
    return copy


def check_agreement(model, copy):
    """Raises unless a copy computes the same as a model, on one random batch.

    Models that cannot be called with random inputs, or whose outputs are random
    themselves, are not checked. State is left unchanged.

    Args:
        model: a built model.
        copy: a model with the same inputs and outputs.

    Raises:
        ValueError: if the outputs differ; names the first layer whose outputs do.
    """
    try:
        inputs = random_inputs(model, _BATCH_SIZE)
        expected = _outputs(model, inputs)
    except Exception:
        # For example inputs unknown to a lookup layer, or sizes that do not match.
        return
    try:
        actual = _outputs(copy, inputs)
    except Exception as error:
        raise ValueError(
            f"The copy of model {model.name!r} cannot be called: {_first_line(error)}. "
            "If its call() reads sizes, some may be unknown (None) while it is traced: "
            "use -1 and keras.ops there."
        ) from error
    if _agree(expected, actual):
        return
    if not _agree(expected, _outputs(model, inputs)):
        return
    raise ValueError(
        f"The copy of model {model.name!r} does not compute the same as the model: "
        f"{_first_difference(model, copy, inputs)}. Let get_config() return "
        "everything that the layer's outputs depend on."
    )


def _first_line(error):
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2]) or type(error).__name__


def _outputs(model, inputs):
    outputs = call_substituted(model, {}, inputs, training=False).outputs
    return _arrays(outputs)


def _arrays(outputs):
    flat = keras.tree.flatten(outputs)
    return [keras.ops.convert_to_numpy(x) for x in flat if hasattr(x, "dtype")]


def _agree(expected, actual):
    return len(expected) == len(actual) and all(map(_close, expected, actual))


def _close(expected, actual):
    if expected.shape != actual.shape:
        return False
    if expected.dtype.kind not in _FLOAT_KINDS:
        return np.array_equal(expected, actual)
    expected, actual = (array.astype("float64") for array in (expected, actual))
    same = (expected == actual) | (np.isnan(expected) & np.isnan(actual))
    error = np.where(same, 0.0, expected - actual)
    size = np.where(np.isfinite(expected), expected, 0.0)
    # A value that is not finite in only one of them makes the comparison false.
    return bool(np.sum(error**2) <= _MOST**2 * np.sum(size**2) + 1e-12)


def _first_difference(model, copy, inputs):
    pairs = _simple_pairs(model, copy)
    originals = {id(old): old for old, _ in pairs}
    counterparts = {id(new): id(old) for old, new in pairs}
    expected, actual = [], {}

    def note_expected(layer, _, outputs, *rest):
        expected.append((layer, _arrays(outputs)))

    def note_actual(layer, _, outputs, *rest):
        actual.setdefault(counterparts[id(layer)], _arrays(outputs))

    with recorded(originals.values(), note_expected):
        _outputs(model, inputs)
    with recorded([new for _, new in pairs], note_actual):
        _outputs(copy, inputs)
    for layer, outputs in expected:
        if id(layer) in actual and not _agree(outputs, actual[id(layer)]):
            return (
                f"layer {layer.name!r} ({type(layer).__name__}) is the first to differ"
            )
    return "the calls of its layers differ"


def _simple_pairs(model, copy):
    """Pairs of layers without sublayers, if both models have the same ones."""
    simple = [
        [layer for layer in all_layers(a) if _is_simple(layer)] for a in (model, copy)
    ]
    same = [type(a) for a in simple[0]] == [type(a) for a in simple[1]]
    return list(zip(*simple, strict=True)) if same else []


def _is_simple(layer):
    return not all_layers(layer, include_self=False) and not isinstance(
        layer, keras.layers.InputLayer
    )
