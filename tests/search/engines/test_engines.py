"""Every engine is within limits, repeatable, and better than a uniform choice."""

import keras
import numpy as np
import optuna
import pytest
from keras import layers

from tfcompress.core.nouns import SearchEngine
from tfcompress.pruning.channels.graph import ChannelGraph
from tfcompress.quantization.post_training.folded import plain_flat
from tfcompress.search.engines import Uniform
from tfcompress.search.space import Space
from tfcompress.search.steps import Making
from tfcompress.search.study import Study

# Arguments with which an engine takes seconds.
SMALL = {
    "amc": {"episodes": 24, "warm_up": 8},
    "apq": {"samples": 20, "transferred": 10, "refinements": 1, "rounds": 10},
    "filter_agent": {"passes": 2},
    "optuna": {"trials": 12},
    "tas": {"steps": 200, "learning_rate": 0.05},
}
ENGINES = [
    name
    for name in sorted(SearchEngine.registered)
    if not SearchEngine.get(name).chooses_methods
]


def noisy():
    """A network in which one group of channels is only noise."""
    keras.utils.set_random_seed(0)
    x = keras.Input((8,))
    signal = layers.Dense(16, "relu", name="signal")(x)
    noise = layers.Dense(16, "relu", name="noise")(x)
    y = layers.Dense(4, name="head")(layers.Concatenate()([signal, noise]))
    model = keras.Model(x, y)
    kernel = model.get_layer("head").kernel.numpy()
    kernel[16:] *= 1e-4
    model.get_layer("head").kernel.assign(kernel)
    # Norms do not tell them apart.
    model.get_layer("noise").kernel.assign(2 * model.get_layer("noise").kernel)
    return model


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    model = noisy()
    x = np.random.default_rng(0).normal(size=(512, 8)).astype("float32")
    y = np.argmax(model.predict(x, verbose=0), axis=1)
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    graph = ChannelGraph(plain_flat(model, "search"))
    space = Space(graph, {"channels": (0.25, 0.5, 0.75)})
    flat = plain_flat(model, "search")
    making = Making()
    folder = tmp_path_factory.mktemp("study")
    return Study(flat, space, graph, (x, y), (x, y), making, folder, None, False)


def engine(name):
    return SearchEngine.get({name: SMALL[name]} if name in SMALL else name)


@pytest.mark.parametrize("name", ENGINES)
def test_finds_the_noise_within_the_limits(name, study):
    limits = {"macs": 0.7 * study.dense.macs}
    member = engine(name).propose(study, limits)
    assert study.proxy.macs(member) <= limits["macs"]
    assert engine(name).propose(study, limits) == member
    stays = study.proxy.keep(member)
    left = {g.name: np.sum(stays[g.units]) for g in study.proxy.groups}
    if name == "uniform":
        assert left["noise"] == left["signal"]
        return
    assert left["noise"] < left["signal"]
    assert study.score(member) > study.score(Uniform().propose(study, limits))


@pytest.mark.parametrize("name", ENGINES)
def test_what_cannot_be_reached_is_none(name, study):
    assert engine(name).propose(study, {"macs": 1}) is None


def test_uniform_takes_the_least_level(study):
    limits = {"macs": 0.7 * study.dense.macs}
    first = Uniform(256).propose(study, limits)
    lower = {"channels": {n: r - 0.07 for n, r in first["channels"].items()}}
    assert study.proxy.macs(lower) > limits["macs"]


def test_optuna_shares_trials_through_a_database(study, tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path / 'search.db'}"
    limits = {"macs": 0.7 * study.dense.macs}
    first = SearchEngine.get({"optuna": {"trials": 6, "storage": url}})
    member = first.propose(study, limits)
    # Another process has nothing left to do.
    second = SearchEngine.get({"optuna": {"trials": 6, "storage": url}})
    monkeypatch.setattr(study, "score", None)
    assert second.propose(study, limits) == member


def test_a_storage_that_cannot_be_reached(study):
    one = SearchEngine.get({"optuna": {"storage": "sqlite:////no/folder/search.db"}})
    with pytest.raises(ValueError, match="cannot be reached"):
        one.propose(study, {"macs": 0.7 * study.dense.macs})


def test_a_password_is_not_told(study):
    url = "postgresql+none://me:se/c@ret@host/search"
    one = SearchEngine.get({"optuna": {"storage": url}})
    with pytest.raises(ValueError, match=r"'postgresql\+none://me:\*\*\*@host/search'"):
        one.propose(study, {"macs": 0.7 * study.dense.macs})


def test_a_trial_that_was_taken_by_others(study, tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path / 'search.db'}"
    one = SearchEngine.get({"optuna": {"trials": 3, "storage": url}})
    score, taken = study.score, []

    def taken_first(member):
        if not taken:
            taken.append(member)
            (trial,) = one._trials.get_trials(states=[optuna.trial.TrialState.RUNNING])
            other = optuna.storages.RDBStorage(url)
            other.set_trial_state_values(trial._trial_id, optuna.trial.TrialState.FAIL)
        return score(member)

    monkeypatch.setattr(study, "score", taken_first)
    assert one.propose(study, {"macs": 0.7 * study.dense.macs})
    states = [trial.state.name for trial in one._trials.trials]
    assert states.count("FAIL") == 1
    assert one._num_scored() == 3


def test_processes_draw_each_by_its_own(study, tmp_path):
    url = f"sqlite:///{tmp_path / 'search.db'}"
    draws = []
    for _ in range(2):
        trials = SearchEngine.get({"optuna": {"storage": url}})._opened(study)
        draws.append(trials.ask().suggest_int("x", 0, 10**9))
    assert draws[0] != draws[1]
