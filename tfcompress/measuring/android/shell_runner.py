"""Runs models with a program that `adb shell` starts."""

import contextlib

from tfcompress.measuring.android.adb import AdbError
from tfcompress.measuring.android.device import conditions
from tfcompress.measuring.android.output import parse
from tfcompress.measuring.android.payload import LIBRARY

BACKENDS = ("xnnpack", "cpu")
_PATIENCE = 60  # seconds beyond the runner's timeout until adb is aborted
_ALARM = 14  # the signal that ends the runner after its timeout


class ShellRunner:
    """The program `android_demo/native/runner.c`, in a folder that the shell may use.

    Args:
        adb: an `Adb`.
        plan: a `Plan`.
        name: name of a folder on the device.
        scratch: folder on this machine.
        payload: the files to copy, a `Payload`.
    """

    def __init__(self, adb, plan, name, scratch, payload):
        self.folder = f"/data/local/tmp/{name}"
        self._adb, self._payload, self._plan = adb, payload, plan
        self._scratch = scratch

    @contextlib.contextmanager
    def opened(self, say):
        """Fills the folder, and removes it whatever happens."""
        files = {
            "runner": self._payload.runner,
            "libtfcompress.so": self._payload.delegate,
            LIBRARY: self._payload.library,
        }
        size = sum(path.stat().st_size for path in files.values())
        say(f"copying {size / 1e6:.1f} MB to {self._adb.serial}")
        try:
            self._adb.checked(f"rm -rf {self.folder} && mkdir {self.folder}")
            for name, path in files.items():
                self._adb.push(path, f"{self.folder}/{name}")
            self._adb.checked(f"chmod 755 {self.folder}/runner")
            yield
        finally:
            # An earlier error is more informative than one of this command.
            with contextlib.suppress(AdbError):
                self._adb.checked(f"rm -rf {self.folder}")

    def run(self, name, content, examples):
        """`(run, version of TFLite)` of one model.

        Args:
            name: name of the model.
            content: bytes of the file.
            examples: `Examples` or None.

        Returns:
            A run as in `result.schema.json` without the model, with its error if there is
            one; and the version, or None if it is unknown.

        Raises:
            AdbError: if something failed for a reason other than the model.
        """
        self._push("model.tflite", content)
        if examples:
            self._push("inputs", examples.content)
        before = conditions(self._adb, 0)
        status, output = self._adb.shell(
            self._command(bool(examples)), self._plan.timeout + _PATIENCE
        )
        run, version = self._understood(status, output, len(content))
        duration = sum(run.get("warm_up_ms", ())) + sum(run["samples_ms"])
        duration += run.get("init_ms") or 0
        run["conditions"] = [before, conditions(self._adb, duration)]
        if examples and run["error"] is None:
            self._score(run, examples)
        return run, version

    def _push(self, name, content):
        path = self._scratch / name
        path.write_bytes(content)
        self._adb.push(path, f"{self.folder}/{name}")
        path.unlink()

    def _command(self, has_examples):
        plan, folder = self._plan, self.folder
        options = {
            "library": f"{folder}/{LIBRARY}",
            "delegate": f"{folder}/libtfcompress.so",
            "model": f"{folder}/model.tflite",
            "backend": plan.backend,
            "threads": plan.num_threads,
            "warm-up": plan.warm_up,
            "runs": plan.runs,
            "seconds": plan.seconds,
            "timeout": plan.timeout,
        }
        if has_examples:
            options |= {"input": f"{folder}/inputs", "output": f"{folder}/outputs"}
        words = " ".join(f"--{name} {value}" for name, value in options.items())
        return f"cd {folder} && ./runner {words}"

    def _understood(self, status, output, size_bytes):
        try:
            run = parse(output)
        except ValueError as error:
            failed = {"samples_ms": [], "error": self._why(status, error)}
            return failed, None
        found = run.pop("model")["size_bytes"]
        if run["error"] is None and found != size_bytes:
            run["error"] = f"the device has {found:,} of its {size_bytes:,} bytes"
        return run, run.pop("runtime_version")

    def _why(self, status, error):
        """What ended the runner, according to its status: 128 plus the signal."""
        if status == 128 + _ALARM:
            return (
                f"it took longer than {self._plan.timeout} seconds; allow more with "
                "--timeout"
            )
        return f"the runner ended with status {status}: {error}"

    def _score(self, run, examples):
        path = self._scratch / "outputs"
        self._adb.pull(f"{self.folder}/outputs", path)
        try:
            run.update(examples.results(path.read_bytes()))
        except ValueError as error:
            run["error"] = str(error)
