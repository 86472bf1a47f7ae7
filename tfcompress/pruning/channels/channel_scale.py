"""A layer with one factor per channel."""

import keras

from tfcompress.core.kinds import Integer, checked


@keras.saving.register_keras_serializable("tfcompress")
class ChannelScale(keras.layers.Layer):
    """Multiplies each channel by a weight: `y_c = s_c x_c`.

    The weight is called `scale` and is initialized to ones; transforms can be added to
    it as to any other. In a compressed layer, transforms that draw numbers in training
    draw them separately for each example, but equally for all positions of an image.
    `tfc.strip` replaces the layer with a Keras `EinsumDense`, which `tfc.shrink` folds
    into an adjacent layer.

    Args:
        axis: the axis of the channels, an integer.

    Example:
        >>> layer = ChannelScale(name="gate")
        >>> model = keras.Sequential([keras.Input((3,)), layer])
        >>> _ = layer.scale.assign([1.0, 0.0, 2.0])
        >>> model(np.ones((1, 3))).numpy()
        array([[1., 0., 2.]], dtype=float32)
        >>> tfc.strip(model).layers[0].equation
        '...a,a->...a'
    """

    @checked
    def __init__(self, axis: Integer() = -1, **kwargs):
        super().__init__(**kwargs)
        self.axis = axis
        self.supports_masking = True

    def build(self, input_shape):
        """Creates the scale."""
        self._shape = tuple(input_shape)
        self.scale = self.add_weight(
            name="scale", shape=(input_shape[self.axis],), initializer="ones"
        )

    def call(self, inputs):
        """The scaled channels."""
        return inputs * self._along_channels(self.scale, inputs)

    def call_per_example(self, inputs, scales):
        """`call` with separate scales for each example, `(batch, channels)`."""
        return inputs * self._along_channels(scales, inputs)

    def _along_channels(self, scales, inputs):
        axis = self.axis % len(inputs.shape)
        ones = (1,) * (len(inputs.shape) - 1 - axis)
        before = (1,) * (axis - 1)
        batch = (-1,) if len(scales.shape) == 2 else (1,)
        shape = (*batch, *before, inputs.shape[axis], *ones)
        return keras.ops.reshape(keras.ops.cast(scales, inputs.dtype), shape)

    def as_plain(self):
        """A Keras layer that computes the same."""
        rank = len(self._shape)
        axis = self.axis % rank
        # Other sizes vary between calls.
        letters = "...a" if axis == rank - 1 else f"{'abcdefgh'[: axis + 1]}..."
        channel = letters.strip(".")[-1]
        plain = keras.layers.EinsumDense(
            f"{letters},{channel}->{letters}",
            self._shape[axis:] if axis == rank - 1 else self._shape[1 : axis + 1],
            trainable=self.trainable,
            name=self.name,
            dtype=self.dtype_policy,
        )
        plain.build(self._shape)
        plain.kernel.assign(self.scale)
        return plain

    def compute_output_shape(self, input_shape):
        """The input's shape."""
        return input_shape

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "axis": self.axis}
