"""Teacher assistants and born-again networks."""

import keras
import numpy as np
import pytest

from tests import models
from tfcompress.distillation import Distiller, born_again, chain

X = np.random.default_rng(0).normal(size=(32, 8)).astype("float32")
Y = np.arange(32) % 5


def test_each_learns_from_the_one_before():
    seen = []

    def train(distiller):
        seen.append((distiller.teacher.model, distiller.student, distiller.alpha))
        distiller.compile("sgd")
        distiller.fit(X, verbose=0)

    teacher, assistant, student = (models.small() for _ in range(3))
    trained = chain(teacher, [assistant, lambda: student], train, alpha=0.25)
    assert trained == [assistant, student]
    assert seen == [(teacher, assistant, 0.25), (assistant, student, 0.25)]


def test_generations_start_anew_and_the_first_from_labels():
    trained_with = []

    def train(model):
        trained_with.append(type(model))
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(True))
        model.fit(X, Y, verbose=0)

    found = born_again(models.small, train, generations=2)
    assert trained_with == [type(found[0]), Distiller, Distiller]
    assert len({id(model) for model in found}) == 3


def test_bad_input():
    with pytest.raises(ValueError, match="at least one"):
        chain(models.small(), [], print)
    with pytest.raises(ValueError, match="from 1 to"):
        born_again(models.small, print, generations=0)
