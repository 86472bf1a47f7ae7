"""Runs models in the app, which is controlled by files and an intent."""

import contextlib
import hashlib
import json
import time

import numpy as np

from tfcompress.measuring.android.adb import AdbError
from tfcompress.measuring.android.results import results

BACKENDS = ("xnnpack", "cpu", "nnapi", "gpu")
PACKAGE = "org.tfcompress.benchmark"
_PAUSE = 1  # seconds between two checks of its progress
_START = 15  # seconds until the app has to be running


class AppRunner:
    """The app of `android_demo/app`, used through its folder that the shell may access.

    The folder gets `manifest.json`, the model and data; the app writes `result.json` and
    then `done`, with the hash of `result.json` or an error.

    Args:
        adb: an `Adb`.
        plan: a `Plan`.
        name: name of a folder on the device.
        scratch: folder on this machine.
    """

    def __init__(self, adb, plan, name, scratch):
        self.folder = f"/sdcard/Android/data/{PACKAGE}/files/{name}"
        self._adb, self._plan, self._name, self._scratch = adb, plan, name, scratch

    @contextlib.contextmanager
    def opened(self, say):
        """Creates the folder, and removes it whatever happens."""
        _, output = self._adb.shell(f"pm path {PACKAGE}")
        if "package:" not in output:
            raise AdbError(
                f"The app {PACKAGE} is not installed on {self._adb.serial}. Build and "
                "install it as described in android_demo/README.md, or use --runner shell."
            )
        try:
            self._adb.checked(f"rm -rf {self.folder} && mkdir -p {self.folder}")
            say(f"the app on {self._adb.serial} runs the models: keep its screen on")
            yield
        finally:
            # An earlier error is more informative than one of this command.
            with contextlib.suppress(AdbError):
                self._adb.checked(f"rm -rf {self.folder}")

    def run(self, name, content, examples):
        """`(run, version of TFLite)` of one model, as returned by `ShellRunner.run`."""
        self._push_all(name, content, examples)
        self._start(bool(examples))
        error = self._wait()
        if error:
            return {"samples_ms": [], "error": error}, None
        document = self._result()
        (run,) = document["runs"]
        return run, document["runtime"]["version"]

    def _push_all(self, name, content, examples):
        model = {"name": name, **self._push("model.tflite", content)}
        model |= {"inputs": [], "outputs": [], "labels": []}
        if examples:
            arrays = {"x": examples.x.astype("<f4")}
            if examples.labels is not None:
                arrays["y"] = examples.labels.astype("<i4")
            expected = examples.expected[0].astype("<f4")
            model["data"] = self._push_arrays("data.npz", arrays)
            model["reference"] = self._push_arrays(
                "reference.npz", {"outputs": expected}
            )
        manifest = {"format": "tfcompress-models", "version": 1, "models": [model]}
        self._push("manifest.json", json.dumps(manifest).encode())
        self._adb.checked(f"cd {self.folder} && rm -f done result.json progress.json")

    def _push_arrays(self, name, arrays):
        path = self._scratch / "arrays.npz"
        np.savez(path, **arrays)
        return self._push(name, path.read_bytes())

    def _push(self, name, content):
        """Copies a file, and returns its entry for the manifest."""
        path = self._scratch / name
        path.write_bytes(content)
        self._adb.push(path, f"{self.folder}/{name}")
        path.unlink()
        digest = hashlib.sha256(content).hexdigest()
        return {"file": name, "sha256": digest, "size_bytes": len(content)}

    def _start(self, checks_accuracy):
        plan = json.dumps(self._plan.to_dict(checks_accuracy))
        output = self._adb.checked(
            f"am start -n {PACKAGE}/.RunActivity --es folder {self._name} "
            f"--es plan '{plan}'"
        )
        if "Error" in output:
            raise AdbError(
                f"The app does not start: {' '.join(output.split())}. Install the app from "
                "this release again."
            )

    def _wait(self):
        """Waits for the end; returns the error of the model, or None for a result."""
        start = time.monotonic()
        while True:
            status, text = self._adb.shell(f"cat {self.folder}/done 2> /dev/null")
            if not status:
                return json.loads(text)["error"]
            passed = time.monotonic() - start
            if passed > self._plan.timeout:
                self._adb.shell(f"am force-stop {PACKAGE}")
                return (
                    f"it took longer than {self._plan.timeout} seconds; unlock the device, "
                    "or allow more with --timeout"
                )
            # It may have ended between two checks.
            is_gone = passed > _START and self._adb.shell(f"pidof {PACKAGE}")[0]
            if is_gone and self._adb.shell(f"ls {self.folder}/done")[0]:
                return (
                    "the app ended without a result; 'adb logcat -d -b crash' shows why"
                )
            time.sleep(_PAUSE)

    def _result(self):
        """The result file, checked to be what the app has written."""
        end = json.loads(self._adb.checked(f"cat {self.folder}/done"))
        path = self._scratch / "result.json"
        self._adb.pull(f"{self.folder}/result.json", path)
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != end["sha256"]:
            raise AdbError(
                f"The result arrived with {len(content):,} bytes and differs from the "
                f"{end['size_bytes']:,} bytes that the app wrote. Repeat the command."
            )
        document = json.loads(content)
        results(document)
        return document
