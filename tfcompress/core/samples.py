"""Typical inputs, cut into batches."""

import numpy as np

from tfcompress.core.errors import check_finite


def batches(model, samples, size=32):
    """Lists of arrays, one for each input of a functional model.

    Args:
        model: a flat functional model.
        samples: an array, or `{input name: array}`; the first axis counts samples.
        size: samples in a batch; the last may have fewer.

    Raises:
        ValueError: if samples are missing or do not fit the inputs.

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> [x.shape for x, in batches(model, np.zeros((5, 4)), size=3)]
    [(3, 4), (2, 4)]
    """
    names = [tensor.name for tensor in model.inputs]
    if not isinstance(samples, dict):
        if len(names) > 1:
            raise ValueError(f"The model has the inputs {names}: pass {{name: array}}.")
        samples = {names[0]: samples}
    if set(samples) != set(names):
        raise ValueError(
            f"samples has the inputs {sorted(samples)}, the model {sorted(names)}."
        )
    arrays = [
        _checked(tensor, np.asarray(samples[tensor.name])) for tensor in model.inputs
    ]
    if len({len(array) for array in arrays}) > 1:
        raise ValueError(
            "samples have a different number of rows for different inputs."
        )
    return [
        [array[start : start + size] for array in arrays]
        for start in range(0, len(arrays[0]), size)
    ]


def _checked(tensor, array):
    name, shape = tensor.name, tensor.shape[1:]
    fits = array.ndim == len(shape) + 1 and all(
        size in (None, given)
        for size, given in zip(shape, array.shape[1:], strict=True)
    )
    if not fits or not len(array):
        raise ValueError(
            f"samples for {name!r} have shape {array.shape}: expected (count, "
            f"{', '.join(map(str, shape))}), typical inputs such as x[:256]."
        )
    if array.dtype.kind == "f":
        check_finite(f"samples for {name!r}", array)
    return array.astype(tensor.dtype)
