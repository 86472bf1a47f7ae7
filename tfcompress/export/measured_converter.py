"""TensorFlow's converter with activation ranges that are measured here."""

import re

import tensorflow as tf
from tensorflow.lite.python.convert import mlir_quantize
from tensorflow.lite.python.optimize.calibrator import Calibrator

from tfcompress.tflite.bounded_constants import bound_constants
from tfcompress.tflite.integer_forms import rewrite_for_integers
from tfcompress.tflite.observe import FloatFile
from tfcompress.tflite.operations import is_own
from tfcompress.tflite.read import custom_operations, read, write
from tfcompress.tflite.tensor_ranges import set_ranges

# How much outputs may change, over their spread, when constants are bounded: less than
# rounding does with so many bits.
_TOLERANCES = {8: 1e-3, 16: 1e-5}


class MissingOperations(ValueError):
    """A graph has operations that LiteRT lacks; the message has their names only."""


def check_known(content):
    """Raises for custom operations of a file that nobody runs.

    Raises:
        MissingOperations: if there are some.
    """
    missing = [name for name in custom_operations(content) if not is_own(name)]
    if missing:
        raise MissingOperations(" ".join(sorted(missing)))


class MeasuredConverter(tf.lite.TFLiteConverter):
    """Quantizes by the values that tensors have on samples.

    The converter's own calibrator logs tensors after later operations have overwritten
    them, ends the process at loops, and lets infinite constants into ranges.

    """

    def measure(self, samples):
        """Has ranges measured.

        Args:
            samples: `{input name: array}`.
        """
        self._samples = samples
        # Its own calibrator would read them; here they say that there are some.
        self.representative_dataset = lambda: ()

    def _quantize(self, result, input_type, output_type, activations_type, *rest):
        bias_type, allow_float, with_variables, debug_options = rest
        check_known(result)
        file, bits = read(result), 8 * activations_type.size
        bound_constants(file, self._samples, _TOLERANCES[bits])
        rewrite_for_integers(file, bits)
        set_ranges(file, FloatFile(file).ends(self._samples), bits)
        content = write(file)
        if bits == 16:
            return _quantized_to_16(
                content, input_type, output_type, allow_float, bias_type
            )
        return mlir_quantize(
            content,
            input_data_type=input_type,
            output_data_type=output_type,
            enable_variable_quantization=with_variables,
            debug_options_str=debug_options.SerializeToString(),
        )


def _quantized_to_16(content, input_type, output_type, allow_float, bias_type):
    """Inputs or outputs stay float where what reads or writes them does."""
    real = tf.float32
    for ends in (input_type, output_type), (input_type, real), (real, output_type):
        try:
            # Without samples it keeps the ranges that are there.
            return Calibrator(content).calibrate_and_quantize(
                lambda: (), *ends, allow_float, tf.int16, bias_type
            )
        except (RuntimeError, ValueError) as error:
            if not re.match("Unsupported (in|out)put type", str(error)):
                raise
    raise ValueError(
        "neither what reads the inputs nor what writes the outputs has a 16-bit kernel; "
        "use precision='int8' or 'dynamic'"
    )
