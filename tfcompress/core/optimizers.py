"""Which optimizer trains a weight, and at which step it is."""

import contextlib

import keras
import numpy as np
import tensorflow as tf

from tfcompress.core.keras_internals import optimizer_slots, trained_variables, trains

# SNFS divides by the square root of Adam's second moment plus this.
_EPSILON = 1e-8


def optimizer_of(model, variables):
    """The optimizer that trains some weights of a model; None if it has none.

    That is the one it was compiled with, unless it has others and trains with those, as
    generative adversarial networks do.

    Args:
        model: a Keras model.
        variables: weights of the model.

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile("sgd")
    >>> optimizer_of(model, model.weights) is model.optimizer
    True
    """
    own = getattr(model, "optimizer", None)
    kinds = keras.optimizers.Optimizer
    found = [one for one in vars(model).values() if isinstance(one, kinds)]
    training = [o for o in found if any(trains(o, v) for v in variables)]
    # Keras builds the optimizer of `compile` for all weights, even if it is not used.
    return max([own, *training] if own else training, key=_steps, default=own)


def steps_done(model, variables):
    """The iteration of the optimizer that trains some weights of a model."""
    return _steps(optimizer_of(model, variables))


class StepCount:
    """The step of an optimizer, without reading it after every batch.

    Reading it takes longer than most of what depends on it.

    Attributes:
        read: the iteration that was last read; None at first.

    >>> count, model = StepCount(), keras.Sequential()
    >>> count.begin(10)
    >>> count.add_batch(model), count.add_batch(model), count.read
    (11, 12, 10)
    """

    def __init__(self):
        self.read = None
        self._batches = 0

    def begin(self, step):
        """Records a step that was read; None resets the count."""
        self.read, self._batches = step, 0

    def add_batch(self, model):
        """Counts a batch; returns the iteration that a model has reached at most."""
        self._batches += 1
        return self.read + self._batches * model.steps_per_execution


def momentum_of(optimizer, variable):
    """The running mean of gradients with which an optimizer updates a weight.

    `m` for optimizers with momentum, `m / (√v + ε)` for those that scale it by a second
    moment (Adam and its variants), `m / (u + ε)` for Adamax.

    Args:
        optimizer: a Keras optimizer, or None.
        variable: a weight.

    Returns:
        An array of the weight's shape; None if the optimizer keeps none.

    >>> weight = keras.Variable(np.ones(2), name="weight")
    >>> optimizer = keras.optimizers.SGD(0.1, momentum=0.5)
    >>> optimizer.apply([np.array([1.0, 2.0])], [weight])
    >>> momentum_of(optimizer, weight).tolist()
    [-0.1..., -0.2...]
    """
    slots = [] if optimizer is None else optimizer_slots(optimizer, variable)
    found = {slot.name.rpartition("_")[2]: slot.numpy() for slot in slots}
    momentum = found.get("momentum")
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    # RMSprop accumulates gradients that are already scaled.
    if momentum is None or isinstance(inner, keras.optimizers.RMSprop):
        return momentum
    if "norm" in found:
        return momentum / (found["norm"] + _EPSILON)
    if "velocity" in found:
        return momentum / (np.sqrt(found["velocity"]) + _EPSILON)
    return momentum


@contextlib.contextmanager
def watched_steps(optimizer, variables, see):
    """Within it, `see(gradients, steps)` is called whenever an optimizer updates weights.

    The call is part of the training step's graph if that is traced within the context.
    Gradients are those of the loss before clipping, without those of the weights'
    regularizers; steps are the changes of the weights. Each of several replicas sees
    its own part of the gradients.

    Args:
        optimizer: a Keras optimizer, also one that scales the loss.
        variables: weights; those that it does not update get zeros.
        see: a function of two lists of tensors, with one tensor per weight.

    >>> weight = keras.Variable(np.ones(2))
    >>> optimizer = keras.optimizers.SGD(0.5)
    >>> def show(gradients, steps):
    ...     print(gradients[0].numpy(), steps[0].numpy())
    >>> with watched_steps(optimizer, [weight], show):
    ...     optimizer.apply([tf.constant([1.0, 2.0])], [weight])
    [1. 2.] [-0.5 -1. ]
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    apply = inner.apply

    def apply_and_see(grads, trainable_variables=None):
        grads = list(grads)
        moved = trainable_variables or trained_variables(inner)
        found = {
            id(variable): gradient
            for variable, gradient in zip(moved, grads, strict=True)
            if gradient is not None
        }
        before = [tf.identity(variable.value) for variable in variables]
        apply(grads, trainable_variables)
        steps = [v.value - old for v, old in zip(variables, before, strict=True)]
        # Losses are divided by the number of replicas.
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        gradients = [
            tf.cast(found[id(variable)], old.dtype) - _slope(variable, old) / replicas
            if id(variable) in found
            else tf.zeros_like(old)
            for variable, old in zip(variables, before, strict=True)
        ]
        see(gradients, steps)

    object.__setattr__(inner, "apply", apply_and_see)
    try:
        yield
    finally:
        object.__delattr__(inner, "apply")


def _slope(variable, value):
    """The gradient of a weight's regularizer."""
    if variable.regularizer is None:
        return tf.zeros_like(value)
    with tf.GradientTape() as tape:
        tape.watch(value)
        penalty = variable.regularizer(value)
    return tape.gradient(penalty, value)


def _steps(optimizer):
    return 0 if optimizer is None else int(optimizer.iterations.numpy())
