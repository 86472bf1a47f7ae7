"""Binary networks on MNIST and CIFAR-10: test errors in Keras and of their files."""

import dataclasses
import functools
import math
import pathlib
import tempfile

import cifar
import harness
import mnist_bits
import numpy as np

# Allowed difference in test error of a file, in percentage points.
TOLERANCE = 0.1
# Outputs count as equal up to this share of the largest. Keras and the runtime round
# differently, so that a number close to zero occasionally changes its sign.
_EQUAL = 1e-4
_NUM_SAMPLES = 64


@dataclasses.dataclass(frozen=True)
class DigitsRecipe:
    """One network on MNIST with 1-bit weights."""

    epochs: int
    learning_rate: float
    # Scale of the weights, as in `tfc.transforms.Binary`.
    scale: str | None
    has_binary_activations: bool
    paper: float | None


# The papers train for 1000 epochs, and the second one uses networks four times as wide:
# their results are given for comparison.
MLP = {
    # Courbariaux et al. (2015), table 2, deterministic.
    "BinaryConnect": DigitsRecipe(10, 3e-3, None, False, paper=1.29),
    # Hubara et al. (2016), table 1; 4096 neurons per layer.
    "BNN": DigitsRecipe(10, 3e-3, None, True, paper=0.96),
    "XNOR": DigitsRecipe(10, 3e-3, "mean", True, paper=None),
}
# Of hidden layers.
MLP_WIDTHS, QUICK_MLP_WIDTHS = (1024, 1024, 1024), (32,)
CNN = {
    name: dataclasses.replace(recipe, epochs=5, paper=None)
    for name, recipe in MLP.items()
}
CNN_FILTERS, CNN_WIDTH = (32, 64), 512


@dataclasses.dataclass(frozen=True)
class CifarRecipe:
    """How the residual network is built and trained."""

    filters: tuple
    blocks: int
    epochs: int
    learning_rate: float


RESNET = CifarRecipe((64, 128, 256), blocks=2, epochs=12, learning_rate=3e-3)
QUICK_RESNET = CifarRecipe((32,), blocks=1, epochs=1, learning_rate=3e-3)


def mlp(options):
    """MNIST with dense layers."""
    widths = QUICK_MLP_WIDTHS if options.quick else MLP_WIDTHS
    build = functools.partial(build_mlp, widths=widths)
    return _digits(options, "mlp", build, MLP)


def cnn(options):
    """MNIST with two convolutions and two dense layers."""
    return _digits(options, "cnn", build_cnn, CNN)


def _digits(options, network, build, recipes):
    digits = mnist_bits.Digits(options, low=-1)
    measures = []
    for name in list(recipes)[-1:] if options.quick else recipes:
        recipe = recipes[name]
        train = functools.partial(train_digits, name, build, recipe, digits)
        model = kept(f"{network}_{name}", options, train)
        measures += describe(name, model, digits.test, recipe.epochs, recipe.paper)
    return measures


def train_digits(name, build, recipe, digits):
    """The network of a recipe, trained with the loss of the papers."""
    import keras

    model = build(recipe)
    targets = 2 * np.eye(mnist_bits.NUM_CLASSES, dtype="float32")[digits.train[1]] - 1
    digits.fit(name, model, recipe, keras.losses.SquaredHinge(), targets)
    return model


def build_mlp(recipe, widths=MLP_WIDTHS):
    """784-1024-1024-1024-10, each dense layer binary, followed by batch norm."""
    import keras

    import tfcompress as tfc

    layers = keras.layers
    stack = [layers.Input((784,))]
    for width in widths:
        stack += [
            layers.Dense(width, use_bias=False),
            *_norm_and_activation(recipe),
        ]
    stack += [
        layers.Dense(mnist_bits.NUM_CLASSES, use_bias=False),
        layers.BatchNormalization(momentum=0.9),
    ]
    transforms = [tfc.transforms.Binary(recipe.scale)]
    return tfc.compress(keras.Sequential(stack), {".*": transforms})


def build_cnn(recipe):
    """3x3 convolutions with max pooling, then dense layers; rows of pixels as input.

    As in the papers, the first and last layers of XNOR-Net are real-valued, those of
    the others are binary too.
    """
    import keras

    import tfcompress as tfc

    layers = keras.layers
    stack = [layers.Input((784,)), layers.Reshape((28, 28, 1))]
    for number, filters in enumerate(CNN_FILTERS, 1):
        stack += [
            layers.Conv2D(
                filters, 3, padding="same", use_bias=False, name=f"c{number}"
            ),
            layers.MaxPooling2D(),
            *_norm_and_activation(recipe),
        ]
    stack += [
        layers.Flatten(),
        layers.Dense(CNN_WIDTH, use_bias=False, name="hidden"),
        *_norm_and_activation(recipe),
        layers.Dense(mnist_bits.NUM_CLASSES, use_bias=False, name="last"),
        layers.BatchNormalization(momentum=0.9),
    ]
    return tfc.compress(
        keras.Sequential(stack),
        {".*": [tfc.transforms.Binary(recipe.scale)]},
        skip=["c1", "last"] if recipe.scale else [],
    )


def _norm_and_activation(recipe):
    import keras

    import tfcompress as tfc

    # A gain would be lost in the next layer's batch norm, or in the sign.
    norm = keras.layers.BatchNormalization(momentum=0.9, scale=False)
    if recipe.has_binary_activations:
        return norm, tfc.layers.QuantizedActivation("sign")
    return norm, keras.layers.ReLU()


def resnet(options):
    """Bi-Real Net's blocks on CIFAR-10, between real-valued first and last layers."""
    import keras

    keras.utils.set_random_seed(options.seed)
    (x_train, y_train), (x_test, y_test) = cifar.load_data(options)
    recipe = QUICK_RESNET if options.quick else RESNET
    # As bytes, the training images take a quarter of the memory.
    images = np.rint(255 * x_train).astype(np.uint8)

    train = functools.partial(train_resnet, images, y_train, recipe, options)
    model = kept("resnet", options, train)
    return describe("Bi-Real", model, (255 * x_test, y_test), recipe.epochs)


def build_resnet(recipe=RESNET):
    """The network, which takes pixels from 0 to 255 and returns logits."""
    import keras

    import tfcompress as tfc

    layers = keras.layers
    x = inputs = layers.Input((32, 32, 3))
    x = layers.Rescaling(1 / 127.5, -1)(x)
    x = layers.Conv2D(recipe.filters[0], 3, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization()(layers.MaxPooling2D()(x))
    for section, filters in enumerate(recipe.filters, 1):
        for block in range(1, recipe.blocks + 1):
            strides = 2 if section > 1 and block == 1 else 1
            name = f"section{section}_block{block}"
            x = tfc.blocks.binary_residual(x, filters, strides=strides, name=name)
    x = layers.Dense(mnist_bits.NUM_CLASSES)(layers.GlobalAveragePooling2D()(x))
    return tfc.compress(keras.Model(inputs, x), {".*_binary": "binary"})


def train_resnet(images, labels, recipe, options):
    """Adam on mirrored crops, with a learning rate that decays to zero along a cosine.

    With `--models-dir`, interrupted training resumes where it stopped.
    """
    import keras
    import tensorflow as tf

    bordered = cifar.with_border(images)
    data = cifar.batches(
        len(labels),
        lambda chosen: (cifar.crop(bordered, chosen), tf.gather(labels, chosen)),
        options.seed,
    )
    steps, epochs = math.ceil(len(labels) / cifar.BATCH_SIZE), recipe.epochs
    rate = keras.optimizers.schedules.CosineDecay(recipe.learning_rate, epochs * steps)
    model = build_resnet(recipe)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss)
    reporter = cifar.Reporter("resnet", epochs)
    callbacks = [keras.callbacks.LambdaCallback(on_epoch_end=reporter)]
    if options.models_dir:
        folder = pathlib.Path(options.models_dir) / "resnet_unfinished"
        callbacks.append(keras.callbacks.BackupAndRestore(folder))
    model.fit(
        data.repeat(),
        epochs=epochs,
        steps_per_epoch=steps,
        verbose=0,
        shuffle=False,
        callbacks=callbacks,
    )
    return model


def kept(name, options, train):
    """The trained network, from `--models-dir` if it exists, otherwise saved there."""
    import keras

    if not options.models_dir:
        return train()
    path = pathlib.Path(options.models_dir) / f"{name}.keras"
    if path.exists():
        harness.progress(f"{name}: as trained before, {path}")
        return keras.models.load_model(path, compile=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    model = train()
    model.save(path)
    return model


def describe(name, model, test, epochs, paper=None):
    """Results of the model and its files on the test data."""
    images, labels = test
    expected = model.predict(images, 500, verbose=0)
    outputs, size, size_float32 = _run_file(model, images)
    error, error_of_file = (
        100 * float(np.mean(o.argmax(axis=1) != labels)) for o in (expected, outputs)
    )
    harness.progress(f"{name}: {error:.2f} %, its file {error_of_file:.2f} %")
    difference = round(abs(error_of_file - error), 6)
    same = 100 * float(np.mean(outputs.argmax(axis=1) == expected.argmax(axis=1)))
    differences = np.abs(outputs - expected).max(axis=1)
    equal = 100 * float(np.mean(differences <= _EQUAL * np.abs(expected).max()))
    return [
        harness.Measure(f"{name}: test error", error, "%", paper=paper),
        harness.Measure(f"{name}: test error of the file", error_of_file, "%"),
        harness.Measure(
            f"{name}: difference of the two", difference, "points", at_most=TOLERANCE
        ),
        harness.Measure(f"{name}: images of the same class in both", same, "%"),
        harness.Measure(f"{name}: images of equal outputs", equal, "%"),
        harness.Measure(
            f"{name}: largest difference of an output", float(differences.max())
        ),
        harness.Measure(f"{name}: file", size, "bytes"),
        harness.Measure(f"{name}: float32 file over it", size_float32 / size, "x"),
        harness.Measure(f"{name}: epochs", epochs),
    ]


def _run_file(model, images):
    """Outputs of the exported file, its bytes, and those of a float32 file."""
    import tfcompress as tfc

    export = functools.partial(tfc.export_tflite, model, samples=images[:_NUM_SAMPLES])
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "model.tflite"
        size_float32 = export(path, profile="builtin", verify=False).size_bytes
        size = export(path).size_bytes
        with tfc.Interpreter(path) as interpreter:
            return interpreter.run(images), size, size_float32


def add_options(parser):
    """Adds the option for the folder of trained models."""
    parser.add_argument(
        "--models-dir", help="folder in which trained models are saved and looked up"
    )


ROWS = {"mlp": mlp, "cnn": cnn, "resnet": resnet}

if __name__ == "__main__":
    harness.main(__doc__, ROWS, add_options, quick=["mlp", "resnet"])
