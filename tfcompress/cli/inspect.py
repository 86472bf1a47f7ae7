"""usage: tfcompress inspect FILE [flags]

Shows the contents of a model: the weights of a .keras, .h5 or SavedModel, or the
operations and sparse weights of a .tflite file.

Example:
  tfcompress inspect model.tflite
"""

import pathlib

from . import models

SUMMARY = "show the weights or operations of a file"
ARGUMENTS = 1


def define(values):
    """Flags of the command."""
    models.define(values)


def main(values, path):
    """The description of a file."""
    from tfcompress.measuring.report import report
    from tfcompress.tflite.describe import describe

    if pathlib.Path(path).suffix != ".tflite":
        return report(models.load(values, path))
    if not pathlib.Path(path).is_file():
        raise FileNotFoundError(f"No file {path!r}; expected a .tflite model.")
    return describe(path)
