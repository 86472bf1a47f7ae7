"""Shared by the rows of pruning_tables.py: data, networks, training, counting."""

import dataclasses
import functools
import math
import pathlib
import tempfile
import time

import cifar
import harness
import mnist_lenet
import numpy as np

_NUM_HELD_OUT = 5000
_DENSE_EPOCHS = {"lenet_300_100": 20, "lenet_5": 10}
_CACHE = pathlib.Path(tempfile.gettempdir()) / "tfcompress-dense"


@dataclasses.dataclass(frozen=True)
class Data:
    """Images and labels, `(x, y)` each.

    Attributes:
        everything: all images of the training set.
        train: all but the last 5,000, for rows that choose something.
        held_out: the last 5,000, for making choices.
        test: used once, when everything is done.
    """

    everything: tuple
    test: tuple

    @property
    def train(self):
        count = len(self.everything[0]) - self._num_held_out
        return tuple(array[:count] for array in self.everything)

    @property
    def held_out(self):
        return tuple(array[-self._num_held_out :] for array in self.everything)

    @property
    def _num_held_out(self):
        return min(_NUM_HELD_OUT, len(self.everything[0]) // 4)


@dataclasses.dataclass(frozen=True)
class Row:
    """One network that results from a method.

    Attributes:
        method: the method, and how strongly it was applied.
        kept_percent: nonzero kernel weights, relative to those of the dense network.
        error_percent: test error of the network after the last epoch.
        weight_bits: bits of all kernels together; by default 32 per weight kept.
        file_bytes: bytes of the float32 file, with `codec="auto"`.
        left: channels and neurons of each layer, including the inputs of a dense one.
        seconds: duration of the method.
        paper: the error that the paper reports, in percent.
        target: largest error and share kept.
        note: what else must be known, such as a shorter schedule.
        seed: seed of all random draws.
    """

    method: str
    kept_percent: float
    error_percent: float
    weight_bits: int
    file_bytes: int
    left: str
    seconds: float
    paper: float | None
    target: str | None
    met: bool | None
    note: str
    seed: int

    def to_dict(self, row, seconds, seed, machine, is_quick=False):
        """What `--json` prints; a quick run neither meets nor misses a target."""
        known = dataclasses.asdict(self)
        if is_quick:
            known["met"] = None
            known["note"] = f"{self.note}; {harness.NO_RESULT}".lstrip("; ")
        return {"row": row, **known, "machine": machine}


class Lab:
    """Builds, trains and counts for a row; `functions(lab) -> list of Row`."""

    def __init__(self, options):
        import keras

        import tfcompress as tfc

        self.keras, self.tfc, self.options = keras, tfc, options
        self.is_quick = options.quick
        self._set_seed(options.seed)

    def seeds(self, count):
        """Sets one seed after another, only one in a quick run."""
        for seed in range(self.options.seed, self.options.seed + self.epochs(count)):
            self._set_seed(seed)
            yield seed

    def restart(self):
        """Resets the seed and the timer, before each method."""
        self._set_seed(self.seed)

    def _set_seed(self, seed):
        self.seed = seed
        self.keras.utils.set_random_seed(seed)
        self._start = time.perf_counter()

    @functools.cached_property
    def mnist(self):
        """Pixels from 0 to 1, `(n, 28, 28, 1)`."""
        return Data(*harness.load_data("mnist", self.options))

    @functools.cached_property
    def cifar10(self):
        """Pixels from 0 to 255, as expected by the trained network."""
        parts = cifar.load_data(self.options)
        return Data(*((255 * images, labels) for images, labels in parts))

    def lenet_300_100(self, kernel_initializer="glorot_uniform"):
        """An untrained 784-300-100-10 network that returns logits."""
        return self._lenet("lenet_300_100", kernel_initializer)

    def lenet_5(self, kernel_initializer="glorot_uniform"):
        """An untrained 20-50-500-10 network as in Caffe that returns logits."""
        return self._lenet("lenet_5", kernel_initializer)

    def _lenet(self, name, kernel_initializer):
        model = mnist_lenet.build(self.keras, name)
        model = self.keras.Model(model.inputs, model.outputs, name=name)
        initializer = self.keras.initializers.get(kernel_initializer)
        for layer in model.layers:
            if hasattr(layer, "kernel"):
                layer.kernel_initializer = initializer.clone()
                layer.kernel.assign(
                    layer.kernel_initializer(layer.kernel.shape, layer.kernel.dtype)
                )
        return model

    def resnet_20(self):
        """A network trained on CIFAR-10; None without the file."""
        try:
            return cifar.load_model(self.options)
        except (SystemExit, ValueError, FileNotFoundError):
            return None

    def dense(self, name):
        """A trained network, the same for all rows with a seed."""
        path = _CACHE / f"{name}-{self.seed}{'-quick' * self.is_quick}.keras"
        if path.exists():
            return self.keras.models.load_model(path, compile=False)
        model = getattr(self, name)()
        self.fit(model, _DENSE_EPOCHS[name])
        _CACHE.mkdir(exist_ok=True)
        model.save(path)
        # The cost of a row must not depend on whether it comes first.
        self._start = time.perf_counter()
        return model

    def fit(
        self, model, epochs, optimizer=None, callbacks=(), batch_size=100, data=None
    ):
        """Compiles for logits and trains; Adam from 1e-3 to 0 along a cosine.

        Args:
            model: a model, for MNIST unless `data` is given.
            epochs: number of epochs; one in a quick run.
            optimizer: an object, or a function of the number of steps.
            callbacks: callbacks for `fit`.
            batch_size: batch size of the training.
            data: `(x, y)`; all training images of MNIST by default.
        """
        keras = self.keras
        steps = self.steps(epochs, batch_size, data)
        if optimizer is None:
            rate = keras.optimizers.schedules.CosineDecay(1e-3, steps)
            optimizer = keras.optimizers.Adam(rate)
        elif not isinstance(optimizer, keras.optimizers.Optimizer):
            optimizer = optimizer(steps)
        model.compile(
            optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        )
        harness.progress(f"  {model.name}: {self.epochs(epochs)} epochs")
        return model.fit(
            self.batches(batch_size, data),
            epochs=self.epochs(epochs),
            callbacks=list(callbacks),
            shuffle=False,
            verbose=0,
        )

    def batches(self, batch_size=100, data=None):
        """Training data in a new order each epoch, without the last short batch."""
        import tensorflow as tf

        images, labels = map(tf.constant, data or self.mnist.everything)
        # The autotuner can delay the end of an epoch by as long as the epoch itself.
        options = tf.data.Options()
        options.autotune.enabled = False
        return (
            tf.data.Dataset.range(len(images))
            .shuffle(len(images), seed=self.seed)
            .batch(batch_size, drop_remainder=True)
            .map(lambda chosen: (tf.gather(images, chosen), tf.gather(labels, chosen)))
            .prefetch(1)
            .with_options(options)
        )

    def steps(self, epochs, batch_size=100, data=None):
        """Optimizer steps in this many epochs."""
        count = len((data or self.mnist.everything)[0])
        return self.epochs(epochs) * max(1, count // batch_size)

    def epochs(self, count):
        """The number of epochs; one in a quick run."""
        return 1 if self.is_quick else count

    def error(self, model, part="test", data=None):
        """Percentage of wrong answers."""
        x, y = getattr(data or self.mnist, part)
        outputs = model.predict(x, batch_size=500, verbose=0)
        return 100 * float(np.mean(outputs.argmax(-1) != y))

    def row(
        self,
        method,
        model,
        *,
        of=None,
        data=None,
        note="",
        paper=None,
        at_most=None,
        at_least_ratio=None,
        weight_bits=None,
        seconds=None,
    ):
        """A `Row` for the result of a method.

        Args:
            method: its name, and the requested strength.
            model: the trained model, compressed or plain.
            of: the original dense network, whose kernels are 100 %; by default the
                LeNet with the model's name.
            data: a `Data`, MNIST by default.
            note: what else must be known.
            paper: the paper's error in percent.
            at_most: the target error in percent.
            at_least_ratio: smallest number of weights of the dense network per weight kept.
            weight_bits: bits of all kernels together, if not 32 per weight kept.
            seconds: duration of the method; by default the time since the seed was set.
        """
        seconds = seconds or time.perf_counter() - self._start
        plain = self.tfc.strip(model)
        kernels = _kernels(plain)
        kept = sum(int(np.count_nonzero(kernel)) for kernel in kernels)
        total = _total(of) if of is not None else _SIZES[plain.name]
        error, ratio = self.error(plain, data=data), total / max(kept, 1)
        limits = {
            f"error <= {at_most} %": at_most is None or round(error, 4) <= at_most,
            f"{at_least_ratio or 0:.3g}x": ratio >= (at_least_ratio or 0),
        }
        asked = [
            text
            for text, limit in zip(limits, (at_most, at_least_ratio), strict=True)
            if limit is not None
        ]
        row = Row(
            method=method,
            kept_percent=round(100 * kept / total, 4),
            error_percent=round(error, 2),
            weight_bits=weight_bits or 32 * kept,
            file_bytes=self._file_bytes(plain, data),
            left=_left(plain),
            seconds=round(seconds, 1),
            paper=paper,
            target=" at ".join(asked) or None,
            met=all(limits.values()) if asked else None,
            note=note,
            seed=self.seed,
        )
        harness.progress(f"  {row}")
        return row

    def _file_bytes(self, model, data):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "model.tflite"
            samples = (data or self.mnist).test[0][:64]
            self.tfc.export_tflite(model, path, samples=samples, codec="auto")
            return path.stat().st_size


# Kernels only: biases are not counted in the papers.
_SIZES = {"lenet_300_100": 266_200, "lenet_5": 430_500}


def _kernels(model):
    return [w.numpy() for w in model.weights if w.name.endswith("kernel")]


def _total(model):
    return sum(math.prod(kernel.shape) for kernel in _kernels(model))


def _left(model):
    """Outputs of each kernel that are not all zero, and inputs of the dense ones.

    As in the papers, `20-50-800-500` of a LeNet-5, `784-300-100` of a LeNet-300-100.
    """
    parts = []
    for kernel in _kernels(model)[:-1]:
        matrix = kernel.reshape(-1, kernel.shape[-1])
        if kernel.ndim == 2:
            parts.append(np.count_nonzero(matrix.any(axis=1)))
        elif not parts or kernel.ndim > 2:
            parts.append(np.count_nonzero(matrix.any(axis=0)))
    last = _kernels(model)[-1]
    parts.append(np.count_nonzero(last.any(axis=-1)) if last.ndim == 2 else 0)
    return "-".join(map(str, parts))
