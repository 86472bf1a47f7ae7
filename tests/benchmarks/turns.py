"""A process that runs a `.tflite` file several times whenever it reads a line, and prints
the median of the seconds per run.

Each of the compared files gets its own process, so that no thread of one waits for work
while another is timed. The task is JSON: path, num_threads, repeats, and optionally
delegate, options of the delegate, and `tiles`, whether tile instructions (AMX) may be used.
"""

import ctypes
import json
import statistics
import struct
import sys
import time

# Constants of Linux on x86-64, from its headers.
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2
_SYS_ARCH_PRCTL, _ARCH_REQ_XCOMP_PERM, _EPERM = 158, 0x1023, 1
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_NUMBER, _FIRST_ARGUMENT = 0, 16  # Offsets in struct seccomp_data.


def deny_tiles():
    """Makes Linux deny this process the use of tile registers.

    Raises:
        OSError: if the filter was not accepted.
    """
    steps = [
        (_LOAD, 0, 0, _NUMBER),
        (_JUMP_IF_EQUAL, 0, 3, _SYS_ARCH_PRCTL),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_JUMP_IF_EQUAL, 0, 1, _ARCH_REQ_XCOMP_PERM),
        (_RETURN, 0, 0, _ERROR | _EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *s) for s in steps))
    program = struct.pack("HxxxxxxQ", len(steps), ctypes.addressof(code))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or prctl(
        _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, program, 0, 0
    ):
        raise OSError(ctypes.get_errno(), "seccomp was rejected")


def answer(run, repeats):
    """Runs `repeats` times for each line of the standard input."""
    print("ready", flush=True)
    for _ in sys.stdin:
        for _ in range(3):
            run()
        seconds = []
        for _ in range(repeats):
            start = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - start)
        print(statistics.median(seconds), flush=True)


def main(path, num_threads, repeats, delegate=None, options=None, tiles=True):
    """Answers for a file in LiteRT."""
    if not tiles:
        deny_tiles()
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter, load_delegate

    delegates = [load_delegate(delegate, options or {})] if delegate else None
    interpreter = Interpreter(
        path, num_threads=num_threads, experimental_delegates=delegates
    )
    interpreter.allocate_tensors()
    generator = np.random.default_rng(0)
    for detail in interpreter.get_input_details():
        x = 40 * generator.normal(size=detail["shape"])
        interpreter.set_tensor(detail["index"], x.astype(detail["dtype"]))
    answer(interpreter.invoke, repeats)


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
