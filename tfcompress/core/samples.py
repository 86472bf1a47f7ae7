"""Inputs of a model: typical ones, checked and cut into batches, or random ones."""

import keras
import numpy as np
import tensorflow as tf

from tfcompress.core.errors import check_finite
from tfcompress.core.macs import fixed_batch_size, input_specs

# Used for sizes that a model leaves open.
_SIZE = 32
# Maximum number of samples that an error lists.
_NUM_LISTED = 8


def random_inputs(model, batch_size=1):
    """Tensors that a built model can be called with, the same ones each time.

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> random_inputs(model, batch_size=3).shape
    TensorShape([3, 4])
    """
    generator = np.random.default_rng(0)
    return keras.tree.map_structure(
        lambda spec: _random(spec, generator), input_specs(model, batch_size)
    )


def _random(spec, generator):
    shape = [size or _SIZE for size in spec.shape]
    if spec.dtype == tf.string:
        return tf.fill(shape, "words")
    if spec.dtype.is_floating:
        return tf.cast(generator.normal(size=shape), spec.dtype)
    return tf.cast(generator.integers(0, 2, shape), spec.dtype)


def check_samples(samples, specs):
    """`{name: array}` of samples, in the dtypes of the inputs.

    Args:
        samples: an array, or `{input name: array}`; the first axis counts samples.
        specs: `{name: tensor or specification}` of the inputs.

    Raises:
        ValueError: if samples are missing or do not fit the inputs.
    """
    if not isinstance(samples, dict):
        if len(specs) > 1:
            raise ValueError(
                f"The model has inputs {list(specs)}: pass {{name: array}}."
            )
        samples = {next(iter(specs)): samples}
    if set(samples) != set(specs):
        raise ValueError(
            f"samples has inputs {sorted(samples)}, the model {sorted(specs)}."
        )
    arrays = {name: _checked(name, samples[name], spec) for name, spec in specs.items()}
    if len({len(array) for array in arrays.values()}) > 1:
        raise ValueError(
            "samples have a different number of rows for different inputs."
        )
    return arrays


def _checked(name, samples, spec):
    array, shape = np.asarray(samples), tuple(spec.shape[1:])
    if array.dtype.kind not in "fiub":
        raise ValueError(
            f"samples for {name!r} have dtype {array.dtype}: expected numbers."
        )
    fits = array.ndim == len(shape) + 1 and all(
        size in (None, given)
        for size, given in zip(shape, array.shape[1:], strict=True)
    )
    if not fits or not len(array):
        raise ValueError(
            f"samples for {name!r} {'are empty and ' if fits else ''}have shape "
            f"{array.shape}: expected (count, {', '.join(map(str, shape))}), about 256."
        )
    if array.dtype.kind == "f":
        check_finite(f"samples for {name!r}", array)
    return array.astype(keras.backend.standardize_dtype(spec.dtype))


def check_outputs(model, parts):
    """Raises if a model outputs NaN for some samples, such as from a division by zero.

    Args:
        model: the Keras model, for its name.
        parts: its outputs for consecutive batches of samples, in any structure.

    Raises:
        ValueError: names the samples.
    """
    rows, first = set(), 0
    for outputs in parts:
        arrays = map(keras.ops.convert_to_numpy, keras.tree.flatten(outputs))
        known = [array for array in arrays if array.ndim]
        rows.update(first + row for array in known for row in _rows_with_nan(array))
        first += max(map(len, known), default=0)
    if rows:
        listed = ", ".join(map(str, sorted(rows)[:_NUM_LISTED]))
        raise ValueError(
            f"Model {model.name!r} returns NaN for {len(rows)} samples (at {listed}"
            f"{', ...' if len(rows) > _NUM_LISTED else ''}). Leave them out, or guard the "
            "division, root or logarithm that causes it."
        )


def _rows_with_nan(array):
    if array.dtype.kind in "iub":
        return []
    wrong = np.isnan(array).reshape(len(array), -1).any(axis=1)
    return np.flatnonzero(wrong).tolist()


def rounded_up(count, size):
    """The number of samples in the whole batches needed for `count` samples.

    >>> rounded_up(10, 4)
    12
    """
    return -(-count // size) * size


def batches(model, samples, size=32):
    """Lists of arrays, one for each input of a functional model.

    Args:
        model: a flat functional model.
        samples: an array, or `{input name: array}`; the first axis counts samples.
        size: samples per batch; the last may have fewer. Models with a fixed batch size
            get whole batches of that size, with samples repeated if necessary.

    Raises:
        ValueError: if samples are missing or do not fit the inputs.

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> [x.shape for x, in batches(model, np.zeros((5, 4)), size=3)]
    [(3, 4), (2, 4)]
    """
    specs = {tensor.name: tensor for tensor in model.inputs}
    arrays = list(check_samples(samples, specs).values())
    count, fixed = len(arrays[0]), fixed_batch_size(model)
    size = fixed or size
    rows = np.arange(rounded_up(count, fixed or 1)) % count
    return [
        [array[rows[start : start + size]] for array in arrays]
        for start in range(0, len(rows), size)
    ]


def checked_batches(model, samples, size=32):
    """`batches` of samples for which the model does not return NaN.

    The check runs small batches, since Keras keeps all tensors of a call.

    Raises:
        ValueError: see `batches` and `check_outputs`.
    """
    # Batches are lists, whatever structure the inputs have.
    listed = keras.Model(model.inputs, model.outputs)
    parts = batches(model, samples)
    check_outputs(model, (listed(part, training=False) for part in parts))
    return batches(model, samples, size)
