"""What all teachers read from files share."""

import hashlib
import os
import pathlib
import re

import keras

from tfcompress.core.kinds import FilePath, OneOf
from tfcompress.distillation.teachers.teacher import Teacher


class FileTeacher(Teacher):
    """A teacher that stays in its file; a saved distiller holds only the path.

    Args:
        path: path of the file or folder.
        kind: "sigmoid" or "logits": how to read outputs from 0 to 1 that are not a
            softmax. By default, as the student's.

    Raises:
        ValueError: if `kind` is something else.
    """

    def __init__(self, path: FilePath(), kind: OneOf("sigmoid", "logits", None) = None):
        self.path = os.fspath(path)
        self.kind = kind

    @property
    def name(self):
        """The name of the file or folder."""
        return pathlib.Path(self.path).name

    def fingerprint(self):
        """A hash of the file, or of all files of the folder."""
        path = pathlib.Path(self.path)
        files = [path] if path.is_file() else sorted(path.rglob("*"))
        hashes = [_hash_of(file) for file in files if file.is_file()]
        return hashlib.sha256("".join(hashes).encode()).hexdigest()

    def output_kinds(self, outputs, student_kinds):
        """Determined from the values and `kind`."""
        kinds = [self.kind] * len(outputs) if self.kind else student_kinds
        return super().output_kinds(outputs, kinds)


def _hash_of(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def named_inputs(inputs, names):
    """`{name: input}` for a function that takes inputs by name.

    A single input needs no name.

    Raises:
        ValueError: if there are several without these names.

    >>> named_inputs(3, ["x"]), named_inputs({"b": 1, "a": 2}, ["a", "b"])
    ({'x': 3}, {'a': 2, 'b': 1})
    """
    flat = keras.tree.flatten(inputs)
    if len(flat) == len(names) == 1:
        return {names[0]: flat[0]}
    if isinstance(inputs, dict) and set(inputs) == set(names):
        return {name: inputs[name] for name in names}
    given = sorted(inputs) if isinstance(inputs, dict) else f"{len(flat)} without names"
    raise ValueError(
        f"it takes the inputs {sorted(names)} by name, got {given}; a student "
        "keras.Model({name: keras.Input(...)}, ...) has such names."
    )


def ordered_outputs(outputs):
    """Outputs in the structure that their names describe.

    A single output is itself; `output_0`, `output_1` are a list; other names stay.

    >>> ordered_outputs({"output_10": 3, "output_2": 2, "output_0": 1})
    [1, 2, 3]
    >>> ordered_outputs({"u": 1, "v": 2}), ordered_outputs({"u": 1})
    ({'u': 1, 'v': 2}, 1)
    """
    if len(outputs) == 1:
        return next(iter(outputs.values()))
    if all(re.fullmatch(r"output_\d+", name) for name in outputs):
        return [outputs[k] for k in sorted(outputs, key=lambda k: int(k.split("_")[1]))]
    return dict(outputs)
