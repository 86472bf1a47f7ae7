"""The classical demonstrations of what soft labels contain."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import models
from tfcompress.distillation import KL, Distiller

NUM_CLASSES = 5
CENTERS = 2.0 * np.eye(NUM_CLASSES, 8)


def softened(logits, temperature):
    return keras.ops.softmax(np.array(logits, "float32") / temperature).numpy()


def blobs(count, seed):
    """Clouds around five corners, which overlap a little."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, NUM_CLASSES, count)
    x = CENTERS[labels] + 0.7 * generator.normal(size=(count, 8))
    return x.astype("float32"), labels


def cross_entropy(**kwargs):
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True, **kwargs)


def trained(model, x, y, loss="labels", epochs=8):
    model.compile(
        keras.optimizers.Adam(0.01), cross_entropy() if loss == "labels" else loss
    )
    model.fit(x, y, batch_size=64, epochs=epochs, verbose=0)
    return model


def accuracy(model, x, y):
    return np.mean(np.argmax(model(x), -1) == y)


@pytest.fixture(scope="module")
def teacher():
    keras.utils.set_random_seed(0)
    return trained(models.small(), *blobs(2000, seed=1))


def test_temperature_reveals_the_small_ones():
    np.testing.assert_allclose(softened([100, 10, 1], 1), [1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(
        softened([100, 10, 1], 100), [0.56, 0.23, 0.21], atol=0.005
    )


def test_infinite_temperature_teaches_nothing():
    logits = np.array([[100.0, 10, 1], [-3, 0, 5]])
    np.testing.assert_allclose(softened(logits, 1e7), 1 / 3, atol=1e-5)
    student = tf.Variable(np.zeros((2, 3), "float32"))
    gradients = []
    for temperature in (1.0, 100.0, 1e4):
        with tf.GradientTape() as tape:
            loss = KL(temperature)(student, logits) / temperature**2
        gradients.append(np.abs(tape.gradient(loss, student)).max())
    assert gradients[0] > 0.3 > 10 * gradients[1] > 1e3 * gradients[2]


def test_high_temperature_matches_logits():
    """Hinton et al., equation 4: the gradient tends to the difference of the logits."""
    student = tf.Variable([[1.0, -2.0, 4.0]])
    teacher = np.array([[3.0, 5.0, -2.0]], "float32")
    with tf.GradientTape() as tape:
        loss = KL(1e3)(student, teacher)
    difference = student.numpy() - teacher
    wanted = (difference - difference.mean()) / 3
    np.testing.assert_allclose(tape.gradient(loss, student), wanted, rtol=0.01)


def test_class_never_seen_is_learned_from_soft_labels(teacher):
    x, y = blobs(2000, seed=2)
    seen = y != 3
    student = models.small()
    trained(Distiller(student, teacher, KL(4.0)), x[seen], None, loss=None, epochs=15)
    alone = trained(models.small(), x[seen], y[seen])
    x, y = blobs(1000, seed=3)
    threes = y == 3
    assert accuracy(alone, x[threes], y[threes]) == 0
    assert accuracy(student, x[threes], y[threes]) > 0.85
    assert accuracy(student, x, y) > accuracy(teacher, x, y) - 0.05


def test_wrong_labels_are_outweighed(teacher):
    """Li et al., "Learning from Noisy Labels with Distillation" (2017)."""
    x, y = blobs(500, seed=4)
    wrong = np.random.default_rng(0).random(len(y)) < 0.6
    y = np.where(wrong, np.random.default_rng(1).integers(0, NUM_CLASSES, len(y)), y)
    alone = trained(models.small(), x, y, epochs=30)
    taught = models.small()
    trained(Distiller(taught, teacher, KL(1.0), alpha=0.2), x, y, epochs=30)
    x, y = blobs(1000, seed=5)
    assert accuracy(taught, x, y) > accuracy(alone, x, y) + 0.03


def test_some_labels_may_be_missing(teacher):
    x, y = blobs(500, seed=6)
    y = np.where(np.arange(len(y)) < 10, y, -1)
    student = models.small()
    loss = cross_entropy(ignore_class=-1)
    trained(Distiller(student, teacher, alpha=0.5), x, y, loss=loss, epochs=20)
    x, y = blobs(1000, seed=7)
    assert accuracy(student, x, y) > accuracy(teacher, x, y) - 0.03
