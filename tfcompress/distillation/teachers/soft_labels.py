"""A teacher's logits for known samples, on disk."""

import os
import pathlib

import keras
import numpy as np
import tensorflow as tf

from tfcompress.core.errors import shown
from tfcompress.core.kinds import FilePath
from tfcompress.distillation.outputs import checked_logits, flat_like, to_logits
from tfcompress.distillation.taught import Taught
from tfcompress.distillation.teachers.soft_label_files import (
    are_whole,
    fingerprints,
    newest,
    read_index,
    read_rows,
)
from tfcompress.distillation.teachers.teacher import Teacher

# Rows looked up at a time for arrays.
_ROWS = 1024


@keras.saving.register_keras_serializable("tfcompress")
class SoftLabels(Teacher):
    """The logits that `precompute` stored, together with their samples.

    A sample is found by a 64-bit fingerprint of its inputs' bytes, so order, shuffling
    and batch sizes do not matter, but dtypes and padding do. Sorted keys are searched in
    memory, 16 bytes per sample; logits are mapped from the file and read on demand. The
    probability that any two of a million samples share a fingerprint is 1 in 37 million.

    As the teacher of a `Distiller`, it checks that classes and outputs match; pass what
    `attach` returns to `fit`.

    Args:
        path: path of the folder.

    Raises:
        ValueError: if it holds no soft labels. Damaged rows are only noticed when they
            are read: an error then names them.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> x, y = np.arange(40.0).reshape(10, 4), np.arange(10) % 3
        >>> soft = tfc.distillation.precompute(model, x, tmp_path / "soft", verbose=0)
        >>> len(soft)
        10
        >>> data = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(10).batch(4)
        >>> x, y = next(iter(soft.attach(data)))
        >>> np.allclose(y.logits, model(x), atol=1e-4), y.labels.shape
        (True, TensorShape([4]))
    """

    can_be_asked = False

    def __init__(self, path: FilePath("soft labels")):
        self.path = os.fspath(path)
        self._index = read_index(path)
        keys, self._prints, self._logits = read_rows(path, self._index)
        self._keys, self._order = newest(keys)

    @property
    def name(self):
        """The name of the folder."""
        return pathlib.Path(self.path).name

    @property
    def kinds(self):
        """The kinds of the teacher's outputs."""
        return self._index.kinds

    @property
    def structure(self):
        """Indices of the outputs, in the structure that the teacher returned."""
        return self._index.structure

    def __len__(self):
        return len(self._keys)

    def build(self, inputs, outputs=None, kinds=None):
        """Checks that classes and outputs match the student's."""
        if outputs is None:
            return
        flat_like(self.structure, outputs)
        flat = keras.tree.flatten(outputs)
        own = [
            to_logits(output, kind) for output, kind in zip(flat, kinds, strict=True)
        ]
        # Symbolic, since an index may claim any shape.
        shapes = [(len(flat[0]), *shape) for shape in self._index.shapes]
        taught = [keras.KerasTensor(shape) for shape in shapes]
        checked_logits(taught, own)

    def run(self, inputs):
        """Raises, since soft labels cannot be called."""
        raise ValueError(
            f"The soft labels {self.name!r} come with the data: pass what "
            "soft.attach(dataset) returns to fit and evaluate."
        )

    def attach(self, dataset):
        """Adds the logits to the labels.

        Samples are looked up as they are, so random changes have to come afterwards:
        `soft.attach(dataset).map(augment)`. The student then sees different images from
        those the teacher saw.

        Args:
            dataset: a `tf.data.Dataset` of batches `x`, `(x, y)` or `(x, y,
                sample_weight)`; or such arrays, where only a tuple separates x and y.

        Returns:
            For a dataset, one of `(x, Taught(y, logits))`, with sample weights if there
            were any; for arrays, such a tuple. `y` is None without labels.

        Raises:
            ValueError: if a sample is unknown: at once if it is in the first batch, else
                when the dataset gets there.
            TypeError: if `dataset` is something else.
        """
        check_fits(self._index.inputs, described(dataset), self.name)
        if not isinstance(dataset, tf.data.Dataset):
            x, y, weight = unpacked(dataset)
            return _packed(x, y, self._index.packed(self._rows_of(x)), weight)
        for batch in dataset.take(1):
            self._rows(fingerprints(unpacked(batch)[0]).numpy())
        return dataset.map(lambda *batch: self._attached(*unpacked(batch)))

    def _attached(self, x, y, weight):
        keys = fingerprints(x)
        rows = tf.numpy_function(self._rows, [keys], tf.float32, stateful=False)
        rows.set_shape((keys.shape[0], self._index.width))
        return _packed(x, y, self._index.packed(rows), weight)

    def _rows_of(self, x):
        count = len(keras.tree.flatten(x)[0])
        rows = np.empty((count, self._index.width), "float32")
        for start in range(0, count, _ROWS):
            part = slice(start, start + _ROWS)
            some = keras.tree.map_structure(lambda array, part=part: array[part], x)
            rows[part] = self._rows(fingerprints(some).numpy())
        return rows

    def _rows(self, keys):
        """The logits of samples, `(batch, width)`."""
        places = np.searchsorted(self._keys, keys)
        known = places < len(self)
        known[known] = self._keys[places[known]] == keys[known]
        if not known.all():
            raise ValueError(
                f"These soft labels belong to other data: {self.name!r} knows "
                f"{len(self)} samples, but not {np.sum(~known)} of {len(keys)} in this "
                "batch. Attach them before anything random, such as augmentation, or "
                "call tfc.distillation.precompute for this data, which adds what is "
                "missing."
            )
        rows = self._order[places]
        logits = self._logits[rows]
        whole = are_whole(self._prints[rows], logits)
        if not whole.all():
            raise ValueError(
                f"The soft labels {self.name!r} are damaged: rows "
                f"{sorted(rows[~whole].tolist())[:10]} of logits.bin differ from what was "
                "written. Call tfc.distillation.precompute for this data to compute them "
                "again."
            )
        return logits


def unpacked(batch):
    """`(x, y, sample_weight)` of an element as Keras takes it, None where absent.

    >>> unpacked(([1], 2)), unpacked({"a": 1}), unpacked(([1],))
    (([1], 2, None), ({'a': 1}, None, None), ([1], None, None))
    """
    parts = batch if type(batch) is tuple else (batch,)
    if not 1 <= len(parts) <= 3:
        raise ValueError(
            f"Got {len(parts)} parts: expected x, (x, y) or (x, y, sample_weight); several "
            "inputs go into a dictionary."
        )
    return (*parts, None, None)[:3]


def described(data):
    """`[shape, dtype]` of each input of one sample, None for unknown sizes.

    Args:
        data: a dataset of batches, or arrays; see `SoftLabels.attach`.

    Raises:
        TypeError: if it is something else.

    >>> described(np.zeros((10, 4), "uint8"))
    [[[4], 'uint8']]
    """
    is_dataset = isinstance(data, tf.data.Dataset)
    x, _, _ = unpacked(data.element_spec if is_dataset else data)
    flat = keras.tree.flatten(x)
    is_data = all(hasattr(part, "shape") and hasattr(part, "dtype") for part in flat)
    if not flat or not is_data:
        raise TypeError(
            f"Got {shown(data)}: expected a tf.data.Dataset of batches, or arrays "
            "x or (x, y)."
        )
    if any(part.shape.rank == 0 if is_dataset else not part.shape for part in flat):
        raise ValueError("The data has no batches: batch it first, dataset.batch(64).")
    return [[list(part.shape)[1:], tf.as_dtype(part.dtype).name] for part in flat]


def check_fits(known, given, name):
    """Raises if inputs, as `described`, differ in shape or dtype from the known ones."""
    if len(given) != len(known) or not all(map(_fits, given, known)):
        raise ValueError(
            f"These soft labels belong to other data: a sample of {name!r} is "
            f"{_in_words(known)}, one of this data {_in_words(given)}. Expected batches "
            "of the same shape and dtype."
        )


def _fits(given, known):
    shape, dtype = given
    return dtype == known[1] and tf.TensorShape(shape).is_compatible_with(known[0])


def _in_words(inputs):
    return " and ".join(f"{tuple(shape)} {dtype}" for shape, dtype in inputs)


def _packed(x, y, logits, weight):
    taught = Taught(y, logits)
    return (x, taught) if weight is None else (x, taught, weight)
