"""Fewer bits: Deep Compression of two LeNets on MNIST, and other rows for comparison.

Errors and bytes are those of real files. The dense networks are trained as usual. The
compressed ones, which lose channels first, learn from the outputs of a larger network
for shifted images; so does a second dense network of each kind, whose error is listed
for comparison. The other rows are those of mnist_bits.py, cifar_ptq.py and
cifar_bits.py, and the dense networks of binary_accuracy.py.
"""

import argparse
import dataclasses
import functools
import pathlib
import tempfile

import binary_accuracy
import cifar
import cifar_bits
import cifar_ptq
import harness
import mnist_bits
import mnist_lenet
import numpy as np

_BATCH_SIZE = 128
# Pixels.
_SHIFT = 2
_TEACHER_EPOCHS = 10
# Most bytes of ours, as a share of NNCodec's.
_OF_NNCODEC = 1.02


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a network is compressed, its targets, and figures of Han et al. (2016).

    Errors are in percent. `channels` is the ratio of `tfc.prune_channels`, the next
    five are arguments of `tfc.recipes.deep_compression`, chosen on 10,000 images of the
    training set, except the numbers of values, and the second number of epochs of
    LeNet-300-100: the test errors of several other choices were seen.
    """

    channels: object
    sparsity: object
    num_clusters: dict
    temperature: float
    epochs: tuple
    learning_rate: tuple
    dense_error: float
    rate: float
    paper_dense_error: float
    paper_error: float
    paper_rate: float


LENETS = {
    "lenet_300_100": Settings(
        channels=0.0,
        sparsity=0.976,
        num_clusters={".*": 8, ".*/bias": 16},
        temperature=4.0,
        epochs=(50, 20),
        learning_rate=(3e-3, 1e-3),
        dense_error=1.7,
        rate=110,
        paper_dense_error=1.64,
        paper_error=1.58,
        paper_rate=40,
    ),
    "lenet_5": Settings(
        channels={"conv1": 0.5, "conv2": 0.68, "fc1": 0.88},
        sparsity={"conv1": 0.3, "conv2": 0.7, "fc1": 0.905, "logits": 0.55},
        # One more value in a small kernel costs next to nothing.
        num_clusters={".*": 12, "conv1": 20, "fc1": 10, ".*/bias": 10},
        temperature=2.0,
        epochs=(60, 16),
        learning_rate=(3e-3, 1e-3),
        dense_error=0.9,
        rate=300,
        paper_dense_error=0.80,
        paper_error=0.74,
        paper_rate=39,
    ),
}


class Lab(mnist_lenet.Lab):
    """Trains, compresses and measures the network of one row."""

    def __init__(self, name, options):
        super().__init__(name, options)
        self.options = options
        self.settings = LENETS[name]
        self.teacher_epochs = 1 if options.quick else _TEACHER_EPOCHS
        if options.quick:
            self.settings = dataclasses.replace(self.settings, epochs=(1, 1))

    def measure(self, folder):
        """All figures, in the order of the steps."""
        dense, teacher = self.train_dense(), train_teacher(self)
        dense_file = self.export(dense, folder / "dense.tflite", "float32")
        result = self.compress(dense, teacher, folder / "compressed.tflite")
        harness.progress(str(result))
        errors = {
            "dense": self.error(dense),
            "the teacher": self.error(teacher),
            "dense, taught": self.error(self.teach(dense, teacher)),
            "pruned": self.error(result.pruned),
            "file": self.error_of_file(result.export.path),
        }
        return [
            *self.describe_errors(errors),
            *self.describe_storage(result),
            *self.describe_files(dense_file, result.export.path),
            *self.describe_codecs(result, folder / "symbols.npz"),
        ]

    def compress(self, dense, teacher, path):
        """The result of the recipe for the dense network."""
        settings = self.settings
        harness.progress(f"{self.name}: {sum(settings.epochs)} epochs, compressed")
        small = self.tfc.prune_channels(dense, settings.channels)
        return self.tfc.recipes.deep_compression(
            small,
            self.shifted(),
            path,
            sparsity=settings.sparsity,
            num_clusters=settings.num_clusters,
            epochs=settings.epochs,
            learning_rate=settings.learning_rate,
            teacher=teacher,
            temperature=settings.temperature,
            codec="auto",
        )

    def teach(self, dense, teacher):
        """A dense network taught in the same way, for as long as the dense one."""
        return self.tfc.recipes.deep_compression(
            dense,
            self.shifted(),
            sparsity=0.0,
            # Everything after the first training is ignored.
            num_clusters=1,
            epochs=(self.recipe.dense, 0),
            learning_rate=self.settings.learning_rate,
            teacher=teacher,
            temperature=self.settings.temperature,
        ).pruned

    def shifted(self):
        """Training images, each shifted by up to 2 pixels like those of the teacher."""
        import tensorflow as tf

        def shift(images, labels):
            for axis in (1, 2):
                by = tf.random.uniform((len(images), 1), -_SHIFT, _SHIFT + 1, tf.int32)
                places = (tf.range(images.shape[axis]) + by) % images.shape[axis]
                images = tf.gather(images, places, axis=axis, batch_dims=1)
            return images, labels

        return (
            tf.data.Dataset.from_tensor_slices(self.train)
            .shuffle(len(self.train[0]), seed=self.options.seed)
            .batch(_BATCH_SIZE)
            .map(shift)
            .prefetch(1)
        )

    def describe_errors(self, errors):
        """A figure for each step; the file must be no worse than the dense network."""
        settings = self.settings
        paper = {"dense": settings.paper_dense_error, "file": settings.paper_error}
        limits = {"dense": settings.dense_error, "file": errors["dense"]}
        for step, error in errors.items():
            yield harness.Measure(
                f"test error, {step}",
                error,
                "%",
                at_most=limits.get(step),
                paper=paper.get(step),
            )

    def describe_storage(self, result):
        """The table of the paper in one line."""
        rows = result.storage.weights
        kept = sum(row.kept for row in rows) / sum(row.weights for row in rows)
        yield harness.Measure("weights kept", round(100 * kept, 2), "%")
        yield harness.Measure(
            "weights, rate in the paper's format",
            round(result.storage.compression_rate, 1),
            "x",
            paper=self.settings.paper_rate,
        )

    def describe_files(self, dense, compressed):
        """Bytes of both files and their ratio."""
        sizes = [path.stat().st_size for path in (dense, compressed)]
        yield harness.Measure("dense float32 file", sizes[0], "bytes")
        yield harness.Measure("compressed file", sizes[1], "bytes")
        rate = round(sizes[0] / sizes[1], 2)
        yield harness.Measure("files, rate", rate, "x", at_least=self.settings.rate)

    def describe_codecs(self, result, path):
        """Bytes of all constants, including value tables, compared with other coders."""
        own = sum(constant.encoded_bytes for constant in result.export.constants)
        name = "constants, values included"
        if self.options.no_peers:
            yield harness.Measure(name, own, "bytes")
            return
        np.savez(path, **symbols(result.model))
        folder = self.options.peers_dir
        answer = harness.run_peer(
            "nncodec", "nncodec_size.py", {"path": str(path)}, folder
        )
        peers = {n: b + answer["table_bytes"] for n, b in answer["tools"].items()}
        limit = int(_OF_NNCODEC * next(iter(peers.values())))
        yield harness.Measure(name, own, "bytes", at_most=limit)
        for tool, size in peers.items():
            yield harness.Measure(f"{name}, {tool}", size, "bytes")


def symbols(model):
    """The weights of a model as small integers, zero as 0, and their values."""
    arrays = {}
    for variable in model.trainable_variables:
        values, ranks = np.unique(variable.numpy(), return_inverse=True)
        ranks = ranks.reshape(variable.shape) - np.argmin(np.abs(values))
        arrays[variable.path] = ranks.astype(np.int16)
        arrays[f"{variable.path}.codebook"] = values
    return arrays


def train_teacher(lab):
    """A LeNet-5 with ReLU and dropout that sees images shifted by up to 2 pixels."""
    layers = lab.keras.layers
    shift = _SHIFT / 28
    model = lab.keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.RandomTranslation(shift, shift, "constant", "nearest"),
            layers.Conv2D(20, 5, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(50, 5, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.25),
            layers.Dense(300, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(10),
        ]
    )
    lab.fit(model, lab.teacher_epochs, 2e-3)
    return model


def lenet(name, options):
    """A row: one network, from training to the file."""
    with tempfile.TemporaryDirectory() as folder:
        return Lab(name, options).measure(pathlib.Path(folder))


def second(name, options):
    """The same row with the next seed, which the notes name."""
    seed = options.seed + 1
    measures = lenet(name, argparse.Namespace(**{**vars(options), "seed": seed}))
    return [dataclasses.replace(each, note=f"seed {seed}") for each in measures]


ROWS = {
    **{name: functools.partial(lenet, name) for name in LENETS},
    **{f"{name}_next_seed": functools.partial(second, name) for name in LENETS},
    **mnist_bits.ROWS,
    "binary": binary_accuracy.mlp,
    **cifar_ptq.ROWS,
    **cifar_bits.ROWS,
}


def _add_options(parser):
    cifar.add_options(parser)
    binary_accuracy.add_options(parser)


if __name__ == "__main__":
    # The others are rows of their own scripts.
    harness.main(__doc__, ROWS, _add_options, quick=["lenet_300_100"])
