"""Tests in a separate process whether LiteRT survives a file."""

import os
import signal
import subprocess
import sys

_RUN = """
import sys
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(model_content=sys.stdin.buffer.read())
interpreter.allocate_tensors()
interpreter.invoke()
"""


def ended_by(content):
    """The signal with which a file without custom operations ends LiteRT, or None.

    Kernels end the process if some of their requirements are not met.

    Args:
        content: bytes of the file.
    """
    done = subprocess.run(
        [sys.executable, "-c", _RUN],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        input=content,
        capture_output=True,
    )
    # Errors that are not signals are reported when the file runs in this process.
    return signal.Signals(-done.returncode).name if done.returncode < 0 else None
