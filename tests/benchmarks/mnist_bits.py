"""MNIST with hashed weights and with weights of one bit: test error and bytes."""

import dataclasses
import math
import pathlib
import tempfile
import time

import harness
import numpy as np

_BATCH_SIZE = 256
_NUM_CLASSES = 10
_NUM_QUICK_IMAGES = 1280


@dataclasses.dataclass(frozen=True)
class HashedRecipe:
    """One network of hashed weights, and the test error of Chen et al. (2015)."""

    compression: float
    epochs: int
    learning_rate: float
    # Of the inputs and of the hidden neurons.
    dropout: tuple
    paper: float


# The network of three layers in Chen et al. (2015), table 1. Dropout and rates come
# from short trainings that held out the last 10,000 training images.
HASHED_WIDTHS = (784, 1000, _NUM_CLASSES)
HASHED = {
    "1/8": HashedRecipe(1 / 8, 50, 3e-3, (0.2, 0.5), paper=1.45),
    "1/64": HashedRecipe(1 / 64, 40, 4e-3, (0.1, 0.3), paper=2.79),
}


@dataclasses.dataclass(frozen=True)
class BinaryRecipe:
    """One network whose weights are all of one bit.

    The papers train 1000 epochs, the second of them networks four times as wide: what
    they report is given for comparison.
    """

    epochs: int
    learning_rate: float
    # Of the weights, as `tfc.transforms.Binary` takes it.
    scale: str | None
    has_binary_activations: bool
    paper: float | None


BINARY_WIDTH, NUM_HIDDEN = 1024, 3
BINARY = {
    # Courbariaux et al. (2015), table 2, deterministic.
    "BinaryConnect": BinaryRecipe(10, 3e-3, None, False, paper=1.29),
    # Hubara et al. (2016), table 1; 4096 neurons a layer.
    "BNN": BinaryRecipe(10, 3e-3, None, True, paper=0.96),
    "XNOR": BinaryRecipe(10, 3e-3, "mean", True, paper=None),
}


class Digits:
    """The images as rows of pixels, and how a model is trained on them.

    Args:
        options: of the command line.
        low: what background is; ink is 1.
    """

    def __init__(self, options, low):
        import keras

        import tfcompress as tfc

        parts = tfc.datasets.load("mnist", options.data_dir)
        if options.quick:
            parts = [[array[:_NUM_QUICK_IMAGES] for array in part] for part in parts]
        self.train, self.test = (
            (low + (1 - low) * images.reshape(len(images), -1), labels)
            for images, labels in parts
        )
        self.keras, self.is_quick = keras, options.quick
        keras.utils.set_random_seed(options.seed)

    def fit(self, name, model, recipe, loss, targets):
        """Adam, its rate falling to zero along a cosine; returns the epochs."""
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
        # The autotuner can hold up the end of an epoch for as long as the epoch itself.
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
    """Test errors and sizes of networks with few values that many weights share."""
    # Values are not shared with weights of pixels that are always zero.
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
    """The network, returning logits, and how many values it may have.

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


def binary(options):
    """Test errors and file sizes of networks of one bit."""
    digits = Digits(options, low=-1)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "binary.tflite"
        return [m for name in BINARY for m in _measure_binary(name, digits, path)]


def _measure_binary(name, digits, path):
    import tfcompress as tfc

    recipe, keras = BINARY[name], digits.keras
    model = build_binary(recipe)
    targets = 2 * np.eye(_NUM_CLASSES, dtype="float32")[digits.train[1]] - 1
    epochs = digits.fit(name, model, recipe, keras.losses.SquaredHinge(), targets)
    error = digits.percent_wrong(model.predict(digits.test[0], 500, verbose=0))
    sizes = {}
    for codec in (None, "auto"):
        small = with_plain_signs(tfc.strip(model), recipe)
        samples = digits.train[0][:64]
        sizes[codec] = tfc.export_tflite(small, path, samples=samples, codec=codec)
    with tfc.Interpreter(path) as interpreter:
        error_of_file = digits.percent_wrong(interpreter.run(digits.test[0]))
    harness.progress(f"{name}: {error:.2f} %, its file {error_of_file:.2f} %")
    whole, encoded = (result.size_bytes for result in sizes.values())
    return [
        harness.Measure(f"{name}: test error", error, "%", paper=recipe.paper),
        harness.Measure(f"{name}: test error of the file", error_of_file, "%"),
        harness.Measure(f"{name}: float32 file", whole, "bytes"),
        harness.Measure(f"{name}: encoded file", encoded, "bytes"),
        harness.Measure(f"{name}: float32 file over encoded", whole / encoded, "x"),
        harness.Measure(f"{name}: epochs", epochs),
    ]


def build_binary(recipe):
    """784-1024-1024-1024-10, each dense layer with batch norm behind it."""
    import keras

    import tfcompress as tfc

    layers = keras.layers
    blocks = [layers.Input((784,))]
    for _ in range(NUM_HIDDEN):
        blocks += [
            layers.Dense(BINARY_WIDTH, use_bias=False),
            # A gain would be lost in the next layer's batch norm, or in the sign.
            layers.BatchNormalization(momentum=0.9, scale=False),
            activation(recipe),
        ]
    blocks += [
        layers.Dense(_NUM_CLASSES, use_bias=False),
        layers.BatchNormalization(momentum=0.9),
    ]
    transforms = [tfc.transforms.Binary(recipe.scale)]
    return tfc.compress(keras.Sequential(blocks), {".*": transforms})


def activation(recipe):
    """The layer behind a batch norm."""
    import keras

    import tfcompress as tfc

    if recipe.has_binary_activations:
        return tfc.layers.QuantizedActivation("sign")
    return keras.layers.ReLU()


def with_plain_signs(model, recipe):
    """The same network with kernels of -1 and 1 in the hidden layers.

    The converter would write batch norm into the kernels, which then have two values a
    neuron instead of two in all. With the gain `g > 0` of a neuron

        relu(g x + b) = g relu(x + b / g),    sign(g x + b) = sign(x + b / g)
    """
    import keras

    stack = [layer for layer in model.layers if layer.weights]
    x = inputs = keras.Input(model.input_shape[1:])
    for dense, norm in zip(stack[:-2:2], stack[1:-2:2], strict=True):
        kernel = dense.kernel.numpy()
        scale = np.abs(kernel).max(axis=0)
        deviation = np.sqrt(norm.moving_variance.numpy() + norm.epsilon)
        bias = (norm.beta.numpy() * deviation - norm.moving_mean.numpy()) / scale
        signs = keras.layers.Dense(kernel.shape[1])
        x = activation(recipe)(signs(x))
        signs.set_weights([np.sign(kernel), bias])
        if not recipe.has_binary_activations:
            # Nothing is negative: `abs` only keeps the converter from multiplying the
            # gain into the kernel before or behind it.
            x = keras.ops.abs(keras.ops.abs(x) * (scale / deviation))
    for layer in stack[-2:]:
        copy = type(layer).from_config(layer.get_config())
        x = copy(x)
        copy.set_weights(layer.get_weights())
    return keras.Model(inputs, x)


ROWS = {"hashed": hashed, "binary": binary}

if __name__ == "__main__":
    harness.main(__doc__, ROWS)
