"""TensorFlow's converter with activation ranges that are measured here."""

import tensorflow as tf
from tensorflow.lite.python.convert import mlir_quantize
from tensorflow.lite.python.optimize.calibrator import Calibrator

from tfcompress.tflite.bounded_constants import bound_constants
from tfcompress.tflite.integer_forms import rewrite_for_integers
from tfcompress.tflite.layers import tensors_of_layers
from tfcompress.tflite.observe import FloatFile
from tfcompress.tflite.operations import is_own
from tfcompress.tflite.read import custom_operations, read, write
from tfcompress.tflite.tensor_ranges import set_ranges

# How much outputs may change, relative to their spread, when constants are bounded: less
# than by rounding to this number of bits.
_TOLERANCES = {8: 1e-3, 16: 1e-5}


class MissingOperations(ValueError):
    """A graph has operations that LiteRT lacks; the message holds only their names."""


def check_known(content):
    """Raises if a file has custom operations that no runtime has.

    Raises:
        MissingOperations: if there are any.
    """
    missing = [name for name in custom_operations(content) if not is_own(name)]
    if missing:
        raise MissingOperations(" ".join(sorted(missing)))


class MeasuredConverter(tf.lite.TFLiteConverter):
    """Quantizes with ranges measured on samples.

    The converter's own calibrator reads tensors after later operations have overwritten
    them, ends the process at loops, and lets infinite constants enter ranges.
    """

    def measure(self, samples, inside, float_layers, sources):
        """Requests that ranges are measured.

        Args:
            samples: `{input name: array}`.
            inside: whether inside loops and branches too; otherwise these stay float.
            float_layers: expressions for layers that stay float.
            sources: `{name of an output: name of the operation that computes it}`.
        """
        self._samples, self._inside = samples, inside
        self._float_layers, self._sources = float_layers, sources
        # Its own calibrator would read this; here it only tells that there are samples.
        self.representative_dataset = lambda: ()

    def _quantize(self, result, input_type, output_type, activations_type, *rest):
        bias_type, allow_float, with_variables, debug_options = rest
        check_known(result)
        file, bits = read(result), 8 * activations_type.size
        bound_constants(file, self._samples, _TOLERANCES[bits])
        rewrite_for_integers(file, bits)
        ends = FloatFile(file).ends(self._samples)
        if not self._inside:
            ends = {
                (graph, place): end for (graph, place), end in ends.items() if not graph
            }
        set_ranges(file, ends, bits)
        content = write(file)
        kept = tensors_of_layers(file, self._float_layers, self._sources)
        if bits == 16:
            # Without samples, it keeps the existing ranges.
            return Calibrator(content).calibrate_and_quantize(
                lambda: (), input_type, output_type, allow_float, tf.int16, bias_type
            )
        return mlir_quantize(
            content,
            input_data_type=input_type,
            output_data_type=output_type,
            denylisted_nodes=kept or None,
            enable_variable_quantization=with_variables,
            debug_options_str=debug_options.SerializeToString(),
        )
