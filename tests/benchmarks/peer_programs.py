"""Programs of a user of tfcompress, Keras or the converter, for peers.py."""

import keras
import tensorflow as tf

import tfcompress as tfc


def converter_int8(task, path):
    """TFLiteConverter, int8."""
    converter = tf.lite.TFLiteConverter.from_keras_model(task.model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([x[None]] for x in task.samples)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    with open(path, "wb") as file:
        file.write(converter.convert())


def keras_int8(task, path):
    """model.quantize, int8."""
    model = task.model
    model.quantize("int8")
    model.export(path, format="litert")


def keras_int4(task, path):
    """model.quantize, int4."""
    model = task.model
    model.quantize("int4")
    model.export(path, format="litert")


def keras_float(task, path):
    """model.export, float32."""
    task.model.export(path, format="litert")


def int8(task, path):
    """int8."""
    tfc.export_tflite(task.model, path, "int8", samples=task.samples)


def int8_coded(task, path):
    """int8, codec."""
    tfc.export_tflite(task.model, path, "int8", samples=task.samples, codec="auto")


def int4(task, path):
    """4-bit kernels, AdaRound."""
    model = tfc.quantize_activations(task.model, ranges="mse", samples=task.samples)
    model = tfc.quantize_weights(model, 4, task.samples, "ada_round")
    tfc.export_tflite(model, path, "int4", samples=task.samples)


def int4_gptq(task, path):
    """4-bit kernels, GPTQ."""
    model = tfc.quantize_activations(task.model, ranges="mse", samples=task.samples)
    model = tfc.quantize_weights(model, 4, task.samples, "gptq")
    tfc.export_tflite(model, path, "int4", samples=task.samples)


def int4_coded(task, path):
    """4-bit kernels, GPTQ, codec."""
    model = tfc.quantize_activations(task.model, ranges="mse", samples=task.samples)
    model = tfc.quantize_weights(model, 4, task.samples, "gptq")
    tfc.export_tflite(model, path, "int4", samples=task.samples, codec="auto")


def with_zeros(task, path, sparsity):
    model = tfc.quantize_activations(task.model, ranges="mse", samples=task.samples)
    model = tfc.prune_weights(model, sparsity, task.samples, "sparse_gpt", bits=4)
    tfc.export_tflite(model, path, "int4", samples=task.samples, codec="auto")


def half_zeros_coded(task, path):
    """50 % zeros and 4-bit kernels, SparseGPT, codec."""
    with_zeros(task, path, 0.5)


def most_zeros_coded(task, path):
    """80 % zeros and 4-bit kernels, SparseGPT, codec."""
    with_zeros(task, path, 0.8)


def mixed(task, path):
    """4 bits on average, AdaRound, codec."""
    plan = tfc.mixed_precision(
        task.model, task.samples, average_bits=4, bits=(2, 3, 4, 5, 6, 8)
    )
    model = tfc.quantize_activations(task.model, ranges="mse", samples=task.samples)
    model = tfc.quantize_weights(model, plan.bits, task.samples, "ada_round")
    tfc.export_tflite(model, path, "int4", samples=task.samples, codec="auto")


def pruned(task, scope):
    model = tfc.compress(task.model, {".*": tfc.transforms.Mask()})
    schedule = tfc.schedules.Polynomial(
        final_sparsity=0.9, begin_step=0, end_step=task.steps(2) * 2 // 3, frequency=50
    )
    task.fit(model, 2, tfc.callbacks.Pruning(schedule, scope=scope))
    return model


def prune(task, path):
    """Mask, int8, codec."""
    model = pruned(task, "local")
    tfc.export_tflite(model, path, "int8", samples=task.samples, codec="auto")


def prune_global(task, path):
    """Mask of all layers together, int8, codec."""
    model = pruned(task, "global")
    tfc.export_tflite(model, path, "int8", samples=task.samples, codec="auto")


def prune_plain(task, path):
    """Mask, int8."""
    model = pruned(task, "local")
    tfc.export_tflite(model, path, "int8", samples=task.samples)


def prune_float(task, path):
    """Mask, float32, sparse."""
    model = pruned(task, "local")
    tfc.export_tflite(model, path, samples=task.samples, sparse="always")


def share(task, path):
    """Codebook, int8, codec."""
    model = tfc.compress(task.model, {".*": tfc.transforms.Codebook(16)})
    task.fit(model, 1)
    tfc.export_tflite(model, path, "int8", samples=task.samples, codec="auto")


def share_plain(task, path):
    """Codebook, int8."""
    model = tfc.compress(task.model, {".*": tfc.transforms.Codebook(16)})
    task.fit(model, 1)
    tfc.export_tflite(model, path, "int8", samples=task.samples)


def share_on_grid(task, path):
    """Codebook, Uniform, int8, codec."""
    transforms = [tfc.transforms.Codebook(16), tfc.transforms.Uniform(8)]
    model = tfc.quantize_activations(tfc.compress(task.model, {".*": transforms}))
    task.fit(model, 1)
    tfc.export_tflite(model, path, "int8", samples=task.samples, codec="auto")


def train_int8(task, path):
    """Uniform, trained ranges, int8."""
    model = tfc.compress(task.model, {".*": tfc.transforms.Uniform(8)})
    model = tfc.quantize_activations(model)
    task.fit(model, 1)
    tfc.export_tflite(model, path, "int8", samples=task.samples)


def train_int4(task, path):
    """LearnedStep of 4 bits, trained ranges, int4."""
    step = tfc.transforms.LearnedStep(4, per_channel=True)
    model = tfc.quantize_activations(tfc.compress(task.model, {".*": step}))
    task.fit(model, 1)
    tfc.export_tflite(model, path, "int4", samples=task.samples)


def prune_and_quantize(task, path):
    """Mask and Uniform in one fit, int8, codec."""
    transforms = [tfc.transforms.Mask(), tfc.transforms.Uniform(8)]
    model = tfc.quantize_activations(tfc.compress(task.model, {".*": transforms}))
    schedule = tfc.schedules.Polynomial(
        final_sparsity=0.9, begin_step=0, end_step=task.steps(2) * 2 // 3, frequency=50
    )
    task.fit(model, 3, tfc.callbacks.Pruning(schedule, scope="global"))
    tfc.export_tflite(model, path, "int8", samples=task.samples, codec="auto")


def combine(task, path):
    """Mask, Codebook, Uniform in one fit, int8, codec."""
    transforms = [
        tfc.transforms.Mask(),
        tfc.transforms.Codebook(16),
        tfc.transforms.Uniform(8),
    ]
    model = tfc.quantize_activations(tfc.compress(task.model, {".*": transforms}))
    schedule = tfc.schedules.Polynomial(
        final_sparsity=0.9, begin_step=0, end_step=task.steps(2) * 2 // 3, frequency=50
    )
    task.fit(model, 4, tfc.callbacks.Pruning(schedule))
    tfc.export_tflite(model, path, "int8", samples=task.samples, codec="auto")


def binary_convolution(*arguments, **options):
    convolution = keras.layers.Conv2D(*arguments, **options)
    return [tfc.layers.QuantizedActivation("sign"), convolution]


def trained_binary(task):
    model = task.binary(binary_convolution)
    model = tfc.compress(model, {"binary.*": tfc.transforms.Binary()})
    task.fit(model, 2)
    return model


def binary(task, path):
    """Binary, signs as inputs."""
    tfc.export_tflite(trained_binary(task), path, samples=task.samples)


def binary_int8(task, path):
    """Binary, signs as inputs, the rest int8."""
    tfc.export_tflite(trained_binary(task), path, "int8", samples=task.samples)


TFCOMPRESS = {
    function.__name__: function
    for function in (
        *(int8, int8_coded, int4, int4_gptq, int4_coded, mixed),
        *(half_zeros_coded, most_zeros_coded),
        *(prune, prune_global, prune_plain, prune_float),
        *(share, share_plain, share_on_grid),
        *(train_int8, train_int4, prune_and_quantize, combine),
        *(binary, binary_int8),
    )
}
KERAS = {
    function.__name__: function for function in (keras_float, keras_int8, keras_int4)
}
CONVERTER = {"converter_int8": converter_int8}
TOOLS = {
    "tfcompress": TFCOMPRESS,
    f"Keras {keras.__version__}": KERAS,
    f"TensorFlow {tf.__version__}": CONVERTER,
}
