"""Loads files with the delegate in a separate process, so that crashes are detected."""

import subprocess
import sys

from tfcompress import native

# Without TensorFlow it starts fast.
_LOAD = """
import pathlib, sys
from ai_edge_litert.interpreter import Interpreter, load_delegate

for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    try:
        delegate = load_delegate(sys.argv[2])
        interpreter = Interpreter(str(path), experimental_delegates=[delegate])
        interpreter.allocate_tensors()
        print(path.name, ": loaded")
    except (ValueError, RuntimeError) as error:
        print(path.name, ":", str(error).splitlines()[0])
"""


def load_each(files, folder):
    """`{name: "loaded" or the error}` for `{name: bytes}`, written to a folder."""
    for name, content in files.items():
        (folder / name).write_bytes(content)
    command = [sys.executable, "-c", _LOAD, str(folder), str(native.library_path())]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout[-200:] + result.stderr[-2000:]
    lines = dict(line.split(" : ", 1) for line in result.stdout.splitlines())
    assert lines.keys() == files.keys()
    return lines
