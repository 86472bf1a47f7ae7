"""ResNet-20 trained with few bits, and the speed of 8 bits, compared with other tools."""

import dataclasses
import pathlib
import statistics
import tempfile

import cifar
import harness
import numpy as np

# Percentage points of test accuracy that 4-bit weights may lose.
TOLERANCE = 0.5
LATENCY_RATIO = 1.02
# First and last layer, as in other work on few bits; mixed bits are chosen per layer.
_EIGHT_BITS = ("conv1", "linear")
_IMAGE_SIDE = 224
_OURS = "trained in int8"


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How the model is trained after quantization."""

    epochs: int
    learning_rate: float
    # Percentage points that may be lost.
    tolerance: float | None


RECIPES = {
    "int4": Recipe(1, 0.01, TOLERANCE),
    "mixed": Recipe(1, 0.01, TOLERANCE),
    "ternary": Recipe(1, 0.02, None),
}
_AVERAGE_BITS, _CHOICES = 4, (2, 3, 4, 5, 6, 8)
_NUM_SAMPLES = 512


class Lab:
    """The model, the data with the model's own logits, and a folder for files."""

    def __init__(self, options, folder):
        import keras

        import tfcompress as tfc

        self.keras, self.tfc, self.folder = keras, tfc, folder
        keras.utils.set_random_seed(options.seed)
        (x_train, _), (x_test, self.y_test) = cifar.load_data(options)
        # The model takes pixels from 0 to 255.
        self.x_test = 255 * x_test
        self.steps_per_epoch = -(-len(x_train) // cifar.BATCH_SIZE)
        self.model = cifar.load_model(options)
        self.reference = self.accuracy(self.model.predict(self.x_test, 500, verbose=0))
        self.float32_bytes = tfc.export_tflite(
            self.model, folder / "float32.tflite", samples=self.x_test[:64]
        ).size_bytes
        harness.progress(
            f"{self.reference:.2f} % before; it looks at the training data"
        )
        images = np.rint(255 * x_train).astype(np.uint8)
        num_crops = max(recipe.epochs for recipe in RECIPES.values())
        self.samples = 255 * x_train[:_NUM_SAMPLES]
        self.data = cifar.teach(self.model, images, num_crops, options.seed)

    def accuracy(self, logits):
        """Test accuracy in percent."""
        return 100 * float(np.mean(logits.argmax(axis=1) == self.y_test))

    def rules(self, name):
        """The transforms of each layer's weights."""
        transforms = self.tfc.transforms

        def steps(bits):
            return [transforms.LearnedStep(bits, per_channel=True)]

        if name == "mixed":
            plan = self.tfc.mixed_precision(
                self.model, self.samples, average_bits=_AVERAGE_BITS, bits=_CHOICES
            )
            harness.progress(str(plan))
            return {layer: steps(bits) for layer, bits in plan.bits.items()}
        few = steps(4) if name == "int4" else [transforms.Ternary(per_channel=True)]
        eight = [transforms.Uniform(bits=8)]
        return {".*": few} | {layer: eight for layer in _EIGHT_BITS}

    def measure(self, name):
        """All figures of one model."""
        recipe = RECIPES[name]
        compressed = self.tfc.compress(self.model, self.rules(name))
        model = self.tfc.quantize_activations(compressed)
        self.fit(name, model, recipe)
        yield from self.describe(name, model, recipe)

    def fit(self, name, model, recipe):
        """SGD towards the logits of the float model, with cosine decay of the rate."""
        rate = self.keras.optimizers.schedules.CosineDecay(
            recipe.learning_rate, recipe.epochs * self.steps_per_epoch
        )
        model.compile(
            self.keras.optimizers.SGD(rate, momentum=0.9, nesterov=True),
            cifar.distillation_loss,
        )
        reporter = self.keras.callbacks.LambdaCallback(
            on_epoch_end=cifar.Reporter(name, recipe.epochs)
        )
        model.fit(
            self.data.repeat(),
            epochs=recipe.epochs,
            steps_per_epoch=self.steps_per_epoch,
            verbose=0,
            shuffle=False,
            callbacks=[reporter],
        )

    def describe(self, name, model, recipe):
        """Accuracy and sizes of the int4 file."""
        path, sizes = self.folder / f"{name}.tflite", {}
        for codec in ("auto", None):
            result = self.tfc.export_tflite(
                model, path, "int4", samples=self.x_test[:64], codec=codec
            )
            sizes[codec] = result.size_bytes
        with self.tfc.Interpreter(path) as interpreter:
            accuracy = self.accuracy(interpreter.run(self.x_test))
        harness.progress(f"{name}: {accuracy:.2f} %")
        lost = round(self.reference - accuracy, 6)
        yield harness.Measure(f"{name}: test accuracy of the file", accuracy, "%")
        yield harness.Measure(
            f"{name}: accuracy lost", lost, "points", at_most=recipe.tolerance
        )
        yield harness.Measure(f"{name}: file", sizes[None], "bytes")
        yield harness.Measure(f"{name}: encoded file", sizes["auto"], "bytes")
        ratio = self.float32_bytes / sizes["auto"]
        yield harness.Measure(f"{name}: float32 file over encoded", ratio, "x")
        yield harness.Measure(f"{name}: epochs", recipe.epochs)


def qat(options):
    """Accuracies and sizes of the model trained with few bits."""
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(options, pathlib.Path(folder))
        before = harness.Measure(
            "test accuracy before", lab.reference, "%", paper=cifar.PUBLISHED_ACCURACY
        )
        size = harness.Measure("float32 file", lab.float32_bytes, "bytes")
        recipes = ["int4"] if options.quick else RECIPES
        return [before, size, *(m for name in recipes for m in lab.measure(name))]


def latency(options):
    """Latency of MobileNetV2 trained in 8 bits, relative to conversions by other tools."""
    import keras

    import tfcompress as tfc

    keras.utils.set_random_seed(options.seed)
    if options.quick:
        side, rounds = 8, 1
        layers = [keras.Input((side, side, 3)), keras.layers.Conv2D(8, 3)]
        model = keras.Sequential(layers)
    else:
        side, rounds = _IMAGE_SIDE, 300
        model = keras.applications.MobileNetV2((side, side, 3), weights=None)
    generator = np.random.default_rng(options.seed)
    x = generator.uniform(-1, 1, (16, side, side, 3)).astype("float32")
    trained = tfc.compress(model, {".*": [tfc.transforms.Uniform(bits=8)]})
    trained = tfc.quantize_activations(trained)
    for batch in np.split(x, 4):
        trained(batch, training=True)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        files = {_OURS: folder / "qat.tflite", "converter": folder / "int8.tflite"}
        tfc.export_tflite(trained, files[_OURS], "int8", samples=x)
        tfc.export_tflite(model, files["converter"], "int8", samples=x)
        if not options.no_peers:
            tfc.export_tflite(model, folder / "float32.tflite", samples=x)
            files |= _by_litert_quantizer(folder, x, options)
        times = _interleaved(files, rounds)
    measures = [
        harness.Measure(f"{name}: latency", 1e3 * statistics.median(seconds), "ms")
        for name, seconds in times.items()
    ]
    ours = times.pop(_OURS)
    for name, seconds in times.items():
        ratio = harness.ratio(ours, seconds)
        measures.append(
            harness.Measure(f"{_OURS}, of {name}", ratio, "x", at_most=LATENCY_RATIO)
        )
    return measures


def _by_litert_quantizer(folder, samples, options):
    """`{tool and version: its int8 file}` of `float32.tflite` in a folder."""
    np.save(folder / "samples.npy", samples)
    target = folder / "litert_quantizer.tflite"
    task = {
        "source": str(folder / "float32.tflite"),
        "samples": str(folder / "samples.npy"),
        "target": str(target),
    }
    tool = harness.run_peer(
        "litert_quantizer", "litert_quantizer_int8.py", task, options.peers_dir
    )
    return {tool: target}


def _interleaved(files, rounds):
    """Seconds of each file on one thread, in turns, with inputs of its own type."""
    import tfcompress as tfc

    def run(path):
        interpreter = tfc.Interpreter(path)
        (detail,) = interpreter.input_details.values()
        x = np.zeros(detail["shape"], detail["dtype"])
        return lambda: interpreter.run(x)

    return harness.interleaved(
        {name: run(path) for name, path in files.items()}, rounds
    )


ROWS = {"qat": qat, "latency": latency}

if __name__ == "__main__":
    harness.main(__doc__, ROWS, cifar.add_options)
