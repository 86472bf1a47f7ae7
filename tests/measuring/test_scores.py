"""Scores by hand, and what determines how outputs are scored."""

import keras
import numpy as np
import pytest

import tfcompress as tfc
from tests import models
from tfcompress.measuring.scores import (
    BINARY,
    CLASSES,
    VALUES,
    Task,
    in_order,
    score,
    tasks_of,
)

L = keras.layers
SOFTMAX = np.array([[0.7, 0.2, 0.1], [0.2, 0.5, 0.3], [0.1, 0.1, 0.8]])


def model(outputs, loss=None):
    network = keras.Sequential([keras.Input((4,)), L.Dense(outputs)])
    if loss is not None:
        network.compile("sgd", loss)
    return network


@pytest.mark.parametrize(
    ("loss", "outputs", "targets", "expected"),
    [
        ("sparse_categorical_crossentropy", SOFTMAX, [0, 2, 2], Task(CLASSES)),
        ("categorical_crossentropy", SOFTMAX, np.eye(3), Task(CLASSES)),
        ("binary_crossentropy", [[0.2], [0.9], [0.4]], [0, 1, 0], Task(BINARY)),
        # Several labels at once: one-hot by chance, but the loss decides.
        ("binary_crossentropy", SOFTMAX, np.eye(3), Task(BINARY)),
        (
            keras.losses.BinaryCrossentropy(from_logits=True),
            [[-3.0], [2.0], [0.1]],
            [0, 1, 1],
            Task(BINARY, 0.0),
        ),
        ("mean_squared_error", SOFTMAX, np.eye(3), Task(VALUES)),
        (keras.losses.MeanSquaredError(), SOFTMAX, [0, 1, 2], Task(VALUES)),
        ("mse", [[0.2], [0.9]], [0, 1], Task(VALUES)),
        (keras.losses.Huber(), [[0.2], [0.9]], [0, 1], Task(VALUES)),
        (keras.losses.mean_absolute_error, [[0.2], [0.9]], [0, 1], Task(VALUES)),
        # Without a loss: labels, one-hot labels, yes and no, values.
        (None, SOFTMAX, [0, 2, 2], Task(CLASSES)),
        (None, SOFTMAX, [[0], [2], [2]], Task(CLASSES)),
        (None, SOFTMAX, [0.0, 2.0, 2.0], Task(CLASSES)),
        (None, SOFTMAX, np.eye(3), Task(CLASSES)),
        (None, SOFTMAX, [[1, 1, 0]] * 3, Task(BINARY)),
        (None, [[0.2], [0.9]], [0, 1], Task(BINARY)),
        (None, [[-3.0], [2.0]], [0, 1], Task(BINARY, 0.0)),
        (None, SOFTMAX, SOFTMAX, Task(VALUES)),
        (None, np.ones((2, 4, 4, 3)), np.zeros((2, 4, 4), int), Task(CLASSES)),
        (None, SOFTMAX, None, Task(CLASSES)),
        (None, [[1.0], [2.0]], None, Task(VALUES)),
    ],
)
def test_what_an_output_is_for(loss, outputs, targets, expected):
    outputs = np.array(outputs)
    targets = None if targets is None else [np.array(targets)]
    (task,) = tasks_of(model(outputs.shape[-1], loss), {"y": outputs}, targets)
    assert task == expected


def test_scores_by_hand():
    labels = np.array([0, 2, 2])
    assert Task(CLASSES).score(SOFTMAX, labels) == pytest.approx(2 / 3)
    assert Task(CLASSES).score(SOFTMAX, labels[:, None]) == pytest.approx(2 / 3)
    assert Task(CLASSES).score(SOFTMAX, np.eye(3)[labels]) == pytest.approx(2 / 3)
    images = np.zeros((1, 2, 2, 2))
    images[0, 0, :, 1] = 1
    assert Task(CLASSES).score(images, np.array([[[1, 0], [0, 0]]])) == 0.75
    yes = np.array([[0.9, 0.2], [0.6, 0.4]])
    assert Task(BINARY).score(yes, np.array([[1, 0], [0, 1]])) == 0.5
    assert Task(VALUES).score(np.array([[1.0], [3.0]]), np.array([1, 1])) == -2.0


def test_outputs_that_are_not_finite_score_worst():
    bad = SOFTMAX.copy()
    bad[0, 0] = np.nan
    assert score([Task(CLASSES)], [bad], [np.array([0, 1, 2])]) == -np.inf


def test_outputs_are_paired_by_name():
    pairs = {"b": np.ones(2), "a": np.zeros(2)}
    np.testing.assert_array_equal(in_order(pairs, ["a", "b"]), [[0, 0], [1, 1]])
    with pytest.raises(ValueError, match=r"\['a', 'b'\], but there are 3 arrays"):
        in_order([1, 2, 3], ["a", "b"])
    with pytest.raises(
        ValueError, match=r"\['a', 'b'\], but there are arrays for \['b', 'c'\]"
    ):
        in_order({"b": 1, "c": 2}, ["a", "b"])


def test_losses_are_paired_by_name():
    x = keras.Input((4,))
    heads = [keras.layers.Dense(3, name=name)(x) for name in ("u", "v")]
    network = keras.Model(x, heads)
    network.compile(loss={"v": "categorical_crossentropy", "u": "mean_squared_error"})
    outputs = {"u": SOFTMAX, "v": SOFTMAX}
    assert tasks_of(network, outputs) == [Task(VALUES), Task(CLASSES)]


def test_several_outputs_are_compared_by_name(tmp_path):
    network = models.two_ports()
    generator = np.random.default_rng(0)
    x = {
        name: generator.normal(size=(32, size)).astype("float32")
        for name, size in (("a", 4), ("b", 3))
    }
    outputs = {name: np.asarray(value) for name, value in network(x).items()}
    # All classes of v are right, each value of u is off by 2.
    y = {"v": outputs["v"].argmax(axis=1), "u": outputs["u"] + 2.0}
    path = tmp_path / "m.tflite"
    tfc.export_tflite(network, path, samples=x)
    table = tfc.compare({"keras": network, "file": path}, (x, y), latency=False)
    for label in ("keras", "file"):
        assert table[label].accuracy == pytest.approx((1.0 - 4.0) / 2, rel=1e-4)
    assert table["file"].agreement == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("labels", [lambda y: y, lambda y: y[:, None]])
def test_the_ladder_scores_two_classes_of_one_output(labels, tmp_path):
    x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    y = (x[:, 0] > 0).astype(int)
    network = keras.Sequential(
        [keras.Input((4,)), L.Dense(1, activation="sigmoid", name="d")]
    )
    network.get_layer("d").kernel.assign([[9.0], [0], [0], [0]])
    network.compile("sgd", "binary_crossentropy")
    ladder = tfc.quantize_ladder(
        network, tmp_path / "m.tflite", x, (x, labels(y)), 0.05, verbose=0
    )
    assert ladder["float32"].score == 1.0
    assert ladder.met


def test_a_score_that_is_no_number_never_wins(tmp_path):
    x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    scores = iter([0.9, float("nan"), 0.5, 0.4, 0.4, 0.4, 0.4])
    ladder = tfc.quantize_ladder(
        model(3), tmp_path / "m.tflite", x, lambda path: next(scores), 0.0, verbose=0
    )
    assert ladder.best.score == 0.5
    with pytest.raises(ValueError, match="float32 file scores nan"):
        tfc.quantize_ladder(
            model(3), tmp_path / "m.tflite", x, lambda path: float("nan"), verbose=0
        )
