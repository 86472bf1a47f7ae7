"""Models that commands read."""

import pathlib

from absl import flags

from tfcompress.interop.load import load_model


def define(values):
    """The flag that says whether code in model files may run."""
    flags.DEFINE_bool(
        "safe_mode",
        True,
        "Refuse model files that hold code; --safe-mode=false lets it run.",
        values,
    )


def load(values, path):
    """The Keras model of a file; the path itself of a `.tflite` file."""
    if pathlib.Path(path).suffix == ".tflite":
        return path
    return load_model(path, values.safe_mode)
