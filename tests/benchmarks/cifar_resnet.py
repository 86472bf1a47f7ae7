"""ResNet-20 on CIFAR-10 at about half the cost, in five ways, each with fine-tuning."""

import dataclasses
import functools
import math
import pathlib
import tempfile

import cifar
import harness
import numpy as np

# Percentage points of test accuracy that the structured row may lose.
TOLERANCE = 1.0
_MACS_RATIO = 0.5
_NUM_CALIBRATION_BATCHES = 20
# Random crops of each image that a distilled model learns from.
_NUM_CROPS = 3
_LATER_STAGES = "layer[23]_._conv."
# Channels in shortcuts; those inside blocks are cut instead.
_SHORTCUT = ("conv1", "layer._._conv2")
_ALL_STAGES = "layer._._conv."


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How one row is fine-tuned."""

    epochs: int
    learning_rate: float
    # Whether it learns the logits of the original model instead of labels.
    is_distilled: bool = False


RECIPES = {
    "structured": Recipe(epochs=20, learning_rate=0.03, is_distilled=True),
    "svd": Recipe(epochs=2, learning_rate=0.01),
    "tucker": Recipe(epochs=2, learning_rate=0.01),
    "depthwise": Recipe(epochs=2, learning_rate=0.02),
    "substitute": Recipe(epochs=10, learning_rate=0.05),
}


class Lab:
    """Builds the smaller model of one row, trains and measures it."""

    def __init__(self, row, options):
        import keras

        import tfcompress as tfc

        self.keras, self.tfc, self.seed = keras, tfc, options.seed
        self.row, self.recipe = row, RECIPES[row]
        keras.utils.set_random_seed(options.seed)
        parts, epochs = cifar.load_data(options), options.epochs
        self.is_quick, self.num_crops = options.quick, _NUM_CROPS
        if options.quick:
            epochs, self.num_crops = epochs or 1, 1
        if epochs:
            self.recipe = dataclasses.replace(self.recipe, epochs=epochs)
        (x_train, self.y_train), (x_test, self.y_test) = parts
        # As bytes, the training images take a quarter of the memory.
        self.x_train = np.rint(255 * x_train).astype(np.uint8)
        self.x_test = 255 * x_test
        self.model = cifar.load_model(options)

    def measure(self, folder):
        """All figures of the row."""
        small, figures = getattr(self, self.row)()
        accuracies = {
            "before": self.accuracy("before", self.model),
            "after cutting": self.accuracy("after cutting", small),
        }
        self.fit(small)
        accuracies["after fine-tuning"] = self.accuracy("after fine-tuning", small)
        files = {
            "before": self.export(self.model, folder / "before.tflite"),
            "after": self.export(small, folder / "after.tflite"),
        }
        return [
            *figures,
            *self.describe_accuracy(accuracies),
            *self.describe_size(small),
            *(
                figure
                for name, path in files.items()
                for figure in harness.describe_file(name, path, self.is_quick)
            ),
        ]

    def structured(self):
        """Half the MACs by cutting channels."""
        small = self.tfc.prune_channels(
            self.model,
            target_macs=_MACS_RATIO,
            criterion="l2",
            scope="local",
            ignore=_SHORTCUT,
            data=self.calibration_batches(),
        )
        return small, []

    def svd(self):
        """Each 3x3 convolution as a 3x1 and a 1x3 convolution."""
        rank = self.tfc.rewrites.ranks.TargetMacs(0.6)
        return self.factorized(self.tfc.rewrites.SpatialSVD(rank), _ALL_STAGES)

    def tucker(self):
        """Each 3x3 convolution between fewer channels."""
        rank = self.tfc.rewrites.ranks.TargetMacs(0.5)
        return self.factorized(self.tfc.rewrites.Tucker(rank), _ALL_STAGES)

    def depthwise(self):
        """Convolutions of two stages as two depthwise filters per channel, then 1x1."""
        rewrite = self.tfc.rewrites.DepthwiseSeparable(rank=2)
        return self.factorized(rewrite, _LATER_STAGES)

    def substitute(self):
        """The same stages with new depthwise blocks."""
        block = "depthwise_separable"
        small = self.tfc.blocks.substitute(
            self.model, block, where=_LATER_STAGES, verbose=0
        )
        return self.recalibrated(small), []

    def factorized(self, rewrite, where):
        """The factorized model, and the distance of its kernels from the old ones."""
        rewrites = self.tfc.rewrites
        plan = rewrites.plan_factorization(self.model, rewrite, where)
        errors = [row.error for row in plan.layers if row.error is not None]
        small = rewrites.factorize(self.model, rewrite, where, verbose=0)
        return self.recalibrated(small), [
            harness.Measure("layers factorised", len(errors)),
            harness.Measure("error of a kernel, mean", float(np.mean(errors))),
            harness.Measure("error of a kernel, largest", max(errors)),
        ]

    def recalibrated(self, model):
        """The model with recomputed batch norm statistics."""
        batches = self.calibration_batches()
        return self.tfc.rewrites.recalibrate_batch_norm(model, batches)

    def calibration_batches(self):
        """The first training images, unchanged, as a list of batches."""
        count = min(_NUM_CALIBRATION_BATCHES * cifar.BATCH_SIZE, len(self.x_train))
        return [
            (
                self.x_train[start : start + cifar.BATCH_SIZE].astype(np.float32),
                self.y_train[start : start + cifar.BATCH_SIZE],
            )
            for start in range(0, count, cifar.BATCH_SIZE)
        ]

    def fit(self, model):
        """SGD with a learning rate that decays to zero along a cosine."""
        epochs = self.recipe.epochs
        data, loss = self.teach() if self.recipe.is_distilled else self.label()
        rate = self.keras.optimizers.schedules.CosineDecay(
            self.recipe.learning_rate,
            epochs * math.ceil(len(self.x_train) / cifar.BATCH_SIZE),
        )
        model.compile(
            self.keras.optimizers.SGD(
                rate, momentum=0.9, nesterov=True, weight_decay=5e-4
            ),
            loss,
        )
        reporter = self.keras.callbacks.LambdaCallback(
            on_epoch_end=cifar.Reporter(self.row, epochs)
        )
        model.fit(
            data.repeat(),
            epochs=epochs,
            steps_per_epoch=math.ceil(len(self.x_train) / cifar.BATCH_SIZE),
            verbose=0,
            callbacks=[reporter],
        )

    def label(self):
        """Random crops of the training images, half of them mirrored, with labels."""
        import tensorflow as tf

        images, labels = cifar.with_border(self.x_train), self.y_train
        data = cifar.batches(
            len(labels),
            lambda chosen: (cifar.crop(images, chosen), tf.gather(labels, chosen)),
            self.seed,
        )
        return data, self.keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def teach(self):
        """A few crops of each training image, with the logits of the large model."""
        harness.progress(
            f"{self.row}: the large model looks at {self.num_crops} crops each"
        )
        data = cifar.teach(self.model, self.x_train, self.num_crops, self.seed)
        return data, cifar.distillation_loss

    def export(self, model, path):
        """Path of the written file."""
        self.tfc.export_tflite(model, path, samples=self.x_test[:64])
        return path

    def accuracy(self, step, model):
        """Test accuracy in percent."""
        logits = model.predict(self.x_test, 500, verbose=0)
        value = 100 * float(np.mean(logits.argmax(axis=1) == self.y_test))
        harness.progress(f"{self.row}: {value:.2f} % {step}")
        return value

    def describe_accuracy(self, accuracies):
        """The accuracy at each step, and the final loss of accuracy."""
        paper = {"before": cifar.PUBLISHED_ACCURACY}
        for step, value in accuracies.items():
            yield harness.Measure(
                f"test accuracy {step}", value, "%", paper=paper.get(step)
            )
        lost = round(accuracies["before"] - accuracies["after fine-tuning"], 6)
        limits = {"at_most": TOLERANCE} if self.row == "structured" else {}
        yield harness.Measure("accuracy lost", lost, "points", **limits)
        yield harness.Measure("epochs", self.recipe.epochs)

    def describe_size(self, small):
        """Parameters and MACs."""
        from tfcompress.core.macs import macs

        before, after = (sum(macs(m).values()) for m in (self.model, small))
        limits = {"at_most": _MACS_RATIO} if self.row == "structured" else {}
        yield harness.Measure("MACs, after over before", after / before, **limits)
        yield harness.Measure("MACs before", before)
        yield harness.Measure("MACs after", after)
        yield harness.Measure("parameters before", self.model.count_params())
        yield harness.Measure("parameters after", small.count_params())


def measure(row, options):
    """All figures of one row."""
    with tempfile.TemporaryDirectory() as folder:
        return Lab(row, options).measure(pathlib.Path(folder))


def _add_options(parser):
    cifar.add_options(parser)
    defaults = ", ".join(f"{row} {recipe.epochs}" for row, recipe in RECIPES.items())
    parser.add_argument(
        "--epochs", type=int, help=f"epochs of fine-tuning (default: {defaults})"
    )


if __name__ == "__main__":
    harness.main(
        __doc__,
        {row: functools.partial(measure, row) for row in RECIPES},
        _add_options,
        quick=["structured", "substitute"],
    )
