"""Warnings that point at the line of the user's that they are about."""

import inspect
import warnings

_PACKAGE = __name__.partition(".")[0]


def warn(message):
    """Warns of the nearest line that is not ours, however deep inside this is called."""
    frame, level = inspect.currentframe(), 1
    while frame.f_back and frame.f_globals["__name__"].split(".")[0] == _PACKAGE:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)
