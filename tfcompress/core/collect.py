"""The signals that importance measures need, gathered over data in one walk."""

import contextlib

import keras
import numpy as np
import tensorflow as tf

SIGNALS = ("gradient",)


def collect(model, weights, data, needs, copy=None):
    """Gathers signals of weights.

    `"gradient"` is `dL/dy`, the gradient of the compiled loss with respect to the
    effective weight `y` (after its transforms, so that masked weights have one too),
    averaged over the batches.

    Args:
        model: a compiled model.
        weights: the `Treatment`s or plain Keras variables that signals are wanted for.
        data: an iterable of batches `(x, y)`, such as a `tf.data.Dataset`.
        needs: names of signals.
        copy: a model that computes the same, if it is the one that has the weights.

    Returns:
        For each weight `{signal: array of the weight's shape}`.

    Raises:
        ValueError: if a signal is not known, there are no data or no compiled loss.
    """
    unknown = sorted(set(needs) - set(SIGNALS))
    if unknown:
        raise ValueError(
            f"Unknown signals {unknown}: expected some of {list(SIGNALS)}."
        )
    if not needs:
        return [{} for _ in weights]
    if data is None:
        raise ValueError(
            f"The criterion needs the signals {sorted(needs)}: pass data=, batches (x, y) "
            "to gather them over."
        )
    if not model.compiled:
        raise ValueError("Gradients need a loss: call model.compile(loss=...) first.")
    treatments = [_as_treatment(weight) for weight in weights]
    sums, count = [np.zeros(tuple(t.variable.shape)) for t in treatments], 0
    for x, y in data:
        gradients = _gradients(model, copy or model, treatments, x, y)
        sums = [
            total + gradient for total, gradient in zip(sums, gradients, strict=True)
        ]
        count += 1
    if not count:
        raise ValueError("data is empty: pass at least one batch (x, y).")
    return [{"gradient": total / count} for total in sums]


def _gradients(model, copy, treatments, x, y):
    with tf.GradientTape() as tape, contextlib.ExitStack() as stack:
        seen = [
            stack.enter_context(treatment.watched(tape)) for treatment in treatments
        ]
        outputs = copy(x, training=False)
        loss = model.compute_loss(x, y, outputs, training=False)
    # A shared layer's weight is seen once a call; its gradient is the sum.
    flat = iter(tape.gradient(loss, [value for values in seen for value in values]))
    parts = [[next(flat) for _ in values] for values in seen]
    return [np.sum([g for g in part if g is not None], axis=0) for part in parts]


def _as_treatment(weight):
    return _Untreated(weight) if isinstance(weight, keras.Variable) else weight


class _Untreated:
    """A plain variable, watched like a `Treatment`."""

    def __init__(self, variable):
        self.variable = variable

    @contextlib.contextmanager
    def watched(self, tape):
        tape.watch(self.variable.value)
        yield [self.variable.value]
