"""Runs a teacher once, for all epochs."""

import contextlib
import json
import pathlib
import sys

import keras
import numpy as np
import tensorflow as tf

from tfcompress.core.errors import check_finite
from tfcompress.core.kinds import VERBOSE, Anything, FilePath, PlugIn, checked
from tfcompress.distillation.teachers import SoftLabels, Teacher
from tfcompress.distillation.teachers.soft_label_files import (
    INDEX,
    Index,
    append,
    are_whole,
    cut,
    fingerprints,
    locked,
    newest,
    read_index,
    read_rows,
    write_index,
)
from tfcompress.distillation.teachers.soft_labels import (
    check_fits,
    described,
    unpacked,
)

# Rows per batch of arrays.
_BATCH = 128


@checked
def precompute(
    teacher: PlugIn(Teacher),
    dataset: Anything("a tf.data.Dataset of batches, or arrays"),
    path: FilePath(),
    verbose: VERBOSE = 1,
) -> SoftLabels:
    """Writes a teacher's logits for a dataset to a folder.

    Samples are identified by their content. An interrupted run continues where it
    stopped; stored answers are not computed again unless they are damaged, equal samples
    are stored once, and more data may be added later. A row takes four bytes per number
    and 16 for its key. Sequences of different lengths have to be padded to the same length
    if there is an answer per position. One run at a time may write to a folder, and a
    second one is refused; others may read at the same time.

    Args:
        teacher: what `Distiller` takes as a teacher.
        dataset: a `tf.data.Dataset` of batches `x`, `(x, y)` or `(x, y, sample_weight)`;
            or such arrays, where only a tuple separates x and y. Without augmentation:
            samples that change are never found again.
        path: path of the folder.
        verbose: 0 for silence, 1 for Keras' progress bar, 2 for its last line only.

    Returns:
        `SoftLabels`.

    Raises:
        TypeError: if the data is something else.
        ValueError: if the data is infinite or empty, the teacher cannot be called on it
            or returns NaN, the folder holds answers of another teacher or for other
            inputs, or another run is writing to it.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> x, y = np.random.rand(10, 4).astype("float32"), np.arange(10) % 3
        >>> soft = precompute(model, x, tmp_path / "soft", verbose=0)
        >>> student = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> distiller = tfc.distillation.Distiller(student, soft, alpha=0.1)
        >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        >>> distiller.compile("adam", loss)
        >>> history = distiller.fit(*soft.attach((x, y)), verbose=0)
    """
    inputs = described(dataset)
    batches, count = _batches(dataset)
    # Keras prints to a stream that may not exist.
    verbose = verbose if sys.stdout else 0
    progress = keras.utils.Progbar(count, verbose=verbose, unit_name="batch")
    number = 0
    with contextlib.ExitStack() as lock:
        answers = _Answers(teacher, inputs, path, lock)
        for number, batch in enumerate(batches, start=1):
            answers.add(unpacked(batch)[0])
            progress.update(number, finalize=False)
    if not number:
        raise ValueError("The dataset is empty: it has no samples for the teacher.")
    progress.update(number, finalize=True)
    return SoftLabels(path)


def _batches(data):
    """Batches, and how many there are, or None."""
    if isinstance(data, tf.data.Dataset):
        count = int(data.cardinality())
        if count == tf.data.INFINITE_CARDINALITY:
            raise ValueError("The dataset is infinite: precompute before .repeat().")
        return data, None if count < 0 else count
    x, _, _ = unpacked(data)
    starts = range(0, len(keras.tree.flatten(x)[0]), _BATCH)
    parts = (
        (keras.tree.map_structure(lambda a, i=i: tf.constant(a[i : i + _BATCH]), x),)
        for i in starts
    )
    return parts, len(starts)


class _Answers:
    """A teacher's answers in a folder, completed as samples come in.

    The teacher runs as late as possible: never, if all answers are there. From then on
    `lock`, an `ExitStack`, keeps others from writing to the folder.
    """

    def __init__(self, teacher, inputs, path, lock):
        self._teacher, self._inputs, self._path = teacher, inputs, path
        self._fingerprint, self._lock = teacher.fingerprint(), lock
        self._index, self._ask, self._count, self._known = None, None, 0, set()
        self._read()

    def _read(self):
        """Reads which answers are there."""
        if not pathlib.Path(self._path, INDEX).is_file():
            return
        self._index = read_index(self._path)
        self._check(self._index.teacher == self._fingerprint)
        check_fits(self._index.inputs, self._inputs, pathlib.Path(self._path).name)
        keys, prints, logits = read_rows(self._path, self._index)
        self._count = len(keys)
        keys, rows = newest(keys)
        self._known = set(keys[are_whole(prints, logits)[rows]].tolist())

    def add(self, x):
        """Adds answers for the samples of a batch that have none."""
        keys, places = np.unique(fingerprints(x).numpy(), return_index=True)
        if not self._ask and self._unknown(keys).any():
            # Many values show better than few what the outputs are.
            self._open(x)
        new = self._unknown(keys)
        if not new.any():
            return
        keys = keys[new]
        some = keras.tree.map_structure(lambda part: tf.gather(part, places[new]), x)
        append(self._path, keys, self._rows(self._ask(some)))
        self._known.update(keys.tolist())

    def _unknown(self, keys):
        return np.array([key not in self._known for key in keys.tolist()])

    def _open(self, x):
        """Builds the teacher on a batch, and locks the folder."""
        self._teacher.build(x)
        index = Index(
            teacher=self._fingerprint,
            inputs=self._inputs,
            shapes=[list(logits.shape[1:]) for logits in self._teacher(x)],
            kinds=self._teacher.kinds,
            structure=_plain(self._teacher.structure),
        )
        self._lock.enter_context(locked(self._path))
        # Another run may have written in the meantime.
        self._read()
        if self._index is None:
            write_index(self._path, index)
        else:
            self._check(
                (index.shapes, index.kinds, index.structure)
                == (self._index.shapes, self._index.kinds, self._index.structure)
            )
        self._index = index
        cut(self._path, index, self._count)
        self._ask = tf.function(self._teacher.__call__, reduce_retracing=True)

    def _rows(self, logits):
        shapes = [list(part.shape[1:]) for part in logits]
        if shapes != self._index.shapes:
            raise ValueError(
                f"The teacher {self._teacher.name!r} returns logits {shapes} for a sample "
                f"after {self._index.shapes}: pad all sequences to one length."
            )
        flat = [part.numpy().reshape(len(part), -1) for part in logits]
        rows = np.concatenate(flat, axis=1)
        check_finite(f"The answer of the teacher {self._teacher.name!r}", rows)
        return rows

    def _check(self, is_same):
        if not is_same:
            raise ValueError(
                f"{str(self._path)!r} holds the answers of another teacher, not of "
                f"{self._teacher.name!r}, or of this one before further training: "
                "choose a new folder, or delete this one."
            )


def _plain(structure):
    """The structure as JSON returns it."""
    return json.loads(json.dumps(structure))
