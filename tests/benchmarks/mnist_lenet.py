"""LeNet-300-100 and LeNet-5 on MNIST: dense, 90 % pruned, 8-bit file."""

import dataclasses
import functools
import math
import pathlib
import tempfile

import harness
import numpy as np

SPARSITY = 0.9
# Percentage points of test error that no step may lose.
TOLERANCE = 0.2
_BATCH_SIZE = 128


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Epochs of each step, and test errors from Han et al. (2015), table 1."""

    dense: int
    prune: int
    quantize: int
    paper_dense: float
    paper_pruned: float


RECIPES = {
    "lenet_300_100": Recipe(15, 15, 3, paper_dense=1.64, paper_pruned=1.59),
    "lenet_5": Recipe(7, 7, 2, paper_dense=0.80, paper_pruned=0.77),
}


def build(keras, name):
    """The network, returning logits; 266,610 or 431,080 parameters."""
    layers = keras.layers
    hidden = {
        "lenet_300_100": lambda: [
            layers.Flatten(),
            layers.Dense(300, activation="relu", name="fc1"),
            layers.Dense(100, activation="relu", name="fc2"),
        ],
        # As in Caffe: no activation after the convolutions.
        "lenet_5": lambda: [
            layers.Conv2D(20, 5, name="conv1"),
            layers.MaxPooling2D(),
            layers.Conv2D(50, 5, name="conv2"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(500, activation="relu", name="fc1"),
        ],
    }
    return keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            *hidden[name](),
            layers.Dense(10, name="logits"),
        ],
        name=name,
    )


class Lab:
    """Trains and measures the network of one row."""

    def __init__(self, name, options):
        import keras

        import tfcompress as tfc

        self.keras, self.tfc = keras, tfc
        self.name, self.recipe = name, RECIPES[name]
        self.is_quick = options.quick
        if options.quick:
            self.recipe = dataclasses.replace(self.recipe, dense=1, prune=1, quantize=1)
        self.train, self.test = harness.load_data("mnist", options)
        keras.utils.set_random_seed(options.seed)

    def measure(self, folder):
        """All figures, in the order of the steps."""
        dense = self.train_dense()
        pruned = self.prune(dense)
        quantized = self.quantize(pruned)
        files = {
            name: self.export(model, folder / f"{name}.tflite", precision)
            for name, model, precision in (
                ("dense float32", dense, "float32"),
                ("pruned float32", pruned, "float32"),
                ("int8", quantized, "int8"),
            )
        }
        errors = {
            "dense": self.error(dense),
            "pruned": self.error(pruned),
            "int8, in Keras": self.error(quantized),
            "int8 file": self.error_of_file(files["int8"]),
        }
        return [
            *self.describe_errors(errors),
            self.describe_sparsity(quantized),
            *(
                figure
                for name, path in files.items()
                for figure in harness.describe_file(name, path, self.is_quick)
            ),
        ]

    def train_dense(self):
        """The network, trained from scratch."""
        model = build(self.keras, self.name)
        self.fit(model, self.recipe.dense, 2e-3)
        return model

    def prune(self, dense):
        """A plain model without the smallest weights, fine-tuned."""
        tfc, epochs = self.tfc, self.recipe.prune
        model = tfc.compress(dense, {".*": tfc.transforms.Mask()})
        # The last third of the training runs at full sparsity.
        schedule = tfc.schedules.Polynomial(
            final_sparsity=SPARSITY,
            begin_step=0,
            end_step=max(1, self.steps(epochs) * 2 // 3),
            frequency=50,
        )
        self.fit(model, epochs, 2e-3, tfc.callbacks.Pruning(schedule, scope="global"))
        return tfc.strip(model)

    def quantize(self, pruned):
        """A model trained with 8-bit weights and activations that keeps its zeros."""
        tfc = self.tfc
        transforms = [tfc.transforms.Mask(), tfc.transforms.Uniform(bits=8)]
        model = tfc.quantize_activations(tfc.compress(pruned, {".*": transforms}))
        self.fit(model, self.recipe.quantize, 1e-4)
        return model

    def fit(self, model, epochs, learning_rate, *callbacks):
        """Adam with a learning rate that decays to zero along a cosine."""
        harness.progress(f"{self.name}: {epochs} epochs")
        rate = self.keras.optimizers.schedules.CosineDecay(
            learning_rate, self.steps(epochs)
        )
        model.compile(
            self.keras.optimizers.Adam(rate),
            self.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        model.fit(self.batches(), epochs=epochs, verbose=0, callbacks=list(callbacks))

    def batches(self):
        """The training data, in a new order each epoch."""
        import tensorflow as tf

        images, labels = map(tf.constant, self.train)
        # The autotuner can delay the end of an epoch by as long as the epoch itself.
        options = tf.data.Options()
        options.autotune.enabled = False
        return (
            tf.data.Dataset.range(len(images))
            .shuffle(len(images))
            .batch(_BATCH_SIZE)
            .map(lambda chosen: (tf.gather(images, chosen), tf.gather(labels, chosen)))
            .prefetch(1)
            .with_options(options)
        )

    def steps(self, epochs):
        """Optimizer steps in this many epochs."""
        return epochs * math.ceil(len(self.train[0]) / _BATCH_SIZE)

    def export(self, model, path, precision):
        """Path of the written file."""
        samples = self.train[0][:256]
        self.tfc.export_tflite(model, path, precision, samples=samples)
        return path

    def error(self, model):
        """Test error of a Keras model in percent."""
        return self.percent_wrong(model.predict(self.test[0], 500, verbose=0))

    def error_of_file(self, path):
        """Test error of a file in percent."""
        with self.tfc.Interpreter(path) as interpreter:
            return self.percent_wrong(interpreter.run(self.test[0]))

    def percent_wrong(self, outputs):
        return 100 * float(np.mean(outputs.argmax(axis=1) != self.test[1]))

    def describe_errors(self, errors):
        """A figure for each step, with a target from the previous step."""
        paper = {"dense": self.recipe.paper_dense, "pruned": self.recipe.paper_pruned}
        before = None
        for step, error in errors.items():
            limit = None if before is None else round(before + TOLERANCE, 6)
            yield harness.Measure(
                f"test error, {step}", error, "%", limit, paper=paper.get(step)
            )
            before = error

    def describe_sparsity(self, model):
        sparsity = round(self.tfc.report(model).sparsity, 6)
        return harness.Measure("zeros of the kernels", sparsity, at_least=SPARSITY)


def measure(name, options):
    """All figures of one network."""
    with tempfile.TemporaryDirectory() as folder:
        return Lab(name, options).measure(pathlib.Path(folder))


if __name__ == "__main__":
    harness.main(
        __doc__,
        {name: functools.partial(measure, name) for name in RECIPES},
        quick=["lenet_300_100"],
    )
