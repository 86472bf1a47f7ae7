"""Processes that share the trials of one search; one of them is killed."""

import collections
import os
import pathlib
import signal
import subprocess
import sys

import optuna
import pytest

SCRIPT = pathlib.Path(__file__).with_name("searcher.py")
ROOT = pathlib.Path(__file__).parents[2]
NUM_TRIALS = 16


def start(url, folder, seconds=0.2):
    line = [sys.executable, str(SCRIPT), url, str(folder), str(seconds)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    pipe = subprocess.PIPE
    return subprocess.Popen(line, stdout=pipe, env=environment, text=True)


def scored(process):
    """Waits for the next score; the line."""
    for line in process.stdout:
        if line.startswith("scored"):
            return line
    pytest.fail("the searcher ended without a score")


def check_trials(url):
    """That none was lost and none run twice; the killed ones."""
    (name,) = optuna.get_all_study_names(url)
    trials = optuna.load_study(study_name=name, storage=url).trials
    states = collections.Counter(trial.state.name for trial in trials)
    assert states["RUNNING"] == states["WAITING"] == 0
    done = [trial for trial in trials if trial.state.name == "COMPLETE"]
    assert sum(trial.value > -1e9 for trial in done) >= NUM_TRIALS
    killed = [trial for trial in trials if trial.state.name == "FAIL"]
    for trial in killed:
        again = [
            other
            for other in done
            if other.system_attrs.get("failed_trial") == trial.number
        ]
        assert len(again) == 1
        assert again[0].params.items() >= trial.params.items()
    return killed


def two_searchers(url, folder):
    """One dies in the middle of a trial and is started again."""
    first = start(url, folder / "a", 1.5)
    scored(first)
    second = start(url, folder / "b", 0.5)
    scored(second)
    scored(first)
    # Now it is in the next trial.
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    first = start(url, folder / "a")
    found = [process.communicate(timeout=120)[0] for process in (first, second)]
    assert first.returncode == second.returncode == 0
    return {text.splitlines()[-1] for text in found}


def test_two_processes_on_sqlite(tmp_path):
    url = f"sqlite:///{tmp_path / 'search.db'}"
    answers = two_searchers(url, tmp_path)
    killed = check_trials(url)
    assert killed
    assert len(answers) == 1
