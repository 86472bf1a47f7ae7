"""The precisions of files, in one table: no other code depends on their names."""

import dataclasses

import tensorflow as tf

_INT16_ACTIVATIONS = (
    tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
)


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """How far the outputs of a file may be from those of the Keras model.

    Errors are measured per channel as noise: relative to the spread of its own values.

    Attributes:
        usual: noise up to which nothing is reported.
        most: noise above which the file is refused.
        of_signs: the same limit for models that take signs of values: there, the smallest
            error changes the signs of values close to zero.
        floor: unavoidable error of numbers of this precision, as a fraction of the
            largest value.
    """

    usual: float
    most: float
    of_signs: float
    floor: float


# For models that themselves compute in half precision.
HALF = Tolerance(usual=0.05, most=0.3, of_signs=1.0, floor=1e-2)


@dataclasses.dataclass(frozen=True)
class Precision:
    """Which numbers a file holds and computes with, and what follows from that.

    Attributes:
        name: name, such as `"int8"`.
        weight_bits: bits per weight in the file.
        activation_bits: bits per activation; integers if below 32.
        tolerance: tolerance of the check against the Keras model.
        without_sparse: why no kernel runs sparse; None if kernels may.
        without_binary: why no layer becomes a binary operation; None if layers may.
        converted_weights: weight type requested from the converter, if it is not the one
            that matches the activations.
    """

    name: str
    weight_bits: int
    activation_bits: int
    tolerance: Tolerance
    without_sparse: str | None = None
    without_binary: str | None = None
    converted_weights: tf.DType | None = None

    @property
    def is_integer(self):
        """Whether activations are integers, which need ranges."""
        return self.activation_bits < 32

    @property
    def holds_ranges(self):
        """Whether ranges trained for 8 bits are kept."""
        return self.activation_bits == 8

    @property
    def holds_grids(self):
        """Whether kernels can have the scale of the grid on which they lie.

        Biases have to follow it, which the 64-bit biases used with int16 do not.
        """
        return self.activation_bits == 8

    @property
    def packs_kernels(self):
        """Whether integer kernels get fewer bits than the converter gives them."""
        return self.weight_bits < 8 and self.is_integer

    @property
    def packs_weights(self):
        """Whether only weights are integers, which a pass of ours stores."""
        return self.weight_bits <= 8 and not self.is_integer

    @property
    def unrolls_loops(self):
        """Whether loops are unrolled, since they would stay float otherwise."""
        return self.activation_bits == 16

    @property
    def is_exact(self):
        """Whether only sums are rounded."""
        return self.weight_bits == 32

    def set_up(self, converter):
        """Sets the options of TensorFlow's converter."""
        if self.is_exact or self.packs_weights:
            return
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if self.converted_weights:
            converter.target_spec.supported_types = [self.converted_weights]
        if not self.is_integer:
            return
        kind = tf.int8
        if self.activation_bits == 16:
            kind = tf.int16
            converter.target_spec.supported_ops = [
                _INT16_ACTIVATIONS,
                tf.lite.OpsSet.TFLITE_BUILTINS,
            ]
        converter.inference_input_type = converter.inference_output_type = kind


_TABLE = {
    precision.name: precision
    for precision in (
        Precision(
            "float32",
            32,
            32,
            Tolerance(usual=1e-3, most=1e-2, of_signs=1.0, floor=1e-5),
        ),
        Precision(
            "float16",
            16,
            32,
            Tolerance(usual=0.02, most=0.1, of_signs=1.0, floor=1e-3),
            without_sparse="LiteRT reads blocks of float16 weights wrongly",
            converted_weights=tf.float16,
        ),
        Precision(
            "dynamic",
            8,
            32,
            Tolerance(usual=0.1, most=0.3, of_signs=1.0, floor=2e-2),
            without_sparse="LiteRT refuses sparse 8-bit weights of float layers, or "
            "miscomputes",
        ),
        Precision(
            "dynamic_int4",
            4,
            32,
            Tolerance(usual=0.2, most=0.7, of_signs=1.0, floor=6e-2),
            without_sparse="LiteRT was not tested with sparse 4-bit weights",
        ),
        Precision(
            "int8",
            8,
            8,
            Tolerance(usual=0.1, most=0.3, of_signs=1.0, floor=2e-2),
            without_sparse="LiteRT refuses sparse int8 weights, or runs them slower",
        ),
        Precision(
            "int16x8",
            8,
            16,
            Tolerance(usual=0.05, most=0.3, of_signs=1.0, floor=1e-2),
            without_sparse="LiteRT computes wrong results with sparse weights",
            without_binary="binary operations do not read int16x8 activations",
        ),
        # With 4-bit kernels, int8 activations stay with builtin operations.
        Precision(
            "int4",
            4,
            8,
            Tolerance(usual=0.2, most=0.7, of_signs=1.0, floor=6e-2),
            without_sparse="LiteRT was not tested with sparse 4-bit weights",
            without_binary="binary operations do not read int4 activations",
        ),
    )
}
PRECISIONS = tuple(_TABLE)


def precision_of(name):
    """The `Precision` of one of `PRECISIONS`.

    >>> precision_of("int4").weight_bits, precision_of("int4").activation_bits
    (4, 8)
    """
    return _TABLE[name]
