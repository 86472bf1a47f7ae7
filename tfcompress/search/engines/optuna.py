"""Members that are tried, by samplers that learn from what they score."""

import contextlib
import warnings

from tfcompress.core.kinds import Integer, OneOf, Text
from tfcompress.core.nouns import SearchEngine
from tfcompress.search.engines.uniform import Uniform

_SAMPLERS = {"tpe": "TPESampler", "nsga2": "NSGAIISampler", "cma_es": "CmaEsSampler"}
# Below all scores.
_HOPELESS = -1e9
# For each trial that is scored; the others only have their costs counted.
_MOST_HOPELESS = 50
_SECONDS_BETWEEN_SIGNS_OF_LIFE = 10


class Optuna(SearchEngine):
    """Tries members and scores each on the data, with a sampler of Optuna 5.

    A trial chooses for each layer the place of a choice in the order of what they save.
    Above the limits it is hopeless and not run: its value falls with what it oversteps
    them by, so that samplers find back. Within them it is the score, with the statistics
    of batch normalisation moved along. The first trial is about what `Uniform` proposes.
    When limits tighten, known trials are compared anew, and more are made if none fits.

    Args:
        sampler: `"tpe"`, `"nsga2"` or `"cma_es"`.
        trials: how many members are scored.
        seed: of the sampler.
        storage: URL of a database, such as `"sqlite:///search.db"`, in which several
            processes share the trials. What a process that died had begun is tried
            again. None for this process's memory.

    Raises:
        ImportError: when it runs, if Optuna is not installed: `pip install
            tfcompress[search]`.
        ValueError: when it runs, if the storage cannot be reached.

    Source: Akiba et al., "Optuna" (2019); TPE: Bergstra et al. (2011); NSGA-II: Deb et
    al. (2002); CMA-ES: Hansen (2016).

    Example:
        >>> tfc.search.engines.Optuna("nsga2", trials=50)
        Optuna(sampler='nsga2', trials=50)
    """

    def __init__(
        self,
        sampler: OneOf(*_SAMPLERS) = "tpe",
        trials: Integer(1) = 200,
        seed: Integer(0) = 0,
        storage: Text() = None,
    ):
        self.sampler, self.trials, self.seed = sampler, trials, seed
        self.storage = storage
        self._trials = None

    def propose(self, study, limits):
        """The best member of all trials within the limits."""
        first = Uniform().propose(study, limits)
        if first is None:
            return None
        if self._trials is None:
            self._trials = self._opened(study)
        if not self._is_done(study, limits, self.trials):
            self._search(study, limits, first)
        return self._best(study, limits)

    def _is_done(self, study, limits, goal):
        """Whether there are results enough, and nothing that somebody left undone."""
        import optuna

        with _experimental(optuna):
            optuna.storages.fail_stale_trials(self._trials)
        waiting = self._trials.get_trials(False, [optuna.trial.TrialState.WAITING])
        is_enough = self._num_scored() >= goal and self._best(study, limits)
        return bool(is_enough and not waiting)

    def _opened(self, study):
        import optuna
        import sqlalchemy

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = getattr(optuna.samplers, _SAMPLERS[self.sampler])(seed=self.seed)
        try:
            return optuna.create_study(
                study_name=study.mark[:16],
                storage=self.storage and _shared(optuna, self.storage),
                sampler=sampler,
                direction="maximize",
                load_if_exists=True,
            )
        except (
            ImportError,
            optuna.exceptions.StorageInternalError,
            sqlalchemy.exc.SQLAlchemyError,
        ) as error:
            raise ValueError(
                f"Optuna(storage): {self.storage!r} cannot be reached: "
                f"{str(error).splitlines()[0]}. Expected the URL of a database that is "
                "there, such as 'sqlite:///search.db', and its driver installed."
            ) from error

    def _search(self, study, limits, first):
        rows = study.space.flat()
        places = [_place(choices, first[d][name]) for d, name, choices in rows]
        named = {_name(row): place for row, place in zip(rows, places, strict=True)}
        self._trials.enqueue_trial(named, skip_if_exists=True)

        def value(trial):
            places = [trial.suggest_int(_name(row), 0, len(row[2]) - 1) for row in rows]
            member = study.space.member(places)
            excess = _excess(study.proxy, member, limits)
            return _HOPELESS * (1 + excess) if excess else study.score(member)

        goal = max(self.trials, self._num_scored() + 1)
        bar = study.progress(goal, "trial")
        for _ in range(self.trials * _MOST_HOPELESS):
            self._trials.optimize(value, n_trials=1)
            bar.update(min(self._num_scored(), goal))
            if self._is_done(study, limits, goal):
                return

    def _num_scored(self):
        return sum(
            _is_scored(trial) for trial in self._trials.get_trials(deepcopy=False)
        )

    def _best(self, study, limits):
        rows = study.space.flat()
        scored = [t for t in self._trials.get_trials(deepcopy=False) if _is_scored(t)]
        for trial in sorted(scored, key=lambda t: -t.value):
            member = study.space.member([trial.params[_name(row)] for row in rows])
            if study.proxy.is_within(member, limits):
                return member
        return None


def _shared(optuna, url):
    storages = optuna.storages
    with _experimental(optuna):
        return storages.RDBStorage(
            url,
            heartbeat_interval=_SECONDS_BETWEEN_SIGNS_OF_LIFE,
            heartbeat_stale_trial_callback=storages.RetryHeartbeatStaleTrialCallback(),
        )


@contextlib.contextmanager
def _experimental(optuna):
    """Within it Optuna does not warn of what has been experimental for years."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


def _is_scored(trial):
    return trial.value is not None and trial.value > _HOPELESS


def _name(row):
    dimension, name, _ = row
    return f"{dimension} {name}"


def _place(choices, choice):
    """Of a choice, or of the next one that saves more than what is between two."""
    if choice in choices:
        return choices.index(choice)
    rising = choices[-1] > choices[0]
    later = [p for p, c in enumerate(choices) if (c > choice) == rising]
    return later[0]


def _excess(proxy, member, limits):
    """By what part a member oversteps its limits, all of them together."""
    costs = proxy.costs(member)
    return sum(max(costs[name] / limit - 1, 0.0) for name, limit in limits.items())
