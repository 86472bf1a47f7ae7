"""Loads a file with TFLite Micro; run as a script by `micro`.

Its own process, since TFLite Micro ends the one that it is in where a check fails.
"""

import pathlib
import sys

if __name__ == "__main__":
    # Not everyone has it who imports this.
    from tflite_micro.python.tflite_micro import runtime

    path, size = sys.argv[1:]
    content = pathlib.Path(path).read_bytes()
    runtime.Interpreter.from_bytes(content, arena_size=int(size)).print_allocations()
