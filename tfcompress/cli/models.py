"""Models that commands read."""

import pathlib

from absl import flags


def define(values):
    """The flag that determines whether code in model files may run."""
    flags.DEFINE_bool(
        "safe_mode",
        True,
        "Reject model files that contain code; --safe-mode=false lets it run.",
        values,
    )


def load(values, path):
    """The Keras model in a file; for a `.tflite` file, its path."""
    if pathlib.Path(path).suffix == ".tflite":
        return path
    from tfcompress.interop.load import load_model

    return load_model(path, values.safe_mode)
