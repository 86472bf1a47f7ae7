"""Studies without files that are small enough to know their best members."""

import keras
import numpy as np

from tests import models
from tests.search.problems import EIGHTHS, Scored

L = keras.layers


class Problem(Scored):
    """A classifier whose own answers are the labels.

    Args:
        model: the classifier.
        choices: choices of the dimension "channels".
        samples: number of scored samples.
        round_to: as for `Proxy`.
    """

    def __init__(self, model, choices=EIGHTHS, samples=256, round_to=1):
        x = models.inputs(model, samples, seed=1)
        y = np.argmax(model(x), axis=1)
        super().__init__(model, {"channels": choices}, x, y, round_to)


def drawn(model):
    """The model with fixed random weights."""
    generator = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(generator.normal(size=weight.shape))
    return model


def chain():
    """8 -> 16 -> 10 -> 4, whose MACs are 128 + 160 + 40."""
    model = keras.Sequential(
        [
            keras.Input((8,)),
            L.Dense(16, "relu", name="first"),
            L.Dense(10, "relu", name="second"),
            L.Dense(4, name="head"),
        ]
    )
    return drawn(model)


def half_noise():
    """Two groups of eight channels; one is constant, and the head hardly reads it.

    If it depended on the inputs, what reads it could be fitted to replace lost channels.

    A channel of either costs 8 + 4 MACs, so half of the 192 MACs are eight channels.
    """
    x = keras.Input((8,))
    signal = L.Dense(8, "relu", name="signal")(x)
    noise = L.Dense(8, "relu", name="noise")(x)
    y = L.Dense(4, name="head")(L.Concatenate()([signal, noise]))
    model = drawn(keras.Model(x, y))
    read = np.repeat([1.0, 1e-3], 8)[:, None]
    model.layers[-1].kernel.assign(model.layers[-1].kernel * read)
    noise = model.get_layer("noise")
    noise.kernel.assign(np.zeros_like(noise.kernel))
    return model


def kept(problem, member):
    """`{name: how many channels stay}`."""
    stays = problem.proxy.keep(member)
    return {g.name: int(stays[g.units].sum()) for g in problem.proxy.groups}
