"""What all tests and doctests share; loaded by pytest through pyproject.toml."""

import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
# Several processes share the cores, on which its threads would wait for each other.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcompress as tfc

# Two logical devices, so that MirroredStrategy has something to mirror.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * 2,
)


@pytest.fixture(autouse=True)
def _doctest_names(doctest_namespace, tmp_path):
    doctest_namespace.update(keras=keras, np=np, tf=tf, tfc=tfc, tmp_path=tmp_path)


@pytest.fixture(autouse=True)
def _fresh_state():
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture
def uncompiled():
    """In it functions run step by step.

    Compiling one takes longer than the few steps of a small test.
    """
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)
