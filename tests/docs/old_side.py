"""Runs what a page shows for another tool, in an environment where that is installed.

    python -m venv old && old/bin/pip install -r tests/benchmarks/peers/lce.txt
    old/bin/python tests/docs/old_side.py migrate_from_larq.md larq

`tests/benchmarks/peers/tfmot.txt` and `migrate_from_tfmot.md tfmot` likewise.
"""

import os
import pathlib
import sys
import tempfile

os.environ["TF_USE_LEGACY_KERAS"] = "1"
sys.path.insert(0, str(pathlib.Path(__file__).parent))

import pages


def main(name, title):
    """Runs the blocks of a tool in an empty folder, and says how many there were."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        count = sum(1 for _ in pages.run(name, title))
    if not count:
        raise SystemExit(f"{name} has no blocks for {title!r}.")
    print(f"{count} blocks")


if __name__ == "__main__":
    main(*sys.argv[1:])
