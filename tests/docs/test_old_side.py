"""What the page shows for tfmot runs with tfmot, in a process of its own."""

import pathlib
import subprocess
import sys

import pytest

from tfcompress.interop import tfmot

SCRIPT = pathlib.Path(__file__).with_name("old_side.py")


@pytest.mark.skipif(not tfmot.is_installed(), reason="needs tfmot")
def test_the_side_of_tfmot_runs():
    command = [sys.executable, SCRIPT, "migrate_from_tfmot.md", "tfmot"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == "8 blocks"
