"""Tasks for a `Child`; without TensorFlow, so that it starts at once."""

import os


def note(path, text):
    """Writes who it is."""
    print("no answer")
    with open(path, "a") as file:
        file.write(f"{text} {os.getpid()}\n")


def fail(text):
    raise ValueError(f"first line\n{text}")


def end(number):
    os.kill(os.getpid(), number)
