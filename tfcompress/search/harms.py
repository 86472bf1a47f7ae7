"""Harm of changing a layer: error of outputs, score, or curvature of the loss."""

import keras
import numpy as np
import tensorflow as tf

from tfcompress.core.collect import collect
from tfcompress.core.compressed import Treatment
from tfcompress.core.samples import batches
from tfcompress.core.walk import weight_refs
from tfcompress.export.trace import named_outputs
from tfcompress.measuring.scores import in_order, score, tasks_of

# Weight of the error of outputs, which decides where scores are equal.
_TIE = 1e-6


def errors_of_outputs(flat, edits, samples):
    """Errors of the outputs under each change alone, relative to the outputs' spread.

    Args:
        flat: a functional model.
        edits: list of lists of `Edit`, one for each layer.
        samples: inputs.

    Returns:
        A list of lists.
    """
    return _harms(flat, edits, samples, error_by_spread)


def drops_of_score(model, flat, edits, samples):
    """The drop of the score caused by each change.

    Args:
        model: the model whose loss determines the score.
        flat: a functional model that computes the same.
        edits: list of lists of `Edit`.
        samples: `(x, y)`.
    """
    if not isinstance(samples, (tuple, list)) or len(samples) != 2:
        raise ValueError(
            f'sensitivity="score" got samples of type {type(samples).__name__}: expected '
            "inputs and their targets, (x, y)."
        )
    x, y = samples
    targets = tasks = None

    def drop(outputs, expected):
        nonlocal targets, tasks
        if tasks is None:
            targets = in_order(y, expected)
            tasks = tasks_of(model, expected, targets)
        return drop_of_score(tasks, targets, outputs, expected)

    return _harms(flat, edits, x, drop)


def drop_of_score(tasks, targets, outputs, expected):
    """The drop of the score relative to the expected outputs; the error breaks ties.

    Args:
        tasks: the `Task` of each output.
        targets: list of arrays.
        outputs: `{name: array}`.
        expected: the same for the unchanged model.
    """
    before, after = (
        score(tasks, found.values(), targets) for found in (expected, outputs)
    )
    return max(before - after, 0.0) + _TIE * error_by_spread(outputs, expected)


def rises_of_loss(model, flat, edits, data):
    """The approximate rise of the loss by each change, from one pass over the data.

        Ω = ½ Σ_i F_i δ_i²

    with the changes `δ` and the diagonal of the Fisher information `F`.

    Args:
        model: a compiled model.
        flat: a functional model that computes the same.
        edits: list of lists of `Edit`.
        data: batches `(x, y)`.
    """
    changed = {id(v) for of_layer in edits for e in of_layer for v, _ in e.values()}
    refs = [ref for ref in weight_refs(flat) if id(ref.variable) in changed]
    weights = [Treatment(ref, []) for ref in refs]
    found = collect(model, weights, data, ["squared_gradient"], flat)
    information = {
        id(ref.variable): ref.layout.from_canonical(signals["squared_gradient"])
        for ref, signals in zip(refs, found, strict=True)
    }
    return [[_rise(edit, information) for edit in of_layer] for of_layer in edits]


def _rise(edit, information):
    return sum(
        0.5 * float(np.sum(information[id(v)] * np.square(array - v.numpy())))
        for v, array in edit.values()
    )


def error_by_spread(outputs, expected):
    """The squared error of each output relative to its spread, summed over outputs."""
    total = 0.0
    for name, exact in expected.items():
        spread = np.mean(np.square(exact - exact.mean(axis=0)))
        total += np.mean(np.square(outputs[name] - exact)) / (spread or 1.0)
    return total


def _harms(flat, edits, samples, harm):
    """`harm(outputs, exact outputs)` of each change.

    Raises:
        ValueError: if the exact outputs are not finite.
    """
    parts = batches(flat, samples)
    named = keras.Model(flat.inputs, named_outputs(flat, flat.output))
    # The last batch is smaller.
    function = tf.function(
        lambda inputs: named(inputs, training=False), reduce_retracing=True
    )

    def outputs():
        found = [function(part) for part in parts]
        return {
            name: np.concatenate([batch[name] for batch in found]).astype(np.float64)
            for name in named.output
        }

    expected = outputs()
    if not all(np.isfinite(output).all() for output in expected.values()):
        raise ValueError(
            f"Model {flat.name!r} returns numbers that are not finite for the samples, so "
            "there is nothing to compare with."
        )

    def of(edit):
        with edit.applied():
            return float(harm(outputs(), expected))

    return [[of(edit) for edit in of_layer] for of_layer in edits]
