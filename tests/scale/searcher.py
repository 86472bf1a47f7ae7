"""Shares the trials of a search through a database; started by test_storage.py.

usage: searcher.py URL FOLDER SECONDS
"""

import itertools
import os
import signal
import sys
import time

import keras
import numpy as np
from keras import layers

from tfcompress.pruning.channels.graph import ChannelGraph
from tfcompress.quantization.post_training.folded import plain_flat
from tfcompress.search.engines import Optuna, optuna
from tfcompress.search.space import Space
from tfcompress.search.steps import Making
from tfcompress.search.study import Study

NUM_TRIALS = 16


def study_of(folder):
    """The same in every process."""
    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
    model = keras.Sequential(
        [keras.Input((8,)), layers.Dense(16, name="a"), layers.Dense(4, name="b")]
    )
    y = np.argmax(model(x), axis=1)
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    graph = ChannelGraph(plain_flat(model, "search"))
    space = Space(graph, {"sparsity": (0.25, 0.5, 0.75), "bits": (4, 2)})
    flat = plain_flat(model, "search")
    data = (x, y)
    return Study(flat, space, graph, data, data, Making(), folder, None, False)


def search(url, folder, seconds, death=None):
    """Searches, each score taking some seconds more; the best member.

    Args:
        url: of the storage.
        folder: of the study.
        seconds: that are added to each score.
        death: a file. If it is not there, the process makes it and dies in its third
            trial, as the system ends one when memory runs out.
    """
    optuna._SECONDS_BETWEEN_SIGNS_OF_LIFE = 1
    study = study_of(folder)
    score, count = study.score, itertools.count(1)

    def slow(member):
        print("begun", flush=True)
        time.sleep(seconds)
        if next(count) == 3 and death and not death.exists():
            death.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return score(member)

    study.score = slow
    engine = Optuna(trials=NUM_TRIALS, storage=url)
    return engine.propose(study, {"kernel_bytes": 60})


if __name__ == "__main__":
    print(search(sys.argv[1], sys.argv[2], float(sys.argv[3])), flush=True)
