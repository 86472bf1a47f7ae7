import keras
import numpy as np
import pytest

import tfcompress as tfc
from tfcompress.core.graph import Graph
from tfcompress.export.binary.thresholds import NoThreshold, path_to_sign, thresholds

L = keras.layers


def sign():
    return tfc.layers.QuantizedActivation("sign")


def threshold_of(*layers, reach=4, channels=2, before=0.0):
    """Thresholds of `sum + before` through layers."""
    x = keras.Input((1, 1, channels))
    y = L.Identity()(x)
    for layer in (*layers, sign()):
        y = layer(y)
    graph = Graph(keras.Model(x, y))
    start = next(n for n in graph.nodes if isinstance(n.operation, L.Identity))
    path, _ = path_to_sign(graph, start)
    return thresholds(lambda sums: sums + before, path, channels, 4, reach)


def norm(gamma, beta, mean):
    layer = L.BatchNormalization(epsilon=0.0)
    layer.build((None, 1, 1, len(gamma)))
    for variable, values in zip(layer.variables, (gamma, beta, mean, 1), strict=True):
        variable.assign(np.broadcast_to(values, variable.shape))
    return layer


def test_thresholds_by_hand():
    # 2 (s - 1.5) + 1 >= 0 from s = 1 on; -(s - 1.5) + 1 < 0 from s = 3 on, where the
    # sum of reversed weights is -3 and less.
    found = threshold_of(norm([2, -1], [1, 1], [1.5, 1.5]))
    np.testing.assert_array_equal(found.threshold, [1, -2])
    np.testing.assert_array_equal(found.falls, [False, True])
    # Never and always negative.
    found = threshold_of(norm([0, 0], [1, -1], [0, 0]))
    np.testing.assert_array_equal(found.threshold, [-4, 5])
    # max(s + 0.5, 0) - 1 >= 0 from s = 1 on.
    found = threshold_of(L.ReLU(), L.Rescaling(1.0, -1.0), before=0.5)
    np.testing.assert_array_equal(found.threshold, [1, 1])


def test_thresholds_are_those_of_keras_in_chunks(monkeypatch):
    monkeypatch.setattr("tfcompress.export.binary.thresholds._CHUNK", 64)
    generator = np.random.default_rng(0)
    layers = [
        norm(*generator.normal(0, 4, (3, 16))),
        L.LeakyReLU(0.3),
        L.Activation("hard_tanh"),
        norm(*generator.normal(0, 0.5, (3, 16))),
    ]
    found = threshold_of(*layers, reach=50, channels=16)
    sums = np.arange(-50, 51)[:, None, None, None] * np.ones((1, 1, 1, 16), "float32")
    values = sums
    for layer in layers:
        values = layer(values)
    turned = np.where(found.falls, -sums, sums)
    np.testing.assert_array_equal(turned < found.threshold, values < 0)


def test_what_is_no_step_has_no_threshold():
    wave = norm([1, 1], [0, 0], [0, 0]), L.Activation("gelu"), L.Rescaling(1.0, 0.1)
    with pytest.raises(NoThreshold, match="2 of 2 channels are not monotone"):
        threshold_of(*wave)
    falling = norm([1, -1], [0, 0], [0, 0])
    with pytest.raises(NoThreshold, match="1 of 2 channels is decreasing after max"):
        threshold_of(L.MaxPooling2D(1), falling)
    # Before max pooling, it may decrease.
    assert list(threshold_of(falling, L.MaxPooling2D(1)).falls) == [False, True]
    pixels = L.PReLU()
    x = keras.Input((3, 3, 2))
    y = sign()(pixels(L.Identity()(x)))
    graph = Graph(keras.Model(x, y))
    path, _ = path_to_sign(graph, graph.nodes[1])
    with pytest.raises(NoThreshold, match="differs between pixels"):
        thresholds(lambda sums: sums, path, 2, 4, 3)
