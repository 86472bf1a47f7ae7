"""Programs of a user of tfmot, for peers.py; its environment has no Keras 3."""

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import peer_task
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras
from tensorflow_model_optimization.python.core.clustering.keras.experimental import (
    cluster as preserving,
)

LINEAR = tfmot.clustering.keras.CentroidInitialization.LINEAR
CombinedScheme = tfmot.experimental.combine.Default8BitClusterPreserveQuantizeScheme


def write_int8(model, samples, path):
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([x[None]] for x in samples)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    with open(path, "wb") as file:
        file.write(converter.convert())


def write_trained(model, path):
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    with open(path, "wb") as file:
        file.write(converter.convert())


def pruned(task, epochs):
    schedule = tfmot.sparsity.keras.PolynomialDecay(
        initial_sparsity=0.0,
        final_sparsity=0.9,
        begin_step=0,
        end_step=task.steps(epochs) * 2 // 3,
        frequency=50,
    )
    model = tfmot.sparsity.keras.prune_low_magnitude(
        task.model, pruning_schedule=schedule
    )
    task.fit(model, epochs, tfmot.sparsity.keras.UpdatePruningStep())
    return tfmot.sparsity.keras.strip_pruning(model)


def prune(task, path):
    """prune_low_magnitude, then int8 by the converter."""
    write_int8(pruned(task, 2), task.samples, path)


def prune_float(task, path):
    """prune_low_magnitude, float32 with EXPERIMENTAL_SPARSITY."""
    converter = tf.lite.TFLiteConverter.from_keras_model(pruned(task, 2))
    converter.optimizations = [tf.lite.Optimize.EXPERIMENTAL_SPARSITY]
    with open(path, "wb") as file:
        file.write(converter.convert())


def cluster(task, path):
    """cluster_weights, then int8 by the converter."""
    model = tfmot.clustering.keras.cluster_weights(
        task.model, number_of_clusters=16, cluster_centroids_init=LINEAR
    )
    task.fit(model, 1)
    stripped = tfmot.clustering.keras.strip_clustering(model)
    write_int8(stripped, task.samples, path)


def quantize(task, path):
    """quantize_model."""
    model = tfmot.quantization.keras.quantize_model(task.model)
    task.fit(model, 1)
    write_trained(model, path)


def combine(task, path):
    """PCQAT: prune_low_magnitude, cluster_weights, quantize_apply."""
    clustered = preserving.cluster_weights(
        pruned(task, 2),
        number_of_clusters=16,
        cluster_centroids_init=LINEAR,
        preserve_sparsity=True,
    )
    task.fit(clustered, 1)
    stripped = tfmot.clustering.keras.strip_clustering(clustered)
    annotated = tfmot.quantization.keras.quantize_annotate_model(stripped)
    scheme = CombinedScheme(preserve_sparsity=True)
    model = tfmot.quantization.keras.quantize_apply(annotated, scheme)
    task.fit(model, 1)
    write_trained(model, path)


PROGRAMS = {
    function.__name__: function
    for function in (prune, prune_float, cluster, quantize, combine)
}

if __name__ == "__main__":
    peer_task.main(PROGRAMS, tf_keras, f"tfmot {tfmot.__version__}")
