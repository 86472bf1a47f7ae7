"""Programs of a user of larq, for peers.py; TensorFlow 2.16, NumPy 1.26 and tf_keras.

Files of larq-compute-engine are judged and timed by its own interpreter, see lce_file.py.
"""

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"

from importlib import metadata

import larq
import larq_compute_engine as lce
import peer_task
import tf_keras


def convolution(*arguments, **options):
    return larq.layers.QuantConv2D(
        *arguments,
        input_quantizer="ste_sign",
        kernel_quantizer="ste_sign",
        kernel_constraint="weight_clip",
        **options,
    )


def binary(task, path):
    """QuantConv2D with ste_sign, converted by larq-compute-engine."""
    model = task.binary(convolution)
    task.fit(model, 2)
    with open(path, "wb") as file:
        file.write(lce.convert_keras_model(model))


PROGRAMS = {"binary": binary}

if __name__ == "__main__":
    versions = metadata.version("larq"), metadata.version("larq-compute-engine")
    peer_task.main(PROGRAMS, tf_keras, f"larq {versions[0]}, LCE {versions[1]}")
