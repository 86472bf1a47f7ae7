"""Which optimizer trains a weight, and how far it is."""

import keras

from tfcompress.core.keras_internals import trains


def optimizer_of(model, variables):
    """The optimizer that trains some weights of a model; None if it has none.

    That is the one it was compiled with, unless it keeps others and trains by those, as
    generative adversarial networks do.

    Args:
        model: a Keras model.
        variables: weights of it.

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile("sgd")
    >>> optimizer_of(model, model.weights) is model.optimizer
    True
    """
    own = getattr(model, "optimizer", None)
    kinds = keras.optimizers.Optimizer
    found = [one for one in vars(model).values() if isinstance(one, kinds)]
    training = [o for o in found if any(trains(o, v) for v in variables)]
    # Keras builds the one of `compile` for all weights, whether it is used or not.
    return max([own, *training] if own else training, key=_steps, default=own)


def steps_done(model, variables):
    """Iterations of the optimizer that trains some weights of a model."""
    return _steps(optimizer_of(model, variables))


def _steps(optimizer):
    return 0 if optimizer is None else int(optimizer.iterations.numpy())
