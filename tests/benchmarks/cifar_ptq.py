"""ResNet-20 on CIFAR-10: a trained model, quantized to few bits without training."""

import dataclasses
import pathlib
import tempfile
import time

import cifar
import harness
import numpy as np

# Percentage points of test accuracy that a file may lose.
_TOLERANCES = {"float32": 0.01, "int8": 0.1}
_MIXED_TOLERANCE = 0.5
_NUM_SAMPLES = 512
_AVERAGE_BITS = 4
# Arguments of tfc.quantize_weights.
_INT4_METHODS = {
    "nearest": {"scales": "max", "correct_bias": False},
    "MSE steps": {"scales": "mse", "correct_bias": False},
    "output MSE steps": {"scales": "output_mse", "correct_bias": False},
    "bias correction": {"scales": "max"},
    "GPTQ": {"rounding": "gptq"},
    "AdaRound": {"rounding": "ada_round"},
}


@dataclasses.dataclass
class Lab:
    """The model, data, and a folder for files."""

    options: object
    folder: pathlib.Path

    def __post_init__(self):
        import keras

        import tfcompress as tfc

        self.tfc = tfc
        keras.utils.set_random_seed(self.options.seed)
        (x_train, _), (x_test, y_test) = cifar.load_data(self.options)
        count = 8 if self.options.quick else _NUM_SAMPLES
        # The model takes pixels from 0 to 255.
        self.samples, self.x_test = 255 * x_train[:count], 255 * x_test
        self.y_test = y_test
        self.model = cifar.load_model(self.options)
        harness.progress("Evaluating the Keras model ...")
        self.reference = self.accuracy(self.model.predict(self.x_test, 500, verbose=0))

    def accuracy(self, outputs):
        """Accuracy of logits, in percent."""
        return 100 * float(np.mean(outputs.argmax(axis=1) == self.y_test))

    def write(self, model, precision):
        """The result of the export, and the accuracy of the file in percent."""
        path = self.folder / f"{precision}.tflite"
        result = self.tfc.export_tflite(model, path, precision, samples=self.samples)
        with self.tfc.Interpreter(path) as interpreter:
            return result, self.accuracy(interpreter.run(self.x_test))

    def describe_file(self, name, path):
        """Sizes and speed."""
        return harness.describe_file(name, path, self.options.quick)

    def describe(self, name, accuracy, at_most=None):
        """Accuracy and accuracy lost."""
        lost = round(self.reference - accuracy, 6)
        yield harness.Measure(f"{name}: test accuracy", accuracy, "%")
        yield harness.Measure(f"{name}: accuracy lost", lost, "points", at_most)


def measure_converter(lab):
    """The files that need no quantization method."""
    yield harness.Measure(
        "test accuracy, Keras", lab.reference, "%", paper=cifar.PUBLISHED_ACCURACY
    )
    precisions = ("float32", "float16", "dynamic", "int8", "int16x8", "int4")
    for precision in ("int8",) if lab.options.quick else precisions:
        harness.progress(f"Exporting and running {precision} ...")
        result, accuracy = lab.write(lab.model, precision)
        yield from lab.describe(precision, accuracy, _TOLERANCES.get(precision))
        if precision == "int8":
            floats = sum(count for count, _ in result.float_operations.values())
            yield harness.Measure(f"{precision}: float operations", floats, at_most=0)
        yield from lab.describe_file(precision, result.path)


def measure_int4(lab):
    """4-bit weights and 8-bit activations, by method."""
    ranged = lab.tfc.quantize_activations(lab.model, ranges="mse", samples=lab.samples)
    methods = _INT4_METHODS
    if lab.options.quick:
        methods = {"AdaRound": {"rounding": {"ada_round": {"iterations": 3}}}}
    for name, arguments in methods.items():
        start = time.perf_counter()
        model = lab.tfc.quantize_weights(ranged, 4, lab.samples, **arguments)
        seconds = time.perf_counter() - start
        _, accuracy = lab.write(model, "int4")
        harness.progress(f"{name}: {accuracy:.2f} %, {seconds:.0f} s")
        yield from lab.describe(name, accuracy)
        yield harness.Measure(f"{name}: time", seconds, "s")


def measure_mixed(lab):
    """Bits per layer, 4 on average."""
    ranged = lab.tfc.quantize_activations(lab.model, ranges="mse", samples=lab.samples)
    plan = lab.tfc.mixed_precision(
        lab.model, lab.samples, average_bits=_AVERAGE_BITS, bits=(2, 3, 4, 5, 6, 8)
    )
    harness.progress(str(plan))
    rounding = "nearest" if lab.options.quick else "ada_round"
    model = lab.tfc.quantize_weights(ranged, plan.bits, lab.samples, rounding)
    result, accuracy = lab.write(model, "int4")
    yield from lab.describe("mixed", accuracy, _MIXED_TOLERANCE)
    yield harness.Measure("mixed: average bits", plan.average_bits, "", _AVERAGE_BITS)
    yield from lab.describe_file("mixed", result.path)


def measure_ladder(lab):
    """The methods in order of cost, until none of them loses more than 0.1 points."""
    for precision in ("int4",) if lab.options.quick else ("int8", "int4"):
        path = lab.folder / f"ladder_{precision}.tflite"
        test = lab.x_test, lab.y_test
        ladder = lab.tfc.quantize_ladder(
            lab.model, path, lab.samples, test, 0.001, precision, verbose=0
        )
        harness.progress(str(ladder))
        for rung in ladder.rungs[1:]:
            yield harness.Measure(
                f"{precision}, {rung.name}: lost", 100 * rung.drop, "points"
            )


def _row(measure):
    def run(options):
        with tempfile.TemporaryDirectory() as folder:
            return list(measure(Lab(options, pathlib.Path(folder))))

    return run


ROWS = {
    "converter": _row(measure_converter),
    "int4": _row(measure_int4),
    "mixed": _row(measure_mixed),
    "ladder": _row(measure_ladder),
}

if __name__ == "__main__":
    harness.main(__doc__, ROWS, cifar.add_options)
