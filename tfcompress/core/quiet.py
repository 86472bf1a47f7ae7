"""Native libraries print to the terminal; only what matters may pass."""

import contextlib
import os
import sys
import tempfile

_NOTES = (
    "I0000",
    "INFO:",
    "To enable the following instructions:",
    "WARNING: All log messages before absl::InitializeLog()",
)


@contextlib.contextmanager
def native_notes_dropped(drop_all=False):
    """Drops informational lines that native code prints inside the context.

    Args:
        drop_all: whether everything on standard output and error is dropped. Otherwise
            only notes on standard error are, and all else appears when the context
            ends.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    descriptors = (1, 2) if drop_all else (2,)
    saved = [os.dup(descriptor) for descriptor in descriptors]
    with tempfile.TemporaryFile() as file:
        try:
            for descriptor in descriptors:
                os.dup2(file.fileno(), descriptor)
            yield
        finally:
            sys.stderr.flush()
            for descriptor, copy in zip(descriptors, saved, strict=True):
                os.dup2(copy, descriptor)
                os.close(copy)
            if not drop_all:
                file.seek(0)
                _pass_on(file.read())


def _pass_on(output):
    lines = output.decode(errors="replace").splitlines(keepends=True)
    kept = "".join(line for line in lines if not line.startswith(_NOTES))
    if kept:
        os.write(2, kept.encode())
