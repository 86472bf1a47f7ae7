"""The kinds of the blocks' arguments."""

import keras

from tfcompress.core.kinds import Integer, Keras, Kind, Name, Number, OneOf


class Image(Kind):
    """A tensor `(batch, height, width, channels)` with a known number of channels."""

    expected = (
        "a tensor of shape (batch, height, width, channels) with a known number of "
        "channels"
    )

    def check(self, name, value):
        shape = tuple(getattr(value, "shape", ()))
        if len(shape) != 4 or shape[-1] is None:
            self.refuse(
                name, value, "Give keras.Input a shape such as (None, None, 64)."
            )
        return value

    def wrong(self):
        return ["x", 5, object(), keras.Input((4,))]


IMAGE = Image()
COUNT = Integer(1)
STRIDES = OneOf(1, 2)
RATIO = Number(above=0, most=1, meaning="the fraction of the channels")
ACTIVATION = Keras(keras.activations.get, "a Keras activation or its name")
NAME = Name()


def check_divides(block, name, divisor, **counts):
    """Raises unless the divisor divides all the counts."""
    for counted, count in counts.items():
        if count % divisor:
            near = divisor * max(round(count / divisor), 1)
            raise ValueError(
                f"{block}({name}={divisor}): does not divide the {count} {counted}. "
                f"Change {name}, or make it {near} {counted}."
            )
