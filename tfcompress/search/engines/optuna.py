"""Members tried by samplers that learn from their scores."""

import contextlib
import random
import re
import threading
import time
import warnings

from tfcompress.core.kinds import Integer, OneOf, Text
from tfcompress.core.nouns import SearchEngine
from tfcompress.search.engines.uniform import Uniform

_SAMPLERS = {"tpe": "TPESampler", "nsga2": "NSGAIISampler", "cma_es": "CmaEsSampler"}
# Lower than all scores.
_HOPELESS = -1e9
# Per scored trial; of the others, only the costs are counted.
_MOST_HOPELESS = 50
_SECONDS_BETWEEN_SIGNS_OF_LIFE = 10
_TRIES_TO_OPEN = 6


class Optuna(SearchEngine):
    """Tries members and scores each on the data, with a sampler of Optuna 5.

    A trial selects, for each layer, the place of a choice in the order of savings. Above
    the limits it is not scored: its value decreases with the excess, so that samplers find
    their way back. Within them the value is the score, with updated statistics of batch
    normalisation. The first trial is close to what `Uniform` proposes. When limits tighten,
    known trials are compared again, and more are run if none fits.

    Args:
        sampler: `"tpe"`, `"nsga2"` or `"cma_es"`.
        trials: number of members that are scored.
        seed: seed of the sampler. Processes that share a storage each use a random seed,
            since otherwise all would begin with the same members.
        storage: URL of a database, such as `"sqlite:///search.db"`, in which several
            processes share the trials. Unfinished trials of a process that died are
            repeated. None keeps the trials in this process's memory.

    Raises:
        ImportError: when it runs, if Optuna is not installed: `pip install
            tfcompress[search]`.
        ValueError: when it runs, if the storage cannot be reached.
        ConnectionError: if the storage is lost during the search. All trials are kept in
            it, and the search resumes when it is started again.

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
        self._study = self._trials = self._database = None

    def propose(self, study, limits):
        """The best member within the limits of all trials."""
        first = Uniform().propose(study, limits)
        if first is None:
            return None
        if study is not self._study:
            expected = (
                "Expected the URL of an existing database, such as "
                "'sqlite:///search.db', and its driver installed."
            )
            with self._telling(ValueError, "cannot be reached", expected):
                self._trials, self._study = self._opened(study), study
        again = (
            "Its trials are kept: once it is back, start again to resume the search."
        )
        with self._telling(ConnectionError, "was lost during the search", again):
            if not self._is_done(study, limits, self.trials):
                self._search(study, limits, first)
            return self._best(study, limits)

    @contextlib.contextmanager
    def _telling(self, kind, what, fix):
        """A context that turns errors of the storage into one of ours."""
        import optuna
        import sqlalchemy

        try:
            yield
        except (
            optuna.exceptions.StorageInternalError,
            sqlalchemy.exc.SQLAlchemyError,
        ) as error:
            reason = str(error.__cause__ or error).splitlines()[0]
            raise kind(
                f"Optuna(storage): {_shown(self.storage)!r} {what}: {reason}. {fix}"
            ) from error

    def _is_done(self, study, limits, goal):
        """Whether there are enough results, and no unfinished trials of others."""
        import optuna

        with _experimental(optuna):
            optuna.storages.fail_stale_trials(self._trials)
        waiting = self._trials.get_trials(False, [optuna.trial.TrialState.WAITING])
        is_enough = self._num_scored() >= goal and self._best(study, limits)
        return bool(is_enough and not waiting)

    def _opened(self, study):
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._database = self.storage and _database(optuna, self.storage)
        seed = None if self.storage else self.seed
        return optuna.create_study(
            study_name=study.mark[:16],
            storage=self._database,
            sampler=getattr(optuna.samplers, _SAMPLERS[self.sampler])(seed=seed),
            direction="maximize",
            load_if_exists=True,
        )

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
            self._try(value)
            bar.update(min(self._num_scored(), goal))
            if self._is_done(study, limits, goal):
                return

    def _try(self, value):
        """Runs a trial. If that fails, the trial stays open, and is repeated later."""
        with warnings.catch_warnings():
            # Heartbeats are sent here.
            warnings.filterwarnings("ignore", "Heartbeat of storage")
            trial = self._trials.ask()
        with self._signs_of_life(trial):
            found = value(trial)
        # If this process was stopped for long, others have taken over the trial.
        self._trials.tell(trial, found, skip_if_finished=True)

    @contextlib.contextmanager
    def _signs_of_life(self, trial):
        """A context in which other processes see that the trial is running.

        Unlike in `optuna.Study.optimize`, heartbeats resume after the database was down.
        """
        if not self.storage:
            yield
            return
        database, ended = self._database, threading.Event()
        search = database.get_study_id_from_name(self._trials.study_name)
        number = database.get_trial_id_from_study_id_trial_number(search, trial.number)

        def give():
            while not ended.wait(_SECONDS_BETWEEN_SIGNS_OF_LIFE):
                # A database that stays down is reported when the trial ends.
                with contextlib.suppress(Exception):
                    database.record_heartbeat(number)

        database.record_heartbeat(number)
        thread = threading.Thread(target=give, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

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


def _database(optuna, url):
    import sqlalchemy

    errors = sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError
    try:
        sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool).connect().close()
    except ImportError as error:
        raise optuna.exceptions.StorageInternalError(str(error)) from error
    for _ in range(_TRIES_TO_OPEN - 1):
        # Processes that start together may conflict when they create tables.
        with contextlib.suppress(*errors):
            return _opened_once(optuna, url)
        # They do not retry at the same time, whatever their seeds are.
        time.sleep(random.SystemRandom().uniform(0.1, 1.0))
    return _opened_once(optuna, url)


def _opened_once(optuna, url):
    with _experimental(optuna):
        return optuna.storages.RDBStorage(
            url,
            # Connections that broke while a trial ran are reopened.
            engine_kwargs={"pool_pre_ping": True},
            heartbeat_interval=_SECONDS_BETWEEN_SIGNS_OF_LIFE,
            heartbeat_stale_trial_callback=(
                optuna.storages.RetryHeartbeatStaleTrialCallback()
            ),
        )


def _shown(url):
    """The URL without its password."""
    return re.sub(r"(://[^:/@]*):.*@", r"\1:***@", url)


@contextlib.contextmanager
def _experimental(optuna):
    """A context without Optuna's warnings of long-standing experimental features."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


def _is_scored(trial):
    return trial.value is not None and trial.value > _HOPELESS


def _name(row):
    dimension, name, _ = row
    return f"{dimension} {name}"


def _place(choices, choice):
    """The place of a choice; between two choices, that of the one that saves more."""
    if choice in choices:
        return choices.index(choice)
    rising = choices[-1] > choices[0]
    later = [p for p, c in enumerate(choices) if (c > choice) == rising]
    return later[0]


def _excess(proxy, member, limits):
    """The sum of the relative excesses of a member over its limits."""
    costs = proxy.costs(member)
    return sum(max(costs[name] / limit - 1, 0.0) for name, limit in limits.items())
