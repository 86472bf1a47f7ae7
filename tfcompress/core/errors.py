"""Checks of what users pass in, each with one clear error."""

import keras
import numpy as np

from tfcompress.core.keras_internals import direct_layers, is_keras_2


def check_model(model, action):
    """Raises unless `model` is a built Keras 3 model with finite weights."""
    if not isinstance(model, keras.Model):
        if is_keras_2(model):
            raise TypeError(
                f"Cannot {action} {type(model).__name__!r}: it is a tf_keras (Keras 2) "
                "model, and tfcompress works on Keras 3. Convert it with "
                "tfcompress.interop.tfmot.convert(model)."
            )
        raise TypeError(
            f"Cannot {action} an object of type {type(model).__name__!r}: expected a "
            "keras.Model. Load files with tfc.load_model(path)."
        )
    if not is_built(model):
        raise ValueError(
            f"Cannot {action} model {model.name!r}: it is not built, so its weights do "
            "not exist yet. Add a keras.Input, or call it once on data."
        )


def is_built(model):
    """Whether a model has its weights.

    Models that are never called themselves, as those that train others, do not say so.
    """
    held = direct_layers(model)
    return model.built or (bool(held) and all(layer.built for layer in held))


def check_finite(name, array):
    """Raises if an array holds NaN or infinity."""
    array = np.asarray(array)
    bad = array.size - np.count_nonzero(np.isfinite(array))
    if bad:
        raise ValueError(
            f"{name} has {bad} NaN or infinite values of {array.size}. Find the step "
            "that made them (often too high a learning rate) before compressing."
        )


def check_integer(name, value, least, most):
    """Returns an integer from `least` to `most`; raises for anything else.

    >>> check_integer("Uniform(bits)", 8, 1, 16)
    8
    """
    if not isinstance(value, int) or not least <= value <= most:
        raise ValueError(
            f"{name}: got {value!r}, expected an integer from {least} to {most}."
        )
    return value


def check_number(name, value, least, most=float("inf")):
    """Returns a finite number from `least` to `most`; raises for anything else.

    >>> check_number("London(beta)", 1.5, 1)
    1.5
    """
    known = isinstance(value, (int, float)) and value < float("inf")
    if not known or not least <= value <= most:
        limits = f"from {least} to {most}" if most < float("inf") else f"≥ {least}"
        raise ValueError(f"{name}: got {value!r}, expected a number {limits}.")
    return value


def check_part(name, value):
    """Returns a number in [0, 1); raises for anything else."""
    if not 0 <= value < 1:
        raise ValueError(
            f"{name}: got {value!r}, expected a number in [0, 1), so that some weight "
            "exceeds it."
        )
    return value
