"""Runs unchanged programs for Android on this machine, with an emulator and a shim."""

import io
import os
import pathlib
import subprocess
import zipfile

import build_native
import check_layout
import emulator
import shim

OUTPUT = build_native.PROJECT / "build/android"
BUILT = ("runner", "run_cascade", "libtfcompress.so")
COMPILERS = {
    "arm64-v8a": (emulator.ZIG, "cc", "-target", "aarch64-linux-gnu.2.28"),
    "x86_64": ("cc",),
}


class Machine:
    """Runs programs for an ABI, unchanged, with TFLite's own Android library.

    Attributes:
        library: TFLite's library.
        built: the folder with the programs and the delegate.
        shim: the folder with libraries that replace Android's.
    """

    def __init__(self, abi):
        self.abi = abi
        self.library = OUTPUT / "tflite" / abi / "libtensorflowlite_jni.so"
        self.built = OUTPUT / abi
        self.shim = OUTPUT / "shim" / abi
        self._prepare()

    def _prepare(self):
        emulator.prepare()
        build_native.build(self.abi, OUTPUT, emulator.ZIG.parent)
        self.library.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(io.BytesIO(check_layout.archive())) as archive:
            inside = f"jni/{self.abi}/{self.library.name}"
            self.library.write_bytes(archive.read(inside))
        files = [
            self.library,
            *(self.built / name for name in BUILT),
        ]
        shim.make(self.shim, files, COMPILERS[self.abi])

    def run(self, *options, cpu="cortex-a76"):
        """The finished process of the runner."""
        delegate = ("--delegate", self.built / "libtfcompress.so")
        words = ("--library", self.library, *delegate, *options)
        return self.execute("runner", *words, cpu=cpu)

    def execute(self, program, *words, cpu="cortex-a76"):
        """The finished process of one of the built programs."""
        program = [self.built / program, *words]
        if self.abi == "x86_64":
            loader = pathlib.Path("/lib64/ld-linux-x86-64.so.2")
            command = [loader, "--library-path", self.shim, *program]
            environment = None
        else:
            root = emulator.ROOT
            # The path where programs for Android expect their loader.
            loader = root / "system/bin/linker64"
            loader.parent.mkdir(parents=True, exist_ok=True)
            if not loader.exists():
                loader.symlink_to("../../lib/ld-linux-aarch64.so.1")
            libraries = f"{self.shim}:{root}/lib/aarch64-linux-gnu"
            command = [
                *(root / "usr/bin/qemu-aarch64", "-L", root, "-cpu", cpu),
                *("-E", f"LD_LIBRARY_PATH={libraries}", *program),
            ]
            own = root / "usr/lib" / f"{os.uname().machine}-linux-gnu"
            environment = emulator.environment(LD_LIBRARY_PATH=str(own))
        words = list(map(str, command))
        return subprocess.run(words, env=environment, capture_output=True, text=True)
