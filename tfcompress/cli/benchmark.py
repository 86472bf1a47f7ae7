"""usage: tfcompress benchmark FILE [flags]

Times a .tflite file (or a .keras model, exported as float32) on this host.

Example:
  tfcompress benchmark model.tflite --threads 2 --json
"""

from absl import flags

from tfcompress.cli import models
from tfcompress.measuring.benchmark import benchmark

SUMMARY = "time a model on this host"
ARGUMENTS = 1


def define(values):
    """Flags of the command."""
    models.define(values)
    flags.DEFINE_integer(
        "threads", 1, "Threads that kernels may use.", flag_values=values
    )
    flags.DEFINE_integer("runs", 50, "Timed runs at least.", flag_values=values)
    flags.DEFINE_integer("warm_up", 5, "Runs before them.", flag_values=values)


def main(values, path):
    """Measures one file."""
    model = models.load(values, path)
    return benchmark(model, values.threads, values.runs, values.warm_up)
