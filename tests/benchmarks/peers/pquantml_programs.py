"""Programs of a user of PQuantML, for peers.py; it needs TensorFlow 2.20 at most.

It writes for FPGAs, by hls4ml. Its weights are put into the plain network here, which the
converter writes as int8.
"""

from importlib import metadata

import keras
import peer_task
import pquant
import tensorflow as tf
from pquant.core.keras.train import PQuantCallback


def write_int8(model, samples, path):
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([x[None]] for x in samples)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    with open(path, "wb") as file:
        file.write(converter.convert())


def train(task, config):
    # Of 100 epochs the published schedule takes 67 to reach the sparsity.
    config.pruning_parameters.epsilon = 0.5
    config.training_parameters.pretraining_epochs = 0
    config.training_parameters.epochs = 2
    config.training_parameters.fine_tuning_epochs = 1
    # Activations exceed 1, some are negative.
    config.quantization_parameters.default_data_keep_negatives = 1.0
    config.quantization_parameters.dynamic_data_quantization = True
    config.quantization_parameters.granularity = "per_channel"
    # The first layer of a `Sequential` would be left as it is.
    network = task.model
    plain = keras.Model(network.inputs, network.outputs)
    model = pquant.add_compression_layers(plain, config)
    task.fit(model, 3, PQuantCallback(config, log_ebops=False, log_keep_ratio=False))
    trained = [layer for layer in model.layers if hasattr(layer, "kernel")]
    for layer in plain.layers:
        if layer.weights:
            compressed = trained.pop(0)
            layer.set_weights([compressed.kernel, compressed.bias])
    return plain


def prune_and_quantize(task, path):
    """PDP to 90 % with 8 bits, then int8 by the converter."""
    config = pquant.pdp_config()
    config.pruning_parameters.sparsity = 0.9
    write_int8(train(task, config), task.samples, path)


PROGRAMS = {"prune_and_quantize": prune_and_quantize}

if __name__ == "__main__":
    tool = f"PQuantML {metadata.version('pquant-ml')}"
    peer_task.main(PROGRAMS, keras, tool)
