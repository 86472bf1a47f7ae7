"""Soft labels on disk: rows that are only ever appended, and an index in JSON.

    index.json    format, teacher, inputs, outputs
    logits.bin    float32, little-endian; one row per sample: its outputs concatenated
    keys.bin      two uint64 per row: fingerprints of the sample and of its logits
    lock          empty; locked by the writer

A row is valid once its key is there. An interrupted run leaves rows without keys or,
after a power loss, keys of rows that never reached the disk: both are dropped. Other
rows that do not match their fingerprint are damaged. If a sample has several rows, the
last one counts: it was written because the earlier ones were damaged.
"""

import contextlib
import dataclasses
import fcntl
import json
import math
import os
import pathlib

import keras
import numpy as np
import tensorflow as tf

from tfcompress.core.files import write_atomically

INDEX = "index.json"
_LOCK = "lock"
_FORMAT = 1
_KEY = np.dtype([("sample", "<u8"), ("logits", "<u8")])
_BLOCK = 1024


@dataclasses.dataclass(frozen=True)
class Index:
    """Describes the rows.

    Attributes:
        teacher: the teacher's fingerprint.
        inputs: `[shape, dtype]` of each input of one sample, None for unknown sizes.
        shapes: shapes of the logits of each output for one sample.
        kinds: kinds of the teacher's outputs, see `output_kinds`.
        structure: indices of the outputs in the structure that the teacher returned.
    """

    teacher: str
    inputs: list
    shapes: list
    kinds: list
    structure: object

    @property
    def width(self):
        """Count of numbers in a row."""
        return sum(self.sizes)

    @property
    def sizes(self):
        """Count of numbers of each output."""
        return [math.prod(shape) for shape in self.shapes]

    def packed(self, rows):
        """Rows `(batch, width)`, array or tensor, as logits in the outputs' structure."""
        starts = np.cumsum([0, *self.sizes])
        parts = [
            keras.ops.reshape(rows[:, start : start + size], (-1, *shape))
            if tf.is_tensor(rows)
            else rows[:, start : start + size].reshape(-1, *shape)
            for start, size, shape in zip(starts, self.sizes, self.shapes, strict=False)
        ]
        return keras.tree.map_structure(lambda number: parts[number], self.structure)


def fingerprints(tree):
    """A 64-bit hash for each row of a batch, over the bytes of all its tensors.

    >>> x = np.array([[1, 2], [3, 4], [1, 2]], "uint8")
    >>> a, b, c = fingerprints(x).numpy()
    >>> bool(a == c), bool(a == b)
    (True, False)
    """
    prints = [tf.fingerprint(tensor) for tensor in keras.tree.flatten(tree)]
    # Several inputs form one sample.
    joined = tf.fingerprint(tf.concat(prints, axis=-1)) if prints[1:] else prints[0]
    return tf.bitcast(joined, tf.uint64)


def read_index(path):
    """The index in a folder.

    Raises:
        ValueError: if there is none, or one of another format.
    """
    file = pathlib.Path(path, INDEX)
    if not file.is_file():
        raise ValueError(
            f"No soft labels at {str(path)!r}: expected a folder that "
            "tfc.distillation.precompute wrote."
        )
    try:
        content = json.loads(file.read_text())
        found = content.pop("format")
        if found != _FORMAT:
            raise ValueError(f"it has format {found}, not {_FORMAT}")
        return Index(**content)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{str(file)!r} is not an index of soft labels: {error}. Delete the folder and "
            "precompute them again."
        ) from error


@contextlib.contextmanager
def locked(path):
    """Creates a folder and locks it for one writer, until it or its process ends.

    Raises:
        ValueError: if another one writes there, the folder holds something else, or its
            file system has no locks.
    """
    folder = pathlib.Path(path)
    _check_ours(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / _LOCK, "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            reason = f"its file system cannot lock files ({error.strerror})"
            if isinstance(error, BlockingIOError):
                reason = "another run of precompute is writing to it; wait for it"
            raise ValueError(
                f"Cannot write to {str(path)!r}: {reason}, or choose another folder."
            ) from error
        try:
            yield
        finally:
            # Forked children also have the file open, perhaps for longer.
            fcntl.flock(file, fcntl.LOCK_UN)


def _check_ours(folder):
    if not folder.exists():
        return
    names = {file.name for file in folder.iterdir()} if folder.is_dir() else {""}
    if names and not names & {INDEX, _LOCK}:
        raise ValueError(
            f"{str(folder)!r} holds something other than soft labels: choose a new "
            "folder."
        )


def write_index(path, index):
    """Writes the index of a folder."""
    content = {"format": _FORMAT, **dataclasses.asdict(index)}
    write_atomically(pathlib.Path(path, INDEX), json.dumps(content, indent=1) + "\n")


def read_rows(path, index):
    """`(keys, prints, logits)` of the rows; prints and logits are read on access.

    Args:
        path: of the folder.
        index: its `Index`.

    Returns:
        The fingerprints of the samples and of their logits, each `(rows,)`, and the
        logits, `(rows, width)`. The last row is intact, others may be damaged.
    """
    keys = _mapped(pathlib.Path(path, "keys.bin"), _KEY, 1)[:, 0]
    logits = _mapped(pathlib.Path(path, "logits.bin"), np.dtype("<f4"), index.width)
    count = min(len(keys), len(logits))
    prints = keys["logits"]
    while count:
        start = max(0, count - _BLOCK)
        whole = np.flatnonzero(are_whole(prints[start:count], logits[start:count]))
        if len(whole):
            count = start + int(whole[-1]) + 1
            break
        count = start
    return np.array(keys["sample"][:count]), prints[:count], logits[:count]


def are_whole(prints, logits):
    """Whether rows of logits match their fingerprints, `(rows,)`."""
    starts = range(0, len(logits), _BLOCK)
    blocks = [fingerprints(logits[i : i + _BLOCK]).numpy() for i in starts]
    return np.concatenate([np.empty(0, "uint64"), *blocks]) == prints


def newest(keys):
    """Sorted unique keys, and the row that counts for each.

    >>> newest(np.array([7, 5, 7, 9]))
    (array([5, 7, 9]), array([1, 2, 3]))
    """
    found, places = np.unique(keys[::-1], return_index=True)
    return found, len(keys) - 1 - places


def _mapped(file, dtype, width):
    count = file.stat().st_size // (dtype.itemsize * width) if file.is_file() else 0
    if not count:
        return np.empty((0, width), dtype)
    return np.memmap(file, dtype, "r", shape=(count, width))


def cut(path, index, count):
    """Drops everything after the first `count` rows."""
    for name, size in (("logits.bin", index.width * 4), ("keys.bin", _KEY.itemsize)):
        with open(pathlib.Path(path, name), "ab") as file:
            file.truncate(count * size)


def append(path, keys, rows):
    """Writes logits `(batch, width)`, and then their keys."""
    both = np.empty(len(keys), _KEY)
    both["sample"], both["logits"] = keys, fingerprints(rows).numpy()
    _append(path, "logits.bin", rows.astype("<f4", copy=False))
    _append(path, "keys.bin", both)


def _append(path, name, array):
    with open(pathlib.Path(path, name), "ab") as file:
        file.write(array.tobytes())
        file.flush()
        os.fsync(file.fileno())
