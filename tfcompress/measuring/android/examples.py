"""Prepares examples for the device, and scores the outputs that it returns."""

import numpy as np

from tfcompress.core.samples import rounded_up
from tfcompress.runtime.interpreter import Interpreter, dequantized, quantized


class Examples:
    """Inputs in the dtypes of one model, with the outputs of Python's interpreter.

    Args:
        path: path of the `.tflite` file.
        x: real numbers, one example per row.
        y: class of each example, or one-hot rows; None if unknown.

    Attributes:
        x: the inputs as given.
        content: bytes of the inputs, in the model's batch size.
        expected: values of each output.
        labels: class of each example, or None.

    Raises:
        ValueError: if they do not match the model.
    """

    def __init__(self, path, x, y=None):
        x = np.asarray(x)
        with Interpreter(path) as interpreter:
            details = list(interpreter.input_details.values())
            self._outputs = list(interpreter.output_details.values())
            if len(details) > 1:
                raise ValueError(
                    f"{interpreter.name} has {len(details)} inputs; data for devices is "
                    "only supported for one input. Omit --data."
                )
            self.x = x
            given = quantized(x, details[0])
            expected = interpreter.run(given, raw=True)
        self._size = len(x)
        batch_size = int(details[0]["shape"][0])
        whole = rounded_up(self._size, batch_size)
        self._num_runs = whole // batch_size
        filled = np.minimum(np.arange(whole), self._size - 1)
        self.content = given[filled].tobytes()
        if not isinstance(expected, dict):
            expected = {self._outputs[0]["name"]: expected}
        self.expected = [self._real(expected[d["name"]], d) for d in self._outputs]
        self.labels = None if y is None else _labels(y, self._size)

    def results(self, content):
        """The accuracy and the agreement of outputs from the device.

        Args:
            content: bytes of all outputs, as the runner writes them.

        Raises:
            ValueError: if the number of bytes is wrong.
        """
        kind = np.dtype(
            [
                (f"{i}", d["dtype"], tuple(d["shape"]))
                for i, d in enumerate(self._outputs)
            ]
        )
        if len(content) != self._num_runs * kind.itemsize:
            raise ValueError(
                f"received {len(content):,} bytes of outputs, expected "
                f"{self._num_runs} times {kind.itemsize}"
            )
        records = np.frombuffer(content, kind)
        found = [
            self._real(np.concatenate(records[f"{i}"]), detail)[: self._size]
            for i, detail in enumerate(self._outputs)
        ]
        differences = np.concatenate(
            [np.abs(a - b).ravel() for a, b in zip(found, self.expected, strict=True)]
        )
        best, expected = _best(found[0]), _best(self.expected[0])
        agreement = {
            "examples": self._size,
            "same_top1": int(np.sum(best == expected)),
            "max_error": float(differences.max()),
            "mean_error": float(differences.mean()),
        }
        if self.labels is None or found[0].ndim != 2 or found[0].shape[1] < 2:
            return {"accuracy": None, "agreement": agreement}
        correct = int(np.sum(best == self.labels))
        accuracy = {"examples": self._size, "correct": correct}
        return {"accuracy": accuracy, "agreement": agreement}

    @staticmethod
    def _real(array, detail):
        return dequantized(array, detail).astype(np.float64)


def _best(outputs):
    return outputs.reshape(len(outputs), -1).argmax(axis=1)


def _labels(y, count):
    y = np.asarray(y)
    if len(y) != count:
        raise ValueError(f"y has {len(y)} labels, expected {count}, one per example.")
    return _best(y) if y.ndim > 1 and y.shape[1] > 1 else y.reshape(count)
