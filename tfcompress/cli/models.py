"""Models that commands read."""

import pathlib

from absl import flags


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
    from tfcompress.interop.load import load_model

    return load_model(path, values.safe_mode)
