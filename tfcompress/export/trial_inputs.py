"""Random inputs on which a file is compared with its model."""

import keras
import numpy as np
import tensorflow as tf

from tfcompress.core.keras_internals import all_layers
from tfcompress.core.samples import rounded_up

_COUNT = 16
_BYTES = 256
# Values that vary by less than this share of their size count as constants.
_LEAST_MOVE = 1e-3


def trial_inputs(model, specs, run):
    """Inputs for which the outputs of a model are finite and vary, if possible.

    Normal values are tried first, then images of bytes and smaller and smaller values;
    tokens are those of the smallest vocabulary without 0, which is often padding.

    Args:
        model: a Keras model.
        specs: `{name: tf.TensorSpec}` of its inputs.
        run: `inputs -> {name: array}`, the outputs of the model.

    Returns:
        `({name: array}, outputs)`; `(None, None)` if no outputs are finite.
    """
    found = None, None
    for floats, integers in zip(_FLOATS, _integers(model), strict=True):
        generator = np.random.default_rng(0)
        inputs = {
            name: _drawn(spec, floats, integers, generator)
            for name, spec in specs.items()
        }
        try:
            outputs = run(inputs)
        except tf.errors.InvalidArgumentError:
            # Tokens that a table does not have.
            continue
        arrays = outputs.values()
        if not all(np.isfinite(array).all() for array in arrays):
            continue
        if all(map(_moves, arrays)):
            return inputs, outputs
        if found[0] is None:
            found = inputs, outputs
    return found


_FLOATS = (
    lambda generator, shape: generator.normal(size=shape),
    lambda generator, shape: generator.uniform(0, _BYTES, shape),
    lambda generator, shape: generator.normal(size=shape) * 0.1,
    lambda generator, shape: generator.normal(size=shape) * 0.001,
)


def _integers(model):
    """Limits of integers, `[low, high)`, for each kind of float."""
    sizes = [
        layer.input_dim
        for layer in all_layers(model)
        if isinstance(layer, keras.layers.Embedding)
    ]
    if sizes:
        size = min(sizes)
        return (min(1, size - 1), size), (0, size), (0, 2), (0, 1)
    return (0, 2), (0, _BYTES), (1, 2), (0, 1)


def _drawn(spec, floats, integers, generator):
    count = rounded_up(_COUNT, spec.shape[0])
    shape, dtype = (count, *spec.shape[1:]), spec.dtype.as_numpy_dtype
    if spec.dtype.is_floating:
        return floats(generator, shape).astype(dtype)
    return generator.integers(*integers, shape).astype(dtype)


def _moves(array):
    array = array.astype(np.float64)
    moved = np.sqrt(np.mean(np.square(array - array.mean(axis=0))))
    return moved > _LEAST_MOVE * np.abs(array).max(initial=0.0)
