"""Small models to search, and studies of them without files."""

import functools
import json

import keras
import numpy as np

from tfcompress.pruning.channels.graph import ChannelGraph
from tfcompress.quantization.post_training.folded import plain_flat
from tfcompress.search.proxy import Proxy
from tfcompress.search.space import Space

L = keras.layers
EIGHTHS = tuple(i / 8 for i in range(8))


class Scored:
    """The part of a `Study` that engines use.

    Attributes:
        asked: members that were scored, in order, each once.
        scored: `{member as text: score}`.
    """

    def __init__(self, model, dimensions, x, y, round_to=1):
        graph = ChannelGraph(plain_flat(model, "search"))
        self.space = Space(graph, dimensions)
        self.proxy = Proxy(model, graph, x, (x, y), round_to=round_to)
        self.asked, self.scored = [], {}

    def score(self, member):
        key = json.dumps(member, sort_keys=True)
        if key not in self.scored:
            self.asked.append(member)
            self.scored[key] = self.proxy.score(member)
        return self.scored[key]

    def progress(self, total, unit):
        return keras.utils.Progbar(total, verbose=0, unit_name=unit)


def three_layers():
    """3 inputs, 4 and 8 units, 2 outputs."""
    return _drawn(
        keras.Sequential(
            [
                keras.Input((3,)),
                L.Dense(4, "relu", name="a"),
                L.Dense(8, "relu", name="b"),
                L.Dense(2, name="head"),
            ]
        )
    )


def with_noise():
    """Two layers of 16 units; nothing reads the output of `noise`."""
    x = keras.Input((8,))
    signal = L.Dense(16, "relu", name="signal")(x)
    noise = L.Dense(16, "relu", name="noise")(x)
    parts = [L.Dense(4, name="reads")(signal), L.Dense(4, name="ignores")(noise)]
    model = _drawn(keras.Model(x, L.Add()(parts)))
    model.get_layer("ignores").kernel.assign(np.zeros((16, 4)))
    return model


@functools.cache
def study_with_noise():
    """A study whose best member within 0.6 of the MACs is `BEST`."""
    model = with_noise()
    x = np.random.default_rng(1).normal(size=(256, 8)).astype("float32")
    y = np.argmax(model(x), axis=1)
    return Scored(model, {"channels": EIGHTHS}, x, y)


BEST = {"channels": {"signal": 0, "noise": 7 / 8}}


def limits_of(study, **shares):
    """Limits of a study, from fractions of the costs of the whole model."""
    costs = study.proxy.costs(study.space.neutral())
    return {name: share * costs[name] for name, share in shares.items()}


def _drawn(model):
    generator = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(generator.normal(size=weight.shape))
    return model
