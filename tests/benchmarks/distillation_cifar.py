"""A ResNet-8 that learns CIFAR-10 from a ResNet-20 in several ways."""

import dataclasses
import math
import statistics

import binary_accuracy
import cifar
import harness
import numpy as np

NUM_CLASSES = 10
NUM_SEEDS = 3
_FILTERS = (16, 32, 64)
_BATCH_SIZE = 64
_LEARNING_RATE = 0.05
# Random crops per image; each epoch uses one of each.
_NUM_CROPS = 3


@dataclasses.dataclass(frozen=True)
class Method:
    """One way to learn, with the weights that its source gives.

    Attributes:
        losses: losses for `tfc.distillation.Distiller`; None to learn only from labels.
        weight: of the distillation loss; the labels' loss has one, or `alpha` of one.
        reads_features: whether the teacher has to run along with the student.
    """

    losses: dict | None = None
    weight: float = 1.0
    alpha: float | None = None
    reads_features: bool = False


# KL and FitNets as in the comparison of Tian et al., "Contrastive Representation
# Distillation" (2020); FitNets' 100 is shared by three pairs of layers. AT: half of
# Zagoruyko and Komodakis' 1000 over the positions of a layer, 256 in the middle one.
METHODS = {
    "none": Method(),
    "KL": Method({"kl": {"temperature": 4.0}}, alpha=0.1),
    "FitNets": Method({"hints": {}}, weight=100 / 3, reads_features=True),
    "AT": Method({"attention_transfer": {}}, weight=2.0, reads_features=True),
    "LONDON": Method({"london": {}}, reads_features=True),
    "DKD": Method({"decoupled": {"temperature": 4.0}}),
}


def build_student(widths=_FILTERS):
    """ResNet-8, one block per stage; takes pixels from 0 to 255 and returns logits."""
    import keras

    layers = keras.layers
    inputs = layers.Input((32, 32, 3))
    x = layers.Rescaling(1 / 63.75, -2)(inputs)
    x = layers.ReLU()(_convolution(x, widths[0]))
    for filters in widths:
        strides = filters // x.shape[-1]
        y = layers.ReLU()(_convolution(x, filters, strides=strides))
        y = _convolution(y, filters)
        if strides > 1:
            x = _convolution(x, filters, size=1, strides=strides)
        x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(NUM_CLASSES)(x))


def _convolution(x, filters, size=3, strides=1):
    from keras import layers

    x = layers.Conv2D(filters, size, strides, padding="same", use_bias=False)(x)
    return layers.BatchNormalization(momentum=0.9)(x)


class Lab:
    """The crops that all students learn from, and the teacher's outputs for them."""

    def __init__(self, options):
        import keras

        import tfcompress as tfc

        self.keras, self.tfc, self.options = keras, tfc, options
        self.epochs = 1 if options.quick else options.cifar_epochs
        (images, labels), (self.x_test, self.y_test) = cifar.load_data(options)
        self.count = min(options.cifar_images, len(images))
        keras.utils.set_random_seed(options.seed)
        images = np.rint(255 * images[: self.count]).astype(np.uint8)
        num_crops = 1 if options.quick else _NUM_CROPS
        self.crops = cifar.fixed_crops(images, num_crops)
        self.labels = np.tile(labels[: self.count], num_crops)
        self.teacher = cifar.load_model(options)
        harness.progress("resnet: the teacher looks at all crops")
        self.logits = cifar.predict(self.teacher, self.crops)

    def accuracies(self, name):
        """Test accuracies of students with different seeds, in percent."""
        first, count = self.options.seed, 1 if self.options.quick else NUM_SEEDS
        return [self.learn(name, first + i) for i in range(count)]

    def learn(self, name, seed):
        """Test accuracy of one student."""
        student = binary_accuracy.kept(
            f"resnet8_{name}_{self.count}x{self.epochs}_{seed}",
            self.options,
            lambda: self.train(name, seed),
        )
        value = self.accuracy(student)
        harness.progress(f"{name}, seed {seed}: {value:.2f} %")
        return value

    def train(self, name, seed):
        """A student."""
        self.keras.utils.set_random_seed(seed)
        widths = _FILTERS[:1] if self.options.quick else _FILTERS
        student, method = build_student(widths), METHODS[name]
        self.fit(name, self.distiller(student, method), method, seed)
        return student

    def distiller(self, student, method):
        """The model to train: the student, or a model around it."""
        if method.losses is None:
            return student
        return self.tfc.distillation.Distiller(
            student,
            self.teacher if method.reads_features else None,
            method.losses,
            weights=[method.weight],
            alpha=method.alpha,
        )

    def fit(self, name, model, method, seed):
        """SGD with a learning rate that decays to zero along a cosine."""
        import tensorflow as tf

        is_taught = method.losses is not None and not method.reads_features
        crops, labels, logits = map(tf.constant, (self.crops, self.labels, self.logits))
        taught = self.tfc.distillation.Taught

        def pick(chosen):
            images = tf.cast(tf.gather(crops, chosen), tf.float32)
            y = tf.gather(labels, chosen)
            return images, taught(y, tf.gather(logits, chosen)) if is_taught else y

        steps = math.ceil(self.count / _BATCH_SIZE)
        rate = self.keras.optimizers.schedules.CosineDecay(
            _LEARNING_RATE, self.epochs * steps
        )
        model.compile(
            self.keras.optimizers.SGD(
                rate, momentum=0.9, nesterov=True, weight_decay=5e-4
            ),
            self.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        reporter = cifar.Reporter(f"{name}, seed {seed}", self.epochs)
        model.fit(
            cifar.batches(len(crops), pick, seed, _BATCH_SIZE).repeat(),
            epochs=self.epochs,
            steps_per_epoch=steps,
            verbose=0,
            shuffle=False,
            callbacks=[self.keras.callbacks.LambdaCallback(on_epoch_end=reporter)],
        )

    def accuracy(self, model):
        """Test accuracy in percent."""
        logits = model.predict(255 * self.x_test, 500, verbose=0)
        return 100 * float(np.mean(logits.argmax(axis=1) == self.y_test))


def measure(options):
    """Mean and range of test accuracies for each method."""
    lab = Lab(options)
    measures = [harness.Measure("teacher", lab.accuracy(lab.teacher), "%")]
    alone = None
    # Feature losses are trained in the same way.
    for name in list(METHODS)[:3] if options.quick else METHODS:
        values = lab.accuracies(name)
        mean = statistics.mean(values)
        alone = mean if alone is None else alone
        measures += [
            harness.Measure(
                f"{name}: test accuracy, mean of {NUM_SEEDS} seeds",
                mean,
                "%",
                at_least=alone if name == "KL" else None,
            ),
            harness.Measure(f"{name}: lowest", min(values), "%"),
            harness.Measure(f"{name}: highest", max(values), "%"),
        ]
    return [
        *measures,
        harness.Measure("training images", lab.count),
        harness.Measure("epochs", lab.epochs),
    ]


def add_options(parser):
    """Adds options for the number of images and epochs."""
    parser.add_argument(
        "--cifar-images", type=int, default=50_000, help="training images for ResNet-8"
    )
    parser.add_argument(
        "--cifar-epochs", type=int, default=3, help="epochs for ResNet-8"
    )
