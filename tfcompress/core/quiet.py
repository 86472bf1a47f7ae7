"""Native libraries print to the terminal; only what matters is let through."""

import contextlib
import fcntl
import logging
import os
import re
import sys
import tempfile
import threading

_NOTES = re.compile(
    rb"I0000 |INFO: |To enable the following instructions:"
    rb"|WARNING: All log messages before absl::InitializeLog\(\)"
)
# What the converter and the runtime print about rejected models is raised as well.
_WARNINGS = re.compile(
    _NOTES.pattern + rb"|[WE]0000 |WARNING: |WARNING:absl:|ERROR: |fully_quantize: "
    rb"|loc\(|error: |note: |<unknown>:|\S+:\d+:\d+: (error|note): "
    rb"|Some ops are not supported|(Custom|Flex|TF Select) ops: |Details:|\ttf\."
    rb"|See instructions: |\n"
)
_STDERR = 2


@contextlib.contextmanager
def native_notes_dropped(with_warnings=False):
    """Drops informational lines that native code prints inside the context.

    Meanwhile standard error is redirected to a file, for all threads, and what is not
    dropped appears when the context ends. Lines are recognized by their beginning.
    Contexts may be nested and may overlap in several threads: they share one file, and
    standard error is restored when the last one ends. In a forked child it is restored
    at once; a program that another thread starts meanwhile keeps writing to the file,
    since a new process inherits the descriptors of its parent.

    Args:
        with_warnings: whether native warnings and errors are dropped too.
    """
    _flush()
    detour = _enter(with_warnings)
    try:
        yield
    finally:
        _flush()
        _leave(detour, with_warnings)


@contextlib.contextmanager
def tensorflow_notes_dropped():
    """Drops what TensorFlow's Python code logs as information inside the context.

    Nothing of it appears in programs, but in notebooks and at Python's prompt.
    """
    logger = logging.getLogger("tensorflow")

    def passes(record):
        return record.levelno > logging.INFO

    logger.addFilter(passes)
    try:
        yield
    finally:
        logger.removeFilter(passes)


def _flush():
    # None without a terminal; programs may also have closed it.
    with contextlib.suppress(AttributeError, OSError, ValueError):
        sys.stderr.flush()


class _Detour:
    """Standard error, redirected to a file.

    Attributes:
        users: `with_warnings` of each open context.
    """

    def __init__(self):
        self.users = []
        self._passed = 0
        with tempfile.TemporaryFile() as file, contextlib.ExitStack() as undo:
            # Not 0 to 2, even if free: others still take those for the standard
            # streams.
            self._file = fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, 3)
            undo.callback(os.close, self._file)
            self._kept = fcntl.fcntl(_STDERR, fcntl.F_DUPFD_CLOEXEC, 3)
            undo.pop_all()
        os.dup2(self._file, _STDERR)

    def end(self):
        """Restores standard error."""
        os.dup2(self._kept, _STDERR)

    def pass_on(self, dropped, is_last):
        """Prints the lines so far that do not match; an incomplete line has to wait."""
        # Reading must not move the position at which others write.
        size = os.fstat(self._file).st_size - self._passed
        output = os.pread(self._file, size, self._passed)
        if not is_last:
            output = output[: output.rfind(b"\n") + 1]
        self._passed += len(output)
        lines = output.splitlines(keepends=True)
        # The reading end may be closed by now.
        with (
            contextlib.suppress(OSError),
            open(self._kept, "wb", closefd=False) as file,
        ):
            file.writelines(line for line in lines if not dropped.match(line))

    def close(self):
        """Closes the file."""
        os.close(self._kept)
        os.close(self._file)


_lock = threading.RLock()
_detour = None


def _enter(with_warnings):
    """The detour, started if necessary; None if there is no standard error."""
    global _detour
    with _lock:
        # If Python started without it, its descriptor may belong to any file by now.
        if _detour is None and sys.__stderr__ is not None:
            # It may have been closed since, or the disk may be full.
            with contextlib.suppress(OSError):
                _detour = _Detour()
        if _detour is not None:
            _detour.users.append(with_warnings)
        return _detour


def _leave(detour, with_warnings):
    global _detour
    with _lock:
        # A forked child has left the context already.
        if detour is None or detour is not _detour:
            return
        dropped = _WARNINGS if any(detour.users) else _NOTES
        detour.users.remove(with_warnings)
        if detour.users:
            detour.pass_on(dropped, is_last=False)
            return
        detour.end()
        _detour = None
        detour.pass_on(dropped, is_last=True)
        detour.close()


def _end_in_child():
    global _detour
    if _detour is not None:
        _detour.end()
        _detour = None
    _lock.release()


os.register_at_fork(
    before=_lock.acquire,
    after_in_parent=_lock.release,
    after_in_child=_end_in_child,
)
