"""Teachers."""

import os
import pathlib

import keras

from tfcompress.core.errors import shown
from tfcompress.core.keras_internals import is_keras_2
from tfcompress.distillation.teachers.ensemble import Ensemble
from tfcompress.distillation.teachers.keras_model import KerasTeacher
from tfcompress.distillation.teachers.saved_model import SavedModelTeacher
from tfcompress.distillation.teachers.soft_label_files import INDEX
from tfcompress.distillation.teachers.soft_labels import SoftLabels
from tfcompress.distillation.teachers.teacher import Teacher
from tfcompress.distillation.teachers.tflite import TFLiteTeacher
from tfcompress.interop.load import load_model


def as_teacher(identifier):
    """The `Teacher` for what a user passes.

    Args:
        identifier: a Keras model; a list of teachers, which are averaged; the path of a
            `.keras`, `.h5` or `.tflite` file, of a SavedModel, or of soft labels that
            `precompute` wrote; or a `Teacher`.

    Raises:
        TypeError: if it is something else.
        ValueError: if there is no teacher at the path.
    """
    if isinstance(identifier, Teacher):
        return identifier
    if isinstance(identifier, (list, tuple)):
        return Ensemble(identifier)
    if isinstance(identifier, (str, os.PathLike)):
        return _at(identifier)
    if isinstance(identifier, keras.Model) or is_keras_2(identifier):
        return KerasTeacher(identifier)
    raise TypeError(
        f"Got {shown(identifier)}, expected a teacher: a built keras.Model, the path of "
        "one, of a .tflite file or of soft labels, or a list of these."
    )


def _at(path):
    found = pathlib.Path(path)
    if (found / "saved_model.pb").is_file():
        return SavedModelTeacher(path)
    if (found / INDEX).is_file():
        return SoftLabels(path)
    if found.is_file() and found.suffix == ".tflite":
        return TFLiteTeacher(path)
    if found.is_file() and found.suffix in (".keras", ".h5", ".hdf5"):
        return KerasTeacher(load_model(path))
    raise ValueError(
        f"No teacher at {str(path)!r}: it "
        f"{'is something else' if found.exists() else 'does not exist'}. Expected a "
        ".keras, .h5 or .tflite file, the folder of a SavedModel, or that of soft labels; "
        f"relative paths start at {os.getcwd()!r}."
    )


Teacher.get = as_teacher

__all__ = [
    "Ensemble",
    "KerasTeacher",
    "SavedModelTeacher",
    "SoftLabels",
    "TFLiteTeacher",
    "Teacher",
    "as_teacher",
]
