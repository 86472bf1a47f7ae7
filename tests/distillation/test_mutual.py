"""Students that teach each other."""

import keras
import numpy as np
import pytest

import tfcompress as tfc
from tfcompress.distillation import KL, MutualLearning

L = keras.layers


def student(width, name, activation=None, num_classes=5):
    return keras.Sequential(
        [
            keras.Input((8,)),
            L.Dense(width, activation="relu"),
            L.Dense(num_classes, activation=activation),
        ],
        name=name,
    )


def two_headed(name):
    x = keras.Input((8,))
    return keras.Model(x, [L.Dense(5)(x), L.Dense(5)(x)], name=name)


def cross_entropy(**kwargs):
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True, **kwargs)


def data():
    x = np.random.default_rng(0).normal(size=(32, 8)).astype("float32")
    return x, np.arange(32) % 5


def test_each_learns_from_labels_and_from_the_others():
    students = [student(4, "a"), student(6, "b"), student(8, "c")]
    model = MutualLearning(students, KL(2.0), weight=0.5)
    accuracies = {name: ["accuracy"] for name in "abc"}
    model.compile("sgd", cross_entropy(), metrics=accuracies)
    x, y = data()
    found = model.evaluate(x, y, return_dict=True, verbose=0)
    logits = {s.name: s(x) for s in students}
    total = 0.0
    for name in "abc":
        peers = [KL(2.0)(logits[name], logits[p]) for p in "abc" if p != name]
        assert found[f"{name}_kl"] == pytest.approx(np.mean(peers), rel=1e-4)
        task = float(cross_entropy()(y, logits[name]))
        assert found[f"{name}_loss"] == pytest.approx(task, rel=1e-4)
        right = np.mean(np.argmax(logits[name], -1) == y)
        assert found[f"{name}_accuracy"] == pytest.approx(right)
        total += task + 0.5 * np.mean(peers)
    assert found["loss"] == pytest.approx(total, rel=1e-4)


def test_it_trains_saves_and_loads(tmp_path):
    students = [student(4, "plain"), tfc.compress(student(6, "sparse"), {".*": "mask"})]
    model = MutualLearning(students)
    model.compile("adam", cross_entropy())
    x, y = data()
    pruning = tfc.callbacks.Pruning(0.5)
    history = model.fit(x, y, epochs=20, verbose=0, callbacks=[pruning]).history
    assert history["loss"][-1] < history["loss"][0]
    assert np.mean(tfc.strip(students[1]).layers[0].kernel.numpy() == 0) > 0.3
    model.save(tmp_path / "both.keras")
    loaded = keras.models.load_model(tmp_path / "both.keras")
    for name, output in model.predict(x, verbose=0).items():
        np.testing.assert_array_equal(loaded.predict(x, verbose=0)[name], output)


def test_no_gradient_flows_into_who_teaches():
    still, moving = student(4, "still"), student(6, "moving")
    moving.trainable = False
    model = MutualLearning([still, moving], weight=100.0)
    model.compile(keras.optimizers.SGD(0.1), cross_entropy())
    before = moving.get_weights()
    model.fit(*data(), verbose=0)
    for old, new in zip(before, moving.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize(
    ("students", "arguments", "message"),
    [
        (lambda: [student(4, "a")], {}, "two or more models"),
        (lambda: [student(4, "a"), student(4, "a")], {}, "with different names"),
        (
            lambda: [student(4, "a"), student(4, "b", num_classes=3)],
            {},
            "with the same classes",
        ),
        (lambda: [two_headed("a"), two_headed("b")], {}, "expected one output each"),
        (
            lambda: [student(4, "a"), student(4, "b")],
            {"weight": -1},
            "number of at least 0",
        ),
        (lambda: [student(4, "a"), student(4, "b")], {"loss": "hints"}, "features"),
    ],
)
def test_bad_input(students, arguments, message):
    with pytest.raises(ValueError, match=message):
        MutualLearning(students(), **arguments)
