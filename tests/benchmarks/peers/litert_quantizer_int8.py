"""The side of litert-quantizer in cifar_bits.py: a float32 file, quantized to int8."""

import json
import pathlib
import sys
from importlib import metadata

import numpy as np
from ai_edge_litert import interpreter as litert
from litert_quantizer import quantizer, recipe


def quantize(source, samples, target):
    """Writes the int8 file; returns the tool and its version.

    Args:
        source: path of a float32 `.tflite` file with one input.
        samples: path of a `.npy` file with typical inputs.
        target: path of the int8 file.
    """
    signatures = litert.Interpreter(model_path=source).get_signature_list()
    ((key, signature),) = signatures.items()
    (name,) = signature["inputs"]
    data = [{name: sample[np.newaxis]} for sample in np.load(samples)]
    tool = quantizer.Quantizer(source, recipe.static_wi8_ai8())
    ranges = tool.calibrate({key: data})
    pathlib.Path(target).write_bytes(tool.quantize(ranges).quantized_model)
    return f"litert-quantizer {metadata.version('litert-quantizer')}"


if __name__ == "__main__":
    print(json.dumps(quantize(**json.loads(sys.argv[1]))))
