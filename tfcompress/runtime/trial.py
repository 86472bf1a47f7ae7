"""Whether LiteRT survives a file, found out in a process that it may end."""

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
    """The signal by which a file without custom operations ends LiteRT, or None.

    Kernels check some of what they need by ending the process.

    Args:
        content: bytes of the file.
    """
    done = subprocess.run(
        [sys.executable, "-c", _RUN],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        input=content,
        capture_output=True,
    )
    # Errors that are no signals are told by whoever runs the file here.
    return signal.Signals(-done.returncode).name if done.returncode < 0 else None
