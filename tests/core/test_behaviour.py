import keras
import numpy as np
import pytest

import tfcompress as tfc
from tfcompress.core.behaviour import PASSIVE, has_ranges, is_fake_quant, is_passive

L = keras.layers
# The Keras layers of this kind, by name.
_NAMES = [n for n in dir(L) if n.endswith(("Dropout", "Noise")) or "Dropout" in n]


@pytest.mark.parametrize("name", _NAMES)
def test_every_dropout_of_keras_is_passive(name):
    assert getattr(L, name) in PASSIVE


@pytest.mark.parametrize("cls", PASSIVE, ids=lambda cls: cls.__name__)
def test_passive_layers_pass_on_what_they_get(cls):
    takes_rate = "Dropout" in cls.__name__ or "Noise" in cls.__name__
    layer = cls(0.5) if takes_rate else cls()
    rank = int(cls.__name__[-2]) + 2 if cls.__name__.endswith("D") else 2
    x = np.random.default_rng(0).normal(size=[3] * rank).astype("float32")
    assert is_passive(layer)
    np.testing.assert_array_equal(layer(x, training=False), x)


def test_other_layers_are_not_passive():
    for layer in (L.ReLU(), L.Flatten(), L.Dense(2), L.Activation("linear")):
        assert not is_passive(layer)


def test_fake_quantization_is_known_as_a_layer_and_as_what_strip_leaves():
    assert is_fake_quant(tfc.layers.FakeQuant())
    assert is_fake_quant(tfc.layers.LearnedStepQuant())
    assert not is_fake_quant(tfc.layers.QuantizedActivation("sign"))
    model = keras.Sequential([keras.Input((4,)), L.Dense(2), L.Softmax()])
    assert not has_ranges(model)
    ranged = tfc.quantize_activations(model, samples=np.ones((2, 4), "float32"))
    for with_ranges in (ranged, tfc.strip(ranged)):
        assert has_ranges(with_ranges)
        found = [op for op in with_ranges.operations if is_fake_quant(op)]
        # After the input, the dense layer and the softmax.
        assert len(found) == 3
    assert not any(type(op).__name__ == "FakeQuant" for op in tfc.strip(ranged).layers)
