"""TensorFlow's converter with activation ranges that are measured here."""

import tensorflow as tf
from tensorflow.lite.python.convert import mlir_quantize
from tensorflow.lite.python.optimize.calibrator import Calibrator

from tfcompress.tflite.bounded_constants import bound_constants
from tfcompress.tflite.integer_forms import rewrite_for_integers
from tfcompress.tflite.observe import FloatFile
from tfcompress.tflite.read import read, write
from tfcompress.tflite.tensor_ranges import set_ranges

# How much outputs may change, over their spread, when constants are bounded: less than
# rounding does with so many bits.
_TOLERANCES = {8: 1e-3, 16: 1e-5}


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
        file, bits = read(result), 8 * activations_type.size
        bound_constants(file, self._samples, _TOLERANCES[bits])
        rewrite_for_integers(file, bits)
        set_ranges(file, FloatFile(file).ends(self._samples), bits)
        content = write(file)
        if bits == 16:
            # Without samples it keeps the ranges that are there.
            return Calibrator(content).calibrate_and_quantize(
                lambda: (), input_type, output_type, allow_float, tf.int16, bias_type
            )
        return mlir_quantize(
            content,
            input_data_type=input_type,
            output_data_type=output_type,
            enable_variable_quantization=with_variables,
            debug_options_str=debug_options.SerializeToString(),
        )
