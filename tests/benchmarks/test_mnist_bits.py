import keras
import mnist_bits
import numpy as np
import pytest

import tfcompress as tfc


@pytest.mark.parametrize("name", ["BinaryConnect", "XNOR"])
def test_plain_signs_compute_the_same(name, monkeypatch, tmp_path):
    monkeypatch.setattr(mnist_bits, "BINARY_WIDTH", 16)
    recipe, generator = mnist_bits.BINARY[name], np.random.default_rng(0)
    model = tfc.strip(mnist_bits.build_binary(recipe))
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            weights = [generator.uniform(0.5, 2, v.shape) for v in layer.weights]
            layer.set_weights(weights)
    x = generator.normal(size=(8, 784)).astype("float32")
    small = mnist_bits.with_plain_signs(model, recipe)
    expected = model.predict(x, verbose=0)
    np.testing.assert_allclose(small.predict(x, verbose=0), expected, rtol=1e-4)
    result = tfc.export_tflite(small, tmp_path / "m.tflite", codec="lut", samples=x)
    kernels = [c for c in result.constants if c.shape in ((16, 784), (16, 16))]
    assert [c.encoding for c in kernels] == 3 * ["lut"]


@pytest.mark.parametrize("name", list(mnist_bits.HASHED))
def test_hashed_networks_have_the_values_they_may_have(name):
    model, budget = mnist_bits.build_hashed(mnist_bits.HASHED[name])
    assert sum(np.prod(v.shape) for v in model.trainable_variables) == budget
