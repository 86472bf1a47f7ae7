"""Runs the native core on emulated arm64: all that it computes must be what it computes
on this machine, bit for bit.
"""

import pathlib
import pickle
import shutil
import subprocess
import sys

import emulator
import guest
import models
import numpy as np
import operations

from android_demo.tools import build_native
from tfcompress import native


def write_cases(folder):
    """Operations and models, with what this machine computes."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    file = folder / "operations.pickle"
    file.write_bytes(pickle.dumps(operations.record()))
    for write in models.MODELS:
        path = folder / f"{write.__name__}.tflite"
        write(path)
        x = np.random.default_rng(0).integers(-128, 128, (1, 32, 32, 3), "i1")
        outputs = guest.model_outputs(path, native.library_path(), x)
        arrays = {f"y{i}": output for i, output in enumerate(outputs)}
        np.savez(path.with_suffix(".npz"), x=x, **arrays)


def main():
    emulator.prepare()
    library = emulator.build()
    tools = emulator.ZIG.parent
    build_native.build("arm64-v8a", emulator.FOLDER / "android", tools, ["tfcompress"])
    folder = emulator.FOLDER / "cases"
    write_cases(folder)
    script = pathlib.Path(guest.__file__)
    failed = False
    for cpu in emulator.CPUS:
        python = emulator.ROOT / "usr/bin/python3.11"
        try:
            print(cpu, emulator.run(cpu, python, script, library, folder), flush=True)
        except subprocess.CalledProcessError as error:
            failed = True
            print(cpu, error.stdout)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
