"""What was measured on this machine, and where it is kept."""

import importlib.metadata
import os
import pathlib
import platform
import re


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
