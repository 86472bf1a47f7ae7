"""Programs of a user of litert-quantizer, for peers.py; it rounds float32 files."""

from importlib import metadata

import peer_task
from ai_edge_litert.interpreter import Interpreter
from litert_quantizer import algorithm_manager, qtyping, quantizer, recipe

Algorithm = algorithm_manager.AlgorithmName
Operation = qtyping.TFLOperationName


def write(tool, task, path):
    signatures = Interpreter(task.float_file).get_signature_list()
    ((key, signature),) = signatures.items()
    (name,) = signature["inputs"]
    ranges = tool.calibrate({key: [{name: x[None]} for x in task.samples]})
    tool.quantize(ranges, enable_progress_report=False).export_model(path, True)


def static_int8(task, path):
    """static_wi8_ai8."""
    write(quantizer.Quantizer(task.float_file, recipe.static_wi8_ai8()), task, path)


def static_int8_octav(task, path):
    """static_wi8_ai8, OCTAV."""
    octav = recipe.static_wi8_ai8(Algorithm.OCTAV)
    write(quantizer.Quantizer(task.float_file, octav), task, path)


def dynamic_int8(task, path):
    """dynamic_wi8_afp32, which its README recommends for CPUs."""
    write(quantizer.Quantizer(task.float_file, recipe.dynamic_wi8_afp32()), task, path)


def four_bits(task, path, dense, convolution, ends):
    """8-bit activations; 4-bit kernels but in the layers that `ends` matches."""
    tool = quantizer.Quantizer(task.float_file, recipe.static_wi8_ai8())
    tool.add_static_config(".*", Operation.FULLY_CONNECTED, 8, 4, algorithm_key=dense)
    tool.add_static_config(".*", Operation.CONV_2D, 8, 4, algorithm_key=convolution)
    if ends:
        tool.add_static_config(ends, Operation.FULLY_CONNECTED, 8, 8)
        tool.add_static_config(ends, Operation.CONV_2D, 8, 8)
    write(tool, task, path)


def int4(task, path):
    """4-bit kernels, min/max."""
    min_max = Algorithm.MIN_MAX_UNIFORM_QUANT
    four_bits(task, path, min_max, min_max, None)


def int4_octav(task, path):
    """4-bit kernels, OCTAV."""
    four_bits(task, path, Algorithm.OCTAV, Algorithm.OCTAV, None)


def int4_mse(task, path):
    """4-bit kernels, MSE."""
    four_bits(task, path, Algorithm.MSE, Algorithm.MSE, None)


def int4_gptq(task, path):
    """4-bit kernels, GPTQ in dense layers, OCTAV in convolutions, float activations."""
    # With 8-bit activations, a dense layer after a reshape stays float in an int4 tensor.
    tool = quantizer.Quantizer(task.float_file)
    tool.add_dynamic_config(".*", Operation.CONV_2D, 4, algorithm_key=Algorithm.OCTAV)
    tool.add_dynamic_config(
        ".*", Operation.FULLY_CONNECTED, 4, algorithm_key=Algorithm.GPTQ
    )
    write(tool, task, path)


def mixed(task, path):
    """4-bit kernels, OCTAV, 8 bits in the first and the last layer."""
    octav = Algorithm.OCTAV
    four_bits(task, path, octav, octav, task.settings["first_and_last"])


PROGRAMS = {
    function.__name__: function
    for function in (
        *(static_int8, static_int8_octav, dynamic_int8),
        *(int4, int4_octav, int4_mse, int4_gptq, mixed),
    )
}

if __name__ == "__main__":
    version = metadata.version("litert-quantizer")
    peer_task.main(PROGRAMS, None, f"litert-quantizer {version}")
