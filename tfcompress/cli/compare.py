"""usage: tfcompress compare FILE FILE … [flags]

Prints a table of .keras and .tflite files: size, operations, latency, and with data, also
accuracy and agreement with the first file.

Example:
  tfcompress compare model.keras model.tflite --dataset mnist --html report.html
"""

import pathlib

from absl import flags

from . import data, models

SUMMARY = "compare models side by side"
ARGUMENTS = 1
MORE = True


def define(values):
    """Flags of the command."""
    models.define(values)
    data.define(values)
    flags.DEFINE_integer(
        "threads", 1, "Threads that kernels may use.", flag_values=values
    )
    flags.DEFINE_string("html", None, "Also write a page with charts.", values)


def main(values, *paths):
    """Compares the files."""
    from tfcompress.measuring.compare import compare
    from tfcompress.measuring.html_report import write_html_report

    labels = [pathlib.Path(path).name for path in paths]
    if len(set(labels)) < len(labels):
        labels = list(paths)
    test = data.load(values, "test")
    found = {
        label: models.load(values, path)
        for label, path in zip(labels, paths, strict=True)
    }
    comparison = compare(found, test, num_threads=values.threads)
    if values.html:
        write_html_report(values.html, comparison)
    return comparison
