"""Datasets are never held in memory as a whole."""

import json
import pathlib
import subprocess
import sys

import pytest

SCRIPT = pathlib.Path(__file__).parent / "streams.py"
# Of the 300 MiB by which the long datasets are longer.
MOST_GROWTH = 100


@pytest.fixture(scope="module")
def peaks(tmp_path_factory):
    run = subprocess.run(
        [sys.executable, SCRIPT, tmp_path_factory.mktemp("streams")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


def test_memory_does_not_grow_with_the_dataset(peaks):
    print(peaks)
    grown = {name: after - before for name, (before, after) in peaks.items()}
    assert len(grown) == 8
    assert max(grown.values()) < MOST_GROWTH, grown
