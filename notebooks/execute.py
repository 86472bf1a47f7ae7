"""usage: python notebooks/execute.py [--update] [NOTEBOOK ...]

Executes notebooks, all of this folder by default, one after the other, each in a new
kernel. Fails if one raises, prints to standard error, or would not be fit to commit.
Nothing is written without --update, which stores the outputs in the notebooks.
"""

import argparse
import copy
import os
import pathlib
import re
import subprocess
import sys
import time

import nbclient
import nbformat

FOLDER = pathlib.Path(__file__).resolve().parent
SECONDS = 1200  # for one cell, on a loaded machine
MOST_BYTES = 300_000

# Without what names the machine that it ran on.
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
# What TensorFlow says at its start whatever the log level is.
_NOTE = re.compile(r"^(I0000 |WARNING: All log messages before absl).*\n", re.MULTILINE)
# In notebooks it logs to standard output.
_LOGGED = re.compile(r"^(ERROR|INFO|WARNING):.*", re.MULTILINE)
_ABSOLUTE_PATH = re.compile(r"(?<![\w.:/])/(home|root|tmp|usr|var|Users)/\S*")


def executed(notebook):
    """A copy of a notebook with new outputs, and nothing that changes by itself."""
    notebook = copy.deepcopy(notebook)
    nbclient.NotebookClient(
        notebook,
        timeout=SECONDS,
        record_timing=False,
        resources={"metadata": {"path": str(FOLDER)}},
    ).execute(stderr=subprocess.DEVNULL)  # cells' own is an output
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs = [o for o in map(_cleaned, cell.outputs) if o is not None]
    return notebook


def _cleaned(output):
    """An output without what changes by itself; None if nothing is left."""
    if output.get("name") == "stderr":
        output["text"] = _NOTE.sub("", output["text"])
        return output if output["text"] else None
    if "image/png" in output.get("data", {}):
        output["data"].pop("text/plain", None)
        output["metadata"] = {}
    return output


def complaints(notebook):
    """What keeps a notebook from being committed, a list of sentences."""
    found = []
    for number, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", ()):
            text = _text(output)
            if output.output_type == "error" or output.get("name") == "stderr":
                found.append(f"cell {number} prints to standard error: {text[:300]}")
            if line := _LOGGED.search(text):
                found.append(f"cell {number} logs: {line.group()[:300]}")
            if path := _ABSOLUTE_PATH.search(text):
                found.append(f"cell {number} prints the absolute path {path.group()!r}")
    if not any(cell.get("outputs") for cell in notebook.cells):
        found.append("there are no outputs: run it with --update")
    size = len(nbformat.writes(notebook).encode())
    if size > MOST_BYTES:
        found.append(f"it has {size:,} bytes: expected at most {MOST_BYTES:,}")
    return found


def _text(output):
    if output.output_type == "error":
        return "\n".join([output.ename, output.evalue])
    shown = (text for kind, text in output.get("data", {}).items() if "text/" in kind)
    return "\n".join([output.get("text", ""), *shown])


def main():
    """The command line."""
    summary, details = __doc__.split("\n\n", 1)
    parser = argparse.ArgumentParser(
        usage=summary.removeprefix("usage: "), description=details
    )
    parser.add_argument("--update", action="store_true", help="store the outputs")
    parser.add_argument("notebooks", nargs="*", type=pathlib.Path)
    given = parser.parse_args()
    os.environ.update(ENVIRONMENT)
    failed = False
    for path in given.notebooks or sorted(FOLDER.glob("*.ipynb")):
        start = time.perf_counter()
        try:
            notebook = executed(nbformat.read(path, as_version=4))
            found = complaints(notebook)
        except nbclient.exceptions.CellExecutionError as error:
            found = [str(error)]
        print(f"{path.name}: {time.perf_counter() - start:.0f} s", *found, sep="\n  ")
        failed = failed or bool(found)
        if given.update and not found:
            nbformat.write(notebook, path)
    sys.exit(failed)


if __name__ == "__main__":
    main()
