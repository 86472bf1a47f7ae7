"""Counts the outputs in which two files differ with TFLite 2.16.2, for small_files.py.

That is the runtime of the Android library `org.tensorflow:tensorflow-lite:2.16.1`.
"""

import json
import sys

import numpy as np
import tensorflow as tf


def outputs(path, inputs):
    """Outputs of a file for each input."""
    interpreter = tf.lite.Interpreter(path, num_threads=1)
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    sink = interpreter.get_output_details()[0]["index"]
    found = []
    for one in inputs:
        interpreter.set_tensor(source, one[None])
        interpreter.invoke()
        found.append(interpreter.get_tensor(sink))
    return np.stack(found)


if __name__ == "__main__":
    task = json.loads(sys.argv[1])
    x = np.load(task["inputs"])
    before, after = (outputs(path, x) for path in task["paths"])
    print(json.dumps(int(np.sum(before != after))))
