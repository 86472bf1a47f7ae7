"""Progress of a command, shown on stderr."""

import sys
import time

import keras
import rich.console
import rich.progress


class Narrator:
    """Prints what happens, with the seconds since the start."""

    def __init__(self):
        self._start = time.perf_counter()

    def __call__(self, text):
        """Prints one line."""
        seconds = time.perf_counter() - self._start
        print(f"[{seconds:5.1f} s] {text}", file=sys.stderr, flush=True)


class TrainingBar(keras.callbacks.Callback):
    """A progress bar over the epochs of a training, shown only in a terminal."""

    def on_train_begin(self, logs=None):
        """Shows the bar."""
        console = rich.console.Console(stderr=True)
        self._progress = rich.progress.Progress(
            rich.progress.BarColumn(),
            rich.progress.TextColumn("epoch {task.completed}/{task.total}"),
            rich.progress.TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._progress.start()
        self._task = self._progress.add_task("", total=self.params["epochs"])

    def on_epoch_end(self, epoch, logs=None):
        """Moves the bar."""
        self._progress.advance(self._task)

    def on_train_end(self, logs=None):
        """Removes the bar."""
        self._progress.stop()
