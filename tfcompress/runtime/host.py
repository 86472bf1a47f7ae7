"""What was measured on this machine, and where it is kept."""

import contextlib
import importlib.metadata
import json
import os
import pathlib
import platform
import re

from tfcompress.core.files import write_atomically


def cpu_name():
    """The processor's name, as reported by the system."""
    try:
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def here(num_threads=1):
    """`{what: value}` of everything that times depend on besides the file."""
    return {
        "processor": cpu_name(),
        "runtime": f"ai-edge-litert {importlib.metadata.version('ai-edge-litert')}",
        "num_threads": num_threads,
    }


def cached_path(what, made_on):
    """Where a table of this processor and runtime is kept.

    That is `tfcompress` in the user's cache folder (`XDG_CACHE_HOME` or `~/.cache`),
    which is made if it is missing.

    Args:
        what: what the table contains, first word of the file's name.
        made_on: `here()`.

    Raises:
        OSError: if the folder cannot be made.
    """
    root = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    folder = pathlib.Path(root) / "tfcompress"
    folder.mkdir(parents=True, exist_ok=True)
    name = re.sub("[^0-9A-Za-z.]+", "_", " ".join(map(str, made_on.values())))
    return folder / f"{what}_{name}.json"


def measured_once(what, measure, read):
    """What was measured on this machine before, or is measured and kept now.

    If the user's cache folder cannot be written, each process measures anew. A damaged
    file there is replaced.

    Args:
        what: as for `cached_path`.
        measure: a function that returns something that JSON can hold.
        read: a function of that, which returns the result; raises a `ValueError`,
            `TypeError` or `KeyError` if it is something else.
    """
    try:
        path = cached_path(what, here())
    except OSError:
        return read(measure())
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        return read(json.loads(path.read_text()))
    found = measure()
    # The folder may be there and accept no files.
    with contextlib.suppress(OSError, ValueError):
        write_atomically(path, json.dumps(found, indent=1))
    return read(found)
