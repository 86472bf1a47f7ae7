"""Compares `delegate/tflite.h` with TFLite's own header: sizes, offsets, numbers.

Needs a C compiler and, the first time, Maven Central.
"""

import hashlib
import io
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile

_ARCHIVE = (
    "https://repo1.maven.org/maven2/org/tensorflow/tensorflow-lite/2.16.1/"
    "tensorflow-lite-2.16.1.aar"
)
_SHA256 = "34b065817e294e7dd3569504e8b9454938ceae453b6a459da54d5f6e45d3c94e"
_HERE = pathlib.Path(__file__).parent
_OURS = _HERE.parents[1] / "tfcompress" / "native" / "delegate" / "tflite.h"
_CACHE = _HERE.parents[1] / "build" / "tensorflow-lite-2.16.1.aar"
_OFFICIAL = "tensorflow/lite/core/c/common.h"
_NUMBERS = "tensorflow/lite/builtin_ops.h"


def main():
    """Ends with an error if anything differs."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        with zipfile.ZipFile(io.BytesIO(archive())) as opened:
            opened.extractall(folder)
        both = folder / "both.h"
        both.write_text(f'#include "{_OFFICIAL}"\n#include "{_NUMBERS}"\n')
        official = _layout(both, folder, folder / "headers")
        ours = _layout(_OURS, folder)
    differences = sorted(set(official) ^ set(ours))
    if differences:
        sys.exit(
            "delegate/tflite.h differs from the official header:\n" + str(differences)
        )
    print(
        f"delegate/tflite.h: {len(ours)} sizes, offsets and numbers are the official ones"
    )


def archive():
    """The content of TFLite's archive for Android, downloaded once."""
    if not _CACHE.exists():
        content = _downloaded()
        _CACHE.parent.mkdir(exist_ok=True)
        _CACHE.write_bytes(content)
    content = _CACHE.read_bytes()
    if hashlib.sha256(content).hexdigest() != _SHA256:
        sys.exit(f"{_CACHE} is not the archive that was expected; delete it.")
    return content


def _downloaded():
    """The archive; servers are sometimes slow."""
    for pause in (5, 20, 60, None):
        try:
            with urllib.request.urlopen(_ARCHIVE, timeout=60) as response:
                return response.read()
        except OSError:
            if pause is None:
                raise
            time.sleep(pause)


def _layout(header, folder, include=_HERE):
    program = folder / "layout"
    subprocess.run(
        [
            "cc",
            f'-DTFLITE_HEADER="{header}"',
            f"-I{include}",
            str(_HERE / "layout.c"),
            "-o",
            str(program),
        ],
        check=True,
    )
    run = subprocess.run([program], check=True, capture_output=True, text=True)
    return run.stdout.splitlines()


if __name__ == "__main__":
    main()
