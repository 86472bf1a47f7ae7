"""The precisions of files, in one table: nothing else asks for the name of one."""

import dataclasses

import tensorflow as tf

_INT16_ACTIVATIONS = (
    tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
)


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """How far the outputs of a file may be from those of the Keras model.

    Errors are measured for each channel, as noise: over the spread of its own values.

    Attributes:
        usual: noise up to which nothing is said.
        most: noise above which the file is refused.
        of_signs: the same of models that take signs of values: there the least error
            changes those of values that are nearly zero.
        floor: error that numbers of this precision have anyhow, as a fraction of the
            largest value.
    """

    usual: float
    most: float
    of_signs: float
    floor: float


# Of models that compute in half precision themselves.
HALF = Tolerance(usual=0.05, most=0.3, of_signs=1.0, floor=1e-2)


@dataclasses.dataclass(frozen=True)
class Precision:
    """Which numbers a file holds and computes with, and what follows from that.

    Attributes:
        name: such as `"int8"`.
        weight_bits: bits of a weight in the file.
        activation_bits: bits of an activation; below 32 they are integers.
        tolerance: of the check against the Keras model.
        without_sparse: why no kernel runs sparse; None if kernels may.
        without_binary: why no layer becomes a binary operation; None if layers may.
        converted_weights: type of weights that the converter is asked for, if it is not
            the one that goes with the activations.
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
        """Whether activations are integers, for which ranges are needed."""
        return self.activation_bits < 32

    @property
    def holds_ranges(self):
        """Whether ranges that were trained for 8 bits survive."""
        return self.activation_bits == 8

    @property
    def holds_grids(self):
        """Whether kernels can have the scale of the grid that they lie on.

        Biases have to follow it, which those of 64 bits, beside int16, do not.
        """
        return self.activation_bits == 8

    @property
    def unrolls_loops(self):
        """Whether loops are written out, which would stay float otherwise."""
        return self.activation_bits == 16

    @property
    def is_exact(self):
        """Whether nothing is rounded but sums."""
        return self.weight_bits == 32

    def set_up(self, converter):
        """Tells TensorFlow's converter."""
        if self.is_exact:
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
            without_sparse="LiteRT miscomputes with sparse weights",
            without_binary="binary operations do not read int16x8 activations",
        ),
        # Beside 4-bit kernels int8 activations stay with builtin operations.
        Precision(
            "int4",
            4,
            8,
            Tolerance(usual=0.2, most=0.7, of_signs=1.0, floor=6e-2),
            without_sparse="LiteRT was not tried with sparse 4-bit weights",
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
