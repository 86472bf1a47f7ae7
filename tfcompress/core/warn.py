"""Warnings that point at the line of user code that caused them."""

import inspect
import warnings

_PACKAGE = __name__.partition(".")[0]


def warn(message):
    """Warns at the nearest line outside tfcompress, however deep the call is."""
    frame, level = inspect.currentframe(), 1
    while frame.f_back and frame.f_globals["__name__"].split(".")[0] == _PACKAGE:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)
