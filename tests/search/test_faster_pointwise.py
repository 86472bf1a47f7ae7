import sys

import keras

from tests import models
from tfcompress.quantization.post_training import faster_pointwise

L = keras.layers


def test_each_shape_is_timed_once_and_the_faster_form_kept(monkeypatch, capsys):
    x = keras.Input((8, 8, 4))
    y = L.Conv2D(6, 1, strides=2, padding="same", activation="relu", name="a")(x)
    y = L.Conv2D(6, 1, name="b")(y)
    y = L.BatchNormalization()(L.Conv2D(6, 1, use_bias=False, name="c")(y))
    model = keras.Model(x, L.Conv2D(4, 3, name="d")(y))
    timed = []

    def milliseconds(alone, precision, profile):
        assert (precision, profile) == ("int4", "builtin")
        timed.append(type(alone.layers[-1]).__name__)
        # The dense form is faster for the first shape only.
        return [2.0, 1.0, 1.0, 2.0][len(timed) - 1]

    module = sys.modules["tfcompress.search.faster_pointwise"]
    monkeypatch.setattr(module, "_milliseconds", milliseconds)
    fast = faster_pointwise(model)
    assert timed == ["Conv2D", "Dense"] * 2
    kinds = {layer.name: type(layer).__name__ for layer in fast.layers[1:]}
    assert kinds == {
        "a_stride": "MaxPooling2D",
        "a": "Dense",
        "b": "Conv2D",
        "c": "Conv2D",
        "d": "Conv2D",
    }
    assert models.difference(model, fast, models.inputs(model)) <= 1e-5
    assert "a: 2.000 ms as convolution, 1.000 ms" in capsys.readouterr().out
