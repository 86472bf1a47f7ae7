"""ResNet-20 on CIFAR-10: a trained model, quantized to 8 bits without training."""

import pathlib
import tempfile

import cifar
import harness
import numpy as np

# Points of test accuracy that the int8 file may lose.
TOLERANCE = 0.3
_NUM_SAMPLES = 256
_PRECISIONS = ("float32", "int8")


def measure(options):
    """All figures of the model and its two files."""
    import keras

    import tfcompress as tfc

    keras.utils.set_random_seed(options.seed)
    (x_train, _), (x_test, y_test) = cifar.load_data(options.data_dir)
    if options.quick:
        x_test, y_test = x_test[:200], y_test[:200]
    # The model takes pixels from 0 to 255.
    samples, x_test = 255 * x_train[:_NUM_SAMPLES], 255 * x_test
    model = cifar.load_model(options)

    def accuracy(outputs):
        return 100 * float(np.mean(outputs.argmax(axis=1) == y_test))

    harness.progress("Evaluating the Keras model ...")
    reference = accuracy(model.predict(x_test, 500, verbose=0))
    measures = [
        harness.Measure(
            "test accuracy, Keras", reference, "%", paper=cifar.PUBLISHED_ACCURACY
        )
    ]
    with tempfile.TemporaryDirectory() as folder:
        for precision in _PRECISIONS:
            harness.progress(f"Exporting and running {precision} ...")
            path = pathlib.Path(folder) / f"{precision}.tflite"
            result = tfc.export_tflite(model, path, precision, samples=samples)
            with tfc.Interpreter(path) as interpreter:
                found = accuracy(interpreter.run(x_test))
            measures += _describe(path, result, found, reference)
    return measures


def _describe(path, result, accuracy, reference):
    name, lost = result.precision, round(reference - accuracy, 6)
    limits = {"float32": 0.01, "int8": TOLERANCE}
    yield harness.Measure(f"{name}: test accuracy", accuracy, "%")
    yield harness.Measure(f"{name}: accuracy lost", lost, "points", limits[name])
    if name == "int8":
        floats = sum(count for count, _ in result.float_operations.values())
        yield harness.Measure(f"{name}: float operations", floats, at_most=0)
    yield from harness.describe_file(name, path)


if __name__ == "__main__":
    harness.main(__doc__, {"resnet20": measure}, cifar.add_options)
