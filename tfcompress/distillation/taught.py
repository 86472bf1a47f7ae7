"""Soft labels beside labels."""

import typing


class Taught(typing.NamedTuple):
    """Labels with a teacher's logits beside them, as `y` for `fit` and `evaluate`.

    Attributes:
        labels: what the compiled loss gets, or None.
        logits: float32, in the structure of the student's outputs.
    """

    labels: typing.Any
    logits: typing.Any
