"""usage: tfcompress benchmark FILE [flags]

Times a .tflite file (or a .keras model, exported as float32) on this host.

Example:
  tfcompress benchmark model.tflite --threads 2 --json
"""

import pathlib

from absl import flags

from tfcompress.interop.load import load_model
from tfcompress.measuring.benchmark import benchmark

SUMMARY = "time a model on this host"
ARGUMENTS = 1


def define(values):
    """Flags of the command."""
    flags.DEFINE_integer(
        "threads", 1, "Threads that kernels may use.", flag_values=values
    )
    flags.DEFINE_integer("runs", 50, "Timed runs at least.", flag_values=values)
    flags.DEFINE_integer("warm_up", 5, "Runs before them.", flag_values=values)


def main(values, path):
    """Measures one file."""
    model = path if pathlib.Path(path).suffix == ".tflite" else load_model(path)
    return benchmark(model, values.threads, values.runs, values.warm_up)
