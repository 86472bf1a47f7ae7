"""Activations that pass through a quantizer."""

import keras

from tfcompress.core.kinds import PlugIn, checked
from tfcompress.core.nouns import ActivationQuantizer


@keras.saving.register_keras_serializable("tfcompress")
class QuantizedActivation(keras.layers.Layer):
    """Applies a `tfc.activations` quantizer to its inputs.

    `tfc.strip` replaces it by Keras operations that compute the same, so files need no
    custom operation. For evenly spaced levels, use `FakeQuant` and `LearnedStepQuant`,
    which find their range themselves.

    Args:
        quantizer: a `tfc.activations` object or name.

    Raises:
        ValueError: if the quantizer is unknown.

    Example:
        >>> model = keras.Sequential([keras.Input((3,)), QuantizedActivation("sign")])
        >>> model(np.array([[-2.0, 0.0, 0.5]], "float32")).numpy()
        array([[-1., 1., 1.]], dtype=float32)
        >>> type(tfc.strip(model).operations[-1]).__name__
        'Where'
    """

    @checked
    def __init__(self, quantizer: PlugIn(ActivationQuantizer), **kwargs):
        super().__init__(**kwargs)
        self.quantizer = quantizer
        self.supports_masking = True

    def call(self, inputs):
        """The quantized activations."""
        return self.quantizer(inputs)

    def call_plain(self, inputs):
        """The same as Keras operations, which replace the layer in `tfc.strip`."""
        return self.quantizer.forward(inputs)

    def compute_output_shape(self, input_shape):
        """The input's shape."""
        return input_shape

    def get_config(self):
        """The quantizer."""
        quantizer = keras.saving.serialize_keras_object(self.quantizer)
        return {**super().get_config(), "quantizer": quantizer}
