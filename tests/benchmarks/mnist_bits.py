"""MNIST with hashed weights: test error and bytes."""

import dataclasses
import math
import pathlib
import tempfile
import time

import harness
import numpy as np

_BATCH_SIZE = 256
NUM_CLASSES = 10


@dataclasses.dataclass(frozen=True)
class HashedRecipe:
    """One network with hashed weights, and the test error of Chen et al. (2015)."""

    compression: float
    epochs: int
    learning_rate: float
    # Dropout rates of the inputs and of the hidden neurons.
    dropout: tuple
    paper: float


# The three-layer network in Chen et al. (2015), table 1. Dropout and rates were chosen
# in short trainings that held out the last 10,000 training images.
HASHED_WIDTHS = (784, 1000, NUM_CLASSES)
HASHED = {
    "1/8": HashedRecipe(1 / 8, 50, 3e-3, (0.2, 0.5), paper=1.45),
    "1/64": HashedRecipe(1 / 64, 40, 4e-3, (0.1, 0.3), paper=2.79),
}


class Digits:
    """The images as rows of pixels, and how a model is trained on them.

    Args:
        options: options of the command line.
        low: value of the background; ink is 1.
    """

    def __init__(self, options, low):
        import keras

        parts = harness.load_data("mnist", options)
        self.train, self.test = (
            (low + (1 - low) * images.reshape(len(images), -1), labels)
            for images, labels in parts
        )
        self.keras, self.is_quick = keras, options.quick
        keras.utils.set_random_seed(options.seed)

    def fit(self, name, model, recipe, loss, targets):
        """Adam with a rate that decays to zero along a cosine; returns the epochs."""
        epochs = 1 if self.is_quick else recipe.epochs
        steps = math.ceil(len(targets) / _BATCH_SIZE)
        rate = self.keras.optimizers.schedules.CosineDecay(
            recipe.learning_rate, epochs * steps
        )
        model.compile(self.keras.optimizers.Adam(rate), loss)
        start = time.perf_counter()
        model.fit(self._batches(targets), epochs=epochs, verbose=0, shuffle=False)
        seconds = time.perf_counter() - start
        harness.progress(f"{name}: {epochs} epochs, {seconds:.0f} s")
        return epochs

    def _batches(self, targets):
        """The training data, in a new order each epoch."""
        import tensorflow as tf

        images, targets = tf.constant(self.train[0]), tf.constant(targets)
        # The autotuner can delay the end of an epoch by as long as the epoch itself.
        options = tf.data.Options()
        options.autotune.enabled = False
        return (
            tf.data.Dataset.range(len(targets))
            .shuffle(len(targets))
            .batch(_BATCH_SIZE)
            .map(lambda chosen: (tf.gather(images, chosen), tf.gather(targets, chosen)))
            .prefetch(1)
            .with_options(options)
        )

    def percent_wrong(self, outputs):
        """Test error in percent."""
        return 100 * float(np.mean(outputs.argmax(axis=1) != self.test[1]))


def hashed(options):
    """Test errors and sizes of networks in which many weights share few values."""
    # Weights of pixels that are always zero do not affect the shared values.
    digits = Digits(options, low=0)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "hashed.keras"
        return [m for name in HASHED for m in _measure_hashed(name, digits, path)]


def _measure_hashed(name, digits, path):
    recipe, keras = HASHED[name], digits.keras
    model, budget = build_hashed(recipe)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    epochs = digits.fit(name, model, recipe, loss, digits.train[1])
    # A copy has no optimizer state to save.
    copy, _ = build_hashed(recipe)
    copy.set_weights(model.get_weights())
    copy.save(path)
    error = digits.percent_wrong(model.predict(digits.test[0], 500, verbose=0))
    num_values = sum(math.prod(v.shape) for v in model.trainable_variables)
    return [
        harness.Measure(
            f"{name}: test error", error, "%", at_most=recipe.paper, paper=recipe.paper
        ),
        harness.Measure(f"{name}: trained values", num_values, at_most=budget),
        harness.Measure(f"{name}: .keras file", path.stat().st_size, "bytes"),
        harness.Measure(f"{name}: epochs", epochs),
    ]


def build_hashed(recipe):
    """The network, returning logits, and the number of values it may have.

    Biases are not hashed; they count among the values.
    """
    import keras

    import tfcompress as tfc

    inputs, hidden, outputs = HASHED_WIDTHS
    num_weights, num_biases = (inputs + outputs) * hidden, hidden + outputs
    budget = round((num_weights + num_biases) * recipe.compression)
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((inputs,)),
            layers.Dropout(recipe.dropout[0]),
            layers.Dense(hidden, activation="relu"),
            layers.Dropout(recipe.dropout[1]),
            layers.Dense(outputs),
        ]
    )
    buckets = tfc.transforms.Hashed((budget - num_biases) / num_weights)
    return tfc.compress(model, {".*": [buckets]}), budget


ROWS = {"hashed": hashed}

if __name__ == "__main__":
    harness.main(__doc__, ROWS)
