"""Checks of user input, each with one clear error."""

import difflib

import keras
import numpy as np
import tensorflow as tf

from tfcompress.core.keras_internals import direct_layers, is_keras_2

_NUM_SHOWN = 8
_LONGEST = 120


def refuse(name, value, expected, hint="", error=ValueError):
    """Raises an error: what was passed, what is expected, and how to fix it.

    >>> refuse("Uniform(bits)", "x", "an integer from 2 to 16")
    Traceback (most recent call last):
    ValueError: Uniform(bits): got 'x', expected an integer from 2 to 16.
    """
    raise error(
        f"{name}: got {shown(value)}, expected {expected}.{hint and f' {hint}'}"
    )


def shown(value):
    """A short form of a value for messages: arrays by shape, models by name.

    >>> shown((np.zeros((8, 2)), "x"))
    "(array of shape (8, 2) and dtype float64, 'x')"
    """
    if type(value) in (list, tuple):
        parts = [shown(part) for part in value[:_NUM_SHOWN]]
        parts += ["…"] * (len(value) > _NUM_SHOWN)
        comma = "," * (type(value) is tuple and len(parts) == 1)
        opening, closing = "[]" if type(value) is list else "()"
        return f"{opening}{', '.join(parts)}{comma}{closing}"
    if isinstance(value, (np.ndarray, tf.Tensor, tf.Variable)):
        dtype = np.dtype(tf.as_dtype(value.dtype).as_numpy_dtype)
        return f"array of shape {tuple(value.shape)} and dtype {dtype}"
    if isinstance(value, keras.Model):
        return f"the model {value.name!r}"
    text = " ".join(repr(value).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def check_model(model, name):
    """Raises unless `model` is a built Keras 3 model with weights."""
    if not isinstance(model, keras.Model):
        if is_keras_2(model):
            expected = "a Keras 3 model, not one of tf_keras (Keras 2)"
            hint = "Convert it with tfcompress.interop.tfmot.convert(model)."
        else:
            expected = "a keras.Model"
            hint = "To load a file, call tfc.load_model(path)."
        refuse(name, model, expected, hint, TypeError)
    if not is_built(model):
        raise ValueError(
            f"{name}: got the model {model.name!r}, which is not built, so its weights "
            "do not exist yet; expected a built keras.Model. Add a keras.Input, or call "
            "the model once on data."
        )


def is_built(model):
    """Whether a model has its weights.

    Models that are never called themselves, such as trainers of other models, do not
    set `built`.
    """
    held = direct_layers(model)
    return model.built or (bool(held) and all(layer.built for layer in held))


def check_finite(name, array):
    """Raises if an array holds NaN or infinity."""
    array = np.asarray(array)
    bad = array.size - np.count_nonzero(np.isfinite(array))
    if bad:
        raise ValueError(
            f"{name} has {bad} NaN or infinite values out of {array.size}. Find their "
            "cause (often a learning rate that is too high) before compressing."
        )


def did_you_mean(word, known):
    """A closing sentence that names the nearest known words, or nothing.

    >>> did_you_mean("magnitud", ["magnitude", "taylor"])
    " Did you mean 'magnitude'?"
    """
    near = difflib.get_close_matches(word, list(known), n=3)
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
