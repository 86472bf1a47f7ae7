"""Custom layers that cannot be probed in arbitrary ways."""

import keras
import numpy as np
import pytest

import tfcompress as tfc

L = keras.layers
ops = keras.ops


class Windows(L.Layer):
    """Needs its full number of tokens."""

    def call(self, x):
        y = ops.reshape(x, (-1, 4, 16, x.shape[-1]))
        return ops.reshape(ops.roll(y, 1, axis=2), (-1, 64, x.shape[-1]))


class Wide(L.Layer):
    """Needs its full number of channels."""

    def call(self, x):
        return ops.reshape(x, (-1, 64, 16)) * 2.0


class Opaque(L.Layer):
    """Has no configuration."""

    def __init__(self, thing):
        super().__init__(name="opaque")
        self.thing = thing

    def call(self, x):
        return x * 2.0


class Trains(L.Layer):
    """Mixes channels unless it is told not to train."""

    def call(self, x, training=True):
        return x + ops.mean(x, axis=-1, keepdims=True) if training else x


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (Windows(), None),
        (Trains(), None),
        (Wide(name="wide"), "wide (Wide) does not work on fewer channels"),
        (Opaque(object()), "opaque (Opaque) cannot be recreated"),
    ],
    ids=lambda x: type(x).__name__,
)
def test_what_cannot_be_tried_is_left_whole_with_the_reason(layer, reason):
    x = keras.Input((64, 8))
    model = keras.Model(x, L.Dense(4)(L.Dense(16)(layer(L.Dense(16, name="d")(x)))))
    group = next(g for g in tfc.channel_groups(model) if "d" in g.layers("output"))
    assert reason is None or group.whole.startswith(reason)
    small = tfc.prune_channels(model, 0.5)
    assert small(np.ones((2, 64, 8))).shape == (2, 64, 4)
    assert small.get_layer("d").units == (8 if reason is None else 16)
