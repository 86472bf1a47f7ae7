"""Processes that share the trials of one search; some of them are killed."""

import collections
import os
import pathlib
import secrets
import signal
import subprocess
import sys

import optuna
import pytest

from tests.scale import searcher
from tests.scale.postgres import Postgres, programs

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def postgres():
    reason = "not tested, the driver is missing: pip install 'tfcompress[scale]'"
    pytest.importorskip("psycopg", reason=reason)
    if programs() is None:
        pytest.skip("not tested, no PostgreSQL server is here: apt install postgresql")
    with Postgres() as server:
        yield server


@pytest.fixture
def ray(monkeypatch):
    reason = "not tested, Ray is missing: pip install 'tfcompress[scale]'"
    ray = pytest.importorskip("ray", reason=reason)
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    # Where Ray finds no token it leaves one in the home folder.
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=10**8)
    yield ray
    ray.shutdown()


def start(url, folder, seconds=0.2):
    line = [sys.executable, searcher.__file__, url, str(folder), str(seconds)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    pipe = subprocess.PIPE
    return subprocess.Popen(line, stdout=pipe, stderr=pipe, env=environment, text=True)


def begun(process, count=1):
    """Waits until so many more trials are being scored, the last one just now."""
    for line in process.stdout:
        count -= line == "begun\n"
        if not count:
            return
    pytest.fail(f"the searcher ended: {process.stderr.read()}")


def trials_of(url):
    (name,) = optuna.get_all_study_names(url)
    return optuna.load_study(study_name=name, storage=url).trials


def failed(trials):
    return [trial for trial in trials if trial.state.name == "FAIL"]


def check_trials(url):
    """That none was lost and none run twice; the killed ones."""
    trials = trials_of(url)
    states = collections.Counter(trial.state.name for trial in trials)
    assert states["RUNNING"] == states["WAITING"] == 0
    done = [trial for trial in trials if trial.state.name == "COMPLETE"]
    assert sum(trial.value > -1e9 for trial in done) >= searcher.NUM_TRIALS
    killed = failed(trials)
    for trial in killed:
        again = [
            other
            for other in done
            if other.system_attrs.get("failed_trial") == trial.number
        ]
        assert len(again) == 1
        assert again[0].params.items() >= trial.params.items()
    return killed


def known_best(url, folder):
    """Of all trials, without any more; whoever ends last has seen all of them."""
    count = len(trials_of(url))
    found = searcher.search(url, folder / "known", 0)
    assert len(trials_of(url)) == count
    return found


def two_searchers(url, folder):
    """One dies in the middle of a trial and is started again."""
    first = start(url, folder / "a", 1.5)
    second = start(url, folder / "b", 0.5)
    begun(first, 3)
    begun(second)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    first = start(url, folder / "a")
    found = [process.communicate(timeout=120)[0] for process in (first, second)]
    assert first.returncode == second.returncode == 0, found
    return {text.splitlines()[-1] for text in found}


def test_two_processes_on_sqlite(tmp_path):
    url = f"sqlite:///{tmp_path / 'search.db'}"
    answers = two_searchers(url, tmp_path)
    assert str(known_best(url, tmp_path)) in answers
    assert check_trials(url)


def test_two_processes_on_postgresql(postgres, tmp_path):
    answers = two_searchers(postgres.url, tmp_path)
    assert str(known_best(postgres.url, tmp_path)) in answers
    assert check_trials(postgres.url)


def test_a_server_that_goes_away(postgres, tmp_path):
    process = start(postgres.url, tmp_path, 4)
    begun(process, 2)
    postgres.stop()
    postgres.start()
    # The trial that ran meanwhile counts.
    begun(process)
    assert not failed(trials_of(postgres.url))
    postgres.stop()
    message = process.communicate(timeout=120)[1].splitlines()[-1]
    assert process.returncode == 1
    assert message.startswith(f"ConnectionError: Optuna(storage): '{postgres.url}'")
    assert "once it is back, start again" in message
    postgres.start()
    process = start(postgres.url, tmp_path)
    process.communicate(timeout=120)
    assert process.returncode == 0
    assert check_trials(postgres.url)


def test_two_workers_of_ray(ray, tmp_path):
    url, death = f"sqlite:///{tmp_path / 'search.db'}", tmp_path / "died"
    search = ray.remote(max_retries=1)(searcher.search)
    tasks = [
        search.remote(url, tmp_path / "a", 0.5, death),
        search.remote(url, tmp_path / "b", 0.5),
    ]
    first, second = ray.get(tasks, timeout=120)
    assert death.exists()
    assert known_best(url, tmp_path) in (first, second)
    assert len(check_trials(url)) == 1
