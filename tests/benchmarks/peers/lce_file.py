"""Accuracy of a file of larq-compute-engine, or its turns, by its own interpreter."""

import json
import sys

import numpy as np
import turns
from larq_compute_engine.tflite.python.interpreter import Interpreter


def main(path, images, labels, scale, repeats=None):
    """Prints the percentage of right answers; with `repeats`, answers like turns.py."""
    with open(path, "rb") as file:
        interpreter = Interpreter(file.read(), num_threads=1)
    x = (np.load(images) * np.float32(scale)).astype("float32")
    if repeats:
        turns.answer(lambda: interpreter.predict(x[:1]), repeats)
        return
    outputs = interpreter.predict(x)
    print(json.dumps(100 * float(np.mean(outputs.argmax(axis=1) == np.load(labels)))))


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
