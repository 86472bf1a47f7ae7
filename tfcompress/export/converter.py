"""TensorFlow's converter, here or in a process of its own, which may crash."""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile

import numpy as np
import tensorflow as tf

from tfcompress.export.measured_converter import MeasuredConverter
from tfcompress.export.precisions import precision_of


def convert_function(function, module, precision, samples, allow_custom):
    """The bytes of a `.tflite` file as TensorFlow's converter makes it.

    Args:
        function: the traced `tf.ConcreteFunction`.
        module: what holds its variables.
        precision: a `Precision`.
        samples: `{input name: array}` to measure ranges on, or None.
        allow_custom: whether custom operations are allowed.
    """
    converter = MeasuredConverter.from_concrete_functions([function], module)
    converter.allow_custom_ops = allow_custom
    precision.set_up(converter)
    if samples:
        converter.measure(samples)
    return converter.convert()


def convert_in_child(function, module, precision, samples, allow_custom):
    """`convert_function` in a process of its own, which may crash.

    Args:
        function: as in `convert_function`, and so on.
        module: likewise.
        precision: likewise.
        samples: likewise.
        allow_custom: likewise.

    Raises:
        RuntimeError: with the converter's message, or the signal that ended it.
    """
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        tf.saved_model.save(module, str(folder / "model"), signatures=function)
        np.savez(folder / "samples.npz", **(samples or {}))
        task = [folder, precision.name, "custom" if allow_custom else "builtin"]
        done = subprocess.run(
            _command(*map(str, task)),
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            errors="replace",
        )
        if done.returncode < 0:
            name = signal.Signals(-done.returncode).name
            raise RuntimeError(f"the converter ended with {name}")
        if done.returncode:
            raise RuntimeError(done.stderr.strip().splitlines()[-1])
        return (folder / "model.tflite").read_bytes()


def _command(*task):
    return [sys.executable, "-m", __name__, *task]


def _main(folder, precision, profile):
    folder = pathlib.Path(folder)
    module = tf.saved_model.load(str(folder / "model"))
    (function,) = module.signatures.values()
    samples = dict(np.load(folder / "samples.npz"))
    content = convert_function(
        function, module, precision_of(precision), samples or None, profile == "custom"
    )
    (folder / "model.tflite").write_bytes(content)


if __name__ == "__main__":
    _main(*sys.argv[1:])
