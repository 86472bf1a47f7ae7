"""A binary convolution with larq-compute-engine, for binary_ops.py.

Its converter and its interpreter run with TensorFlow 2.16, NumPy 1.26 and tf_keras.
"""

import json
import os
import sys

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import larq
import larq_compute_engine as lce
import numpy as np
import tf_keras
import turns
from larq_compute_engine.tflite.python.interpreter import Interpreter


def main(size, channels, num_threads, repeats):
    """Builds the layer, then answers like turns.py."""
    layer = larq.layers.QuantConv2D(
        channels,
        3,
        padding="same",
        pad_values=1.0,
        use_bias=False,
        input_quantizer="ste_sign",
        kernel_quantizer="ste_sign",
        kernel_constraint="weight_clip",
    )
    shape = (size, size, channels)
    content = lce.convert_keras_model(
        tf_keras.Sequential([tf_keras.Input(shape), layer])
    )
    interpreter = Interpreter(content, num_threads)
    x = np.random.default_rng(0).normal(size=(1, *shape)).astype("float32")
    turns.answer(lambda: interpreter.predict(x), repeats)


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
