"""A separate process for tasks that may end it, started once for many of them."""

import importlib
import json
import os
import signal
import subprocess
import sys
import threading


class Child:
    """Calls a function in a process of its own, one task after another.

    The process starts with the first task, and again after a task that ended it. It leaves
    with this process, or once it had nothing to do for a while, since TensorFlow takes
    500 MB there.

    Args:
        function: a function that its module has by name.
        patience: whole seconds that the process waits for a task.
    """

    def __init__(self, function, patience=60):
        self._task = [function.__module__, function.__name__, str(patience)]
        self._lock = threading.Lock()
        self._process = None
        os.register_at_fork(after_in_child=self._forget)

    def run(self, *task):
        """Calls the function.

        Args:
            *task: arguments that JSON can hold.

        Raises:
            RuntimeError: if the function raised; has the last line of its error.
            ChildProcessError: if the process ended; has the signal's name.
        """
        with self._lock:
            answer = self._answer(task)
            if not answer and self._process.wait() == -signal.SIGALRM:
                # It left just as the task came.
                answer = self._answer(task)
            if not answer:
                raise ChildProcessError(_name(self._process.wait()))
        if error := json.loads(answer):
            raise RuntimeError(error)

    def _answer(self, task):
        """A line of JSON; empty if the process ended."""
        if self._process is None or self._process.poll() is not None:
            self._start()
        try:
            self._process.stdin.write(json.dumps(task).encode() + b"\n")
            return self._process.stdout.readline()
        except BrokenPipeError:
            return b""
        except BaseException:
            # The next task must not get the answer of one that was interrupted.
            self._process.kill()
            self._process.wait()
            raise

    def _start(self):
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__, *self._task],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )

    def _forget(self):
        """Leaves the process to the one that this one is a fork of."""
        self._lock = threading.Lock()
        self._process = None


def _name(code):
    return signal.Signals(-code).name if code < 0 else f"code {code}"


def _serve(module, name, patience):
    """Calls the function for each task that the parent writes, until it goes away."""
    answers = os.fdopen(os.dup(1), "w")
    # What native code prints is no answer.
    os.dup2(2, 1)
    while task := _next_task(int(patience)):
        error = None
        try:
            function = getattr(importlib.import_module(module), name)
            function(*json.loads(task))
        except Exception as e:
            error = f"{type(e).__name__}: {e}".splitlines()[-1]
        print(json.dumps(error), file=answers, flush=True)


def _next_task(patience):
    signal.alarm(patience)
    task = sys.stdin.readline()
    signal.alarm(0)
    return task


if __name__ == "__main__":
    _serve(*sys.argv[1:])
