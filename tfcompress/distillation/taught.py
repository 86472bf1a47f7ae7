"""Labels together with soft labels."""

import typing


class Taught(typing.NamedTuple):
    """Labels together with a teacher's logits, as `y` for `fit` and `evaluate`.

    Attributes:
        labels: the labels for the compiled loss, or None.
        logits: float32, in the structure of the student's outputs.
    """

    labels: typing.Any
    logits: typing.Any
