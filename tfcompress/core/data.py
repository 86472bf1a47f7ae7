"""Data as users pass it: inputs alone, batches, or inputs with targets."""

import math

import keras
import numpy as np
import tensorflow as tf

from tfcompress.core.kinds import Kind

# Samples read from a dataset where a subset suffices: to calibrate, and to score.
_NUM_CALIBRATED, _NUM_SCORED = 512, 4096


class Samples(Kind):
    """Inputs of a model, without targets; the first 512 of a dataset.

    >>> x, y = np.ones((4, 2)), np.ones(4)
    >>> Samples().check("export_tflite(samples)", (x, y))
    Traceback (most recent call last):
    ValueError: export_tflite(samples): got (array of shape (4, 2) and dtype float64, array
    of shape (4,) and dtype float64), expected inputs such as x[:256], an array of numbers,
    {input name: array} or a batched tf.data.Dataset. If your data is (x, y), pass x alone.
    """

    expected = (
        "inputs such as x[:256], an array of numbers, {input name: array} or a batched "
        "tf.data.Dataset"
    )

    def check(self, name, value):
        if isinstance(value, tf.data.Dataset):
            value = first_rows(value, _NUM_CALIBRATED)[0]
        if isinstance(value, tuple):
            self.refuse(name, value, "If your data is (x, y), pass x alone.")
        parts = list(value.values()) if isinstance(value, dict) else [value]
        if not parts or not all(map(_is_numeric, parts)):
            self.refuse(name, value)
        return value

    def wrong(self):
        return ["x", 5, object(), [], {}, (np.ones((4, 2)), np.ones(4))]


class Batches(Kind):
    """Batches of data that are read once or several times.

    >>> Batches().check("prune(data)", (np.ones((4, 2)), np.ones(4)))
    Traceback (most recent call last):
    ValueError: prune(data): got (array of shape (4, 2) and dtype float64, array of shape
    (4,) and dtype float64), expected batches (x, y), a list of them or a batched
    tf.data.Dataset. Pass a single batch as [(x, y)].
    """

    expected = "batches (x, y), a list of them or a batched tf.data.Dataset"

    def check(self, name, value):
        if isinstance(value, tuple) and all(map(_is_array, value)):
            self.refuse(name, value, "Pass a single batch as [(x, y)].")
        is_iterable = hasattr(value, "__iter__") or hasattr(value, "__getitem__")
        if not is_iterable or isinstance(value, (str, bytes, dict)) or _is_array(value):
            self.refuse(name, value)
        if isinstance(value, list) and not (value and all(map(_has_rows, value))):
            self.refuse(name, value)
        return value

    def wrong(self):
        x = np.ones((4, 2))
        return ["x", 5, object(), [], {}, ["x"], x, (x, np.ones(4))]


class Data(Kind):
    """Inputs and their targets, which may be None where they are not needed.

    Args:
        or_dataset: whether a dataset of batches is passed on unchanged. Otherwise its
            first 4,096 samples are read.
        or_inputs: whether inputs alone are accepted, too.

    >>> Data().check("Recipe.run(data)", (np.ones((4, 2)), np.ones(3)))
    Traceback (most recent call last):
    ValueError: Recipe.run(data): got (array of shape (4, 2) and dtype float64, array of
    shape (3,) and dtype float64), expected (x, y) with as many rows in x as in y, or a
    tf.data.Dataset of such batches.
    """

    def __init__(self, or_dataset=False, or_inputs=False):
        self.or_dataset, self.or_inputs = or_dataset, or_inputs
        self.expected = (
            "(x, y) with as many rows in x as in y"
            + ", or inputs x" * or_inputs
            + ", or a tf.data.Dataset of such batches"
        )

    def check(self, name, value):
        if isinstance(value, tf.data.Dataset):
            return value if self.or_dataset else first_rows(value, _NUM_SCORED)
        if self.or_inputs and not isinstance(value, (list, tuple)):
            fits = _has_rows(value)
        else:
            fits = _are_pair(value)
        if not fits:
            self.refuse(name, value)
        if isinstance(value, (list, tuple)) and _are_numbers(value[1]):
            value = value[0], np.asarray(value[1])
        return value

    def wrong(self):
        x = np.ones((4, 2))
        return ["x", 5, object(), [], (), {}, (x,), (x, np.ones(3)), ("x", "y")]


def first_rows(dataset, count, most_bytes=math.inf):
    """The first samples of a dataset of batches as arrays `(x, y)`; `y` may be None.

    No more batches are read than necessary.

    Args:
        dataset: a `tf.data.Dataset` of batches `x`, `(x, y)` or `(x, y, sample_weight)`.
        count: the maximum number of samples.
        most_bytes: no further batch is read after this many bytes.

    Raises:
        ValueError: if there are none.

    >>> dataset = tf.data.Dataset.from_tensor_slices(np.arange(9)).batch(4)
    >>> first_rows(dataset, 6)
    (array([0, 1, 2, 3, 4, 5]), None)
    """
    found, num_read, num_bytes = [], 0, 0
    for batch in dataset.as_numpy_iterator():
        found.append(keras.utils.unpack_x_y_sample_weight(batch)[:2])
        parts = keras.tree.flatten(found[-1])
        num_read += len(parts[0])
        num_bytes += sum(part.nbytes for part in parts if part is not None)
        if num_read >= count or num_bytes >= most_bytes:
            break
    if not found:
        raise ValueError("The dataset is empty: pass at least one batch.")

    def join(*parts):
        return None if parts[0] is None else np.concatenate(parts)[:count]

    return keras.tree.map_structure(join, *found)


def _are_pair(value):
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        return False
    x, y = value
    return _has_rows(x) and (y is None or _has_rows(y)) and _has_rows((x, y))


def _has_rows(structure):
    """Whether it contains arrays, all of the same positive length."""
    if isinstance(structure, (str, bytes)):
        return False
    leaves = [leaf for leaf in keras.tree.flatten(structure) if leaf is not None]
    counts = {np.shape(leaf)[0] for leaf in leaves if np.ndim(leaf)}
    if not counts:
        return _are_numbers(structure)
    return len(counts) == 1 and counts != {0}


def _are_numbers(value):
    """Whether it is a list of numbers, such as labels in plain Python."""
    is_list = isinstance(value, (list, tuple)) and len(value) > 0
    return is_list and all(isinstance(one, (int, float)) for one in value)


def _is_array(value):
    return isinstance(value, (np.ndarray, tf.Tensor, tf.Variable))


def _is_numeric(value):
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):
        return False
    return array.ndim > 0 and array.dtype.kind in "fiub" and array.size > 0
