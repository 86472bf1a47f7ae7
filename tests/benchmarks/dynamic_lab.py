"""Shared by the rows of dynamic_table.py: files that are timed in turns, and accuracy."""

import functools
import pathlib
import statistics
import time

import cifar
import harness
import numpy as np
import pruning_lab

_ROUNDS = 7


def rows_of(folder):
    """`{name: function of options}` of the rows in a folder, functions of a `Lab`."""
    return {
        name: functools.partial(_run, function)
        for name, function in harness.rows_in(folder).items()
    }


def _run(function, options):
    return function(Lab(options))


class Lab(pruning_lab.Lab):
    """Builds and trains as for the pruning tables; also times the execution of files."""

    def count(self, number):
        """Fewer in a quick run."""
        return min(number, 8) if self.is_quick else number

    def resnet_8(self):
        """A network trained on CIFAR-10, as in MLPerf Tiny; None without the file."""
        if not self.options.data_dir and not self.options.model:
            return None
        parent = pathlib.Path(self.options.model or self.options.data_dir).parent
        for folder in (parent, parent / "models"):
            path = folder / "cifar10_resnet8_mlperf_tiny.keras"
            if path.exists():
                return self.keras.models.load_model(path, compile=False)
        return None

    def accuracy(self, model, data, part="test"):
        """Percentage of correct answers."""
        return 100 - self.error(model, part, data)

    def right(self, answers, data, part="test"):
        """Percentage of correct answers among answers computed before."""
        labels = getattr(data, part)[1][: len(answers)]
        return 100 * float(np.mean(np.argmax(answers, axis=-1) == labels))

    def milliseconds(self, runs, x):
        """`{name: median time per sample}` of functions that take turns.

        Args:
            runs: `{name: function of samples}`.
            x: samples, processed one after another.
        """
        times = {name: [] for name in runs}
        for run in runs.values():
            run(x[:8])
        for _ in range(1 if self.is_quick else _ROUNDS):
            for name, run in runs.items():
                start = time.perf_counter()
                run(x)
                times[name].append(1e3 * (time.perf_counter() - start) / len(x))
        return {name: statistics.median(found) for name, found in times.items()}

    def crops(self, images):
        """Training data of CIFAR-10, cropped and mirrored, in a new order each epoch.

        Args:
            images: `(x, y)` with pixels from 0 to 255.
        """
        import tensorflow as tf

        x, y = images
        bordered, labels = cifar.with_border(x.astype(np.uint8)), tf.constant(y)

        def pick(chosen):
            return cifar.crop(bordered, chosen), tf.gather(labels, chosen)

        return cifar.batches(len(x), pick, self.seed)
