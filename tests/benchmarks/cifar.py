"""CIFAR-10 and a ResNet-20 trained on it, for the scripts that compress it."""

import pathlib
import time

import harness
import numpy as np

BATCH_SIZE = 128
# Test accuracy in percent, as published with the model.
PUBLISHED_ACCURACY = 91.73
# Border around the image that random crops may cover, in pixels.
_MARGIN = 4
_TEMPERATURE = 4.0


def load_data(options, num_quick=16):
    """`((x_train, y_train), (x_test, y_test))`, pixels from 0 to 1."""
    data_dir = options.data_dir
    try:
        return harness.load_data("cifar10", options, num_quick)
    except FileNotFoundError as error:
        if data_dir and any(pathlib.Path(data_dir).glob("cifar10_*.med.xz")):
            error.add_note(
                "The folder contains the packed files. Unpack them in about 25 s with "
                f"`python {data_dir}/unpack_cifar10.py DIR` and pass --data-dir DIR."
            )
        raise


def load_model(options):
    """The trained model, which takes pixels from 0 to 255 and returns logits.

    Without a model, a quick run uses a small, untrained one.
    """
    import keras

    if options.quick and not (options.model or options.data_dir):
        return _stand_in()
    return keras.models.load_model(_model_path(options), compile=False)


def _model_path(options):
    if options.model:
        return options.model
    if not options.data_dir:
        raise SystemExit("Pass --model, the .keras file of a CIFAR-10 ResNet-20.")
    return pathlib.Path(options.data_dir) / "../models/cifar10_resnet20.keras"


def _stand_in():
    """One residual block at half the resolution, with the ResNet-20's layer names."""
    from keras import Input, Model, layers

    def convolution(x, name):
        x = layers.Conv2D(12, 3, padding="same", use_bias=False, name=name)(x)
        return layers.BatchNormalization()(x)

    inputs = Input((32, 32, 3))
    x = layers.ReLU()(convolution(layers.Rescaling(1 / 255)(inputs), "conv1"))
    x = layers.AveragePooling2D(2)(x)
    y = layers.ReLU()(convolution(x, "layer2_0_conv1"))
    x = layers.ReLU()(layers.Add()([x, convolution(y, "layer2_0_conv2")]))
    x = layers.GlobalAveragePooling2D()(x)
    return Model(inputs, layers.Dense(10, name="linear")(x))


def add_options(parser):
    """Adds the option for the path of the model."""
    parser.add_argument(
        "--model",
        help=".keras file; takes pixels from 0 to 255 and returns logits "
        "(default: DATA_DIR/../models/cifar10_resnet20.keras)",
    )


def teach(model, images, num_crops, seed):
    """Random crops of each image with the logits of a large model, in batches.

    With fixed crops, the model is run only once for all epochs.

    Args:
        model: returns the logits.
        images: array of `uint8`.
        num_crops: crops of each image.
        seed: seed of the order of the batches.
    """
    import tensorflow as tf

    crops = fixed_crops(images, num_crops)
    logits = predict(model, crops)
    crops, logits = tf.constant(crops), tf.constant(logits)
    return batches(
        len(crops),
        lambda chosen: (
            tf.cast(tf.gather(crops, chosen), tf.float32),
            tf.gather(logits, chosen),
        ),
        seed,
    )


def fixed_crops(images, num_crops):
    """Random crops of each image, as `uint8`: one of every image, then another of each.

    Args:
        images: array of `uint8`.
        num_crops: crops of each image.
    """
    import tensorflow as tf

    bordered, count = with_border(images), len(images)
    return np.concatenate(
        [
            tf.cast(crop(bordered, np.arange(i, min(i + 500, count))), tf.uint8)
            for _ in range(num_crops)
            for i in range(0, count, 500)
        ]
    )


def predict(model, images):
    """The outputs of a model for images of `uint8`."""
    return np.concatenate(
        [
            model.predict_on_batch(images[i : i + 500].astype(np.float32))
            for i in range(0, len(images), 500)
        ]
    )


def distillation_loss(teacher, student):
    """`tfc.distillation.KL`, with arguments in the order of a Keras loss."""
    import tfcompress as tfc

    return tfc.distillation.KL(_TEMPERATURE)(student, teacher)


def batches(count, pick, seed, batch_size=BATCH_SIZE):
    """Batches of `pick(numbers)` for the numbers below `count` in random order."""
    import tensorflow as tf

    options = tf.data.Options()
    # The autotuner can delay the end of an epoch by as long as the epoch itself.
    options.autotune.enabled = False
    return (
        tf.data.Dataset.range(count)
        .shuffle(count, seed=seed)
        .batch(batch_size)
        .map(pick)
        .prefetch(2)
        .with_options(options)
    )


def with_border(images):
    """The images with room for crops around them."""
    import tensorflow as tf

    border = [(0, 0), (_MARGIN, _MARGIN), (_MARGIN, _MARGIN), (0, 0)]
    return tf.constant(np.pad(images, border))


def crop(images, chosen):
    """Crops of images with a border as floats, half of them mirrored, all at once."""
    import tensorflow as tf

    count, size = tf.size(chosen), images.shape[1] - 2 * _MARGIN
    top, left = (
        tf.random.uniform([count, 1], 0, 2 * _MARGIN + 1, tf.int32) for _ in "xy"
    )
    mirrored = tf.random.uniform([count, 1]) < 0.5
    forward = tf.range(size)[None]
    columns = left + tf.where(mirrored, size - 1 - forward, forward)
    crops = tf.gather(tf.gather(images, chosen), top + forward, axis=1, batch_dims=1)
    crops = tf.gather(crops, columns, axis=2, batch_dims=1)
    return tf.cast(crops, tf.float32)


class Reporter:
    """Reports the loss and time at the end of each epoch."""

    def __init__(self, name, epochs):
        self._name, self._epochs = name, epochs
        self._start = time.perf_counter()

    def __call__(self, epoch, logs):
        now = time.perf_counter()
        harness.progress(
            f"{self._name}: epoch {epoch + 1} of {self._epochs}, loss "
            f"{logs['loss']:.4f}, {now - self._start:.0f} s"
        )
        self._start = now
