"""Who teaches."""

from tfcompress.distillation.teachers.keras_model import KerasTeacher
from tfcompress.distillation.teachers.teacher import Teacher


def as_teacher(identifier):
    """A `Teacher` for what a user names.

    Args:
        identifier: a Keras model, or a `Teacher`.
    """
    if isinstance(identifier, Teacher):
        return identifier
    return KerasTeacher(identifier)


__all__ = ["KerasTeacher", "Teacher", "as_teacher"]
