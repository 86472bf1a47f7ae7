"""Benchmarks of `.tflite` files on an Android device, driven from this machine."""

import contextlib
import dataclasses
import datetime
import hashlib
import json
import pathlib
import shutil
import tempfile

from tfcompress.core.files import write_atomically
from tfcompress.measuring.android.adb import AdbError, Disconnected
from tfcompress.measuring.android.device import conditions, device_facts
from tfcompress.measuring.android.examples import Examples
from tfcompress.measuring.android.output import parse
from tfcompress.measuring.android.payload import LIBRARY, find_payload
from tfcompress.measuring.android.results import FORMAT, VERSION
from tfcompress.measuring.android.results import results as check_results

BACKENDS = ("xnnpack", "cpu")
_FOLDER = "/data/local/tmp/tfcompress-"
_PATIENCE = 60  # seconds longer than the runner may take until adb is given up
_ALARM = 14  # the signal that ends the runner after its timeout


@dataclasses.dataclass(frozen=True)
class Plan:
    """How each model is run.

    Attributes:
        backend: `"xnnpack"`, or `"cpu"` for TFLite's own kernels.
        num_threads: threads that kernels may use.
        warm_up: runs before the timed ones.
        runs: timed runs at least.
        seconds: of timed runs at least.
        timeout: seconds after which a model is given up.
    """

    backend: str = "xnnpack"
    num_threads: int = 1
    warm_up: int = 5
    runs: int = 50
    seconds: float = 0.5
    timeout: int = 600


class ResultFile:
    """A result file that grows with each model, in a folder of its own.

    It is called `unfinished.json` until all models are in it, and `result.json` then. What
    is unfinished is taken up again.
    """

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._unfinished = self.folder / "unfinished.json"
        self._document = None

    @property
    def document(self):
        """The content of the file."""
        return self._document

    def begin(self, document):
        """Starts, or goes on where the same was left unfinished.

        Raises:
            ValueError: if what is unfinished is something else.
        """
        self._document = document
        if not self._unfinished.exists():
            return
        try:
            earlier = json.loads(self._unfinished.read_text())
            check_results(earlier)
        except ValueError as error:
            raise ValueError(
                f"{self._unfinished} is not a result of this command ({error}). Delete it "
                "or name another folder with --results."
            ) from error
        differing = [key for key in ("device", "plan") if earlier[key] != document[key]]
        if differing:
            raise ValueError(
                f"{self._unfinished} has another {' and '.join(differing)}. Delete it to "
                "begin anew, or name another folder with --results."
            )
        self._document = earlier

    def measured(self, digest):
        """Whether the model with that hash was measured without an error."""
        return any(
            run["model"]["sha256"] == digest and run["error"] is None
            for run in self._document["runs"]
        )

    def add(self, run, runtime_version):
        """Keeps the results of one model.

        Raises:
            ValueError: if the others are of another TFLite.
        """
        runtime, runs = self._document["runtime"], self._document["runs"]
        if runtime_version and runtime["version"] not in ("", runtime_version):
            raise ValueError(
                f"{self._unfinished} has results of TFLite {runtime['version']}, and this "
                f"library is {runtime_version}. Name another folder with --results."
            )
        runtime["version"] = runtime_version or runtime["version"]
        digest = run["model"]["sha256"]
        runs[:] = [each for each in runs if each["model"]["sha256"] != digest]
        runs.append(run)
        self._write(self._unfinished)

    def finish(self, digests):
        """The path of the whole file.

        Args:
            digests: `{label: hash of the model}`, in the order of the runs.
        """
        runs = {run["model"]["sha256"]: run for run in self._document["runs"]}
        self._document["runs"] = [
            {**runs[digest], "model": {**runs[digest]["model"], "name": name}}
            for name, digest in digests.items()
        ]
        path = self._write(self.folder / "result.json")
        self._unfinished.unlink(missing_ok=True)
        return path

    def discard(self):
        """Removes the folder if nothing is in it."""
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def _write(self, path):
        return write_atomically(path, json.dumps(self._document, indent=1))


def benchmark_on_device(
    adb, models, native, library=None, plan=None, data=None, results=None, say=None
):
    """Runs models on a device, one after the other.

    Args:
        adb: an `Adb`.
        models: `{label: path of a .tflite file}`.
        native: folder that `build_native` wrote.
        library: TFLite's library for the device, or its archive (`.aar`).
        plan: a `Plan`.
        data: `(x, y)` to compute accuracy and agreement on, or None.
        results: folder for the result file; where one is unfinished in it, this goes on
            with the models that are missing. None stands for a temporary one.
        say: function that tells a person what happens.

    Returns:
        The result file's content, see `result.schema.json`.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if a file or data do not fit.
        AdbError: if the device does not do what it should.
    """
    plan, say = plan or Plan(), say or (lambda text: None)
    with contextlib.ExitStack() as stack:
        scratch = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        contents = {
            name: pathlib.Path(path).read_bytes() for name, path in models.items()
        }
        examples = {
            name: Examples(path, *data) if data else None
            for name, path in models.items()
        }
        facts = device_facts(adb)
        payload = find_payload(facts["abi"], native, library, scratch)
        kept = ResultFile(results or tempfile.mkdtemp(prefix="tfcompress-benchmark-"))
        kept.begin(_document(facts, plan, bool(data)))
        session = _Session(adb, payload, plan, scratch, _place(kept.folder))
        try:
            with session.opened(say):
                _run_all(session, kept, contents, examples, say)
        except AdbError as error:
            raise type(error)(
                f"{error} {_what_is_kept(error, kept, session)}"
            ) from error
        except KeyboardInterrupt as error:
            say(_what_is_kept(error, kept, session))
            raise
        path = kept.finish(
            {name: _digest(content) for name, content in contents.items()}
        )
    if results:
        say(f"results are in {path}")
    else:
        shutil.rmtree(kept.folder)
    return kept.document


def _run_all(session, kept, contents, examples, say):
    for number, (name, content) in enumerate(contents.items(), 1):
        digest = _digest(content)
        place = f"{number}/{len(contents)} {name}"
        if kept.measured(digest):
            say(f"{place}: measured before")
            continue
        say(f"{place}: running")
        run, version = session.run(content, examples[name])
        model = {"name": name, "sha256": digest, "size_bytes": len(content)}
        kept.add({**run, "model": model}, version)
        if run["error"]:
            say(f"{place}: {run['error']}")


class _Session:
    """A folder on the device, with all but the models in it."""

    def __init__(self, adb, payload, plan, scratch, folder):
        self.folder = folder
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
            # An error on the way here says more than one of this.
            with contextlib.suppress(AdbError):
                self._adb.checked(f"rm -rf {self.folder}")

    def run(self, content, examples):
        """`(run, version of TFLite)` of one model; its errors are in the run."""
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
        """What ended the runner, as far as its status tells: 128 and the signal."""
        if status == 128 + _ALARM:
            return (
                f"it took longer than {self._plan.timeout} seconds; give it more with "
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


def _document(facts, plan, has_data):
    now = datetime.datetime.now(datetime.UTC)
    plan = {
        "backend": plan.backend,
        "num_threads": plan.num_threads,
        "warm_up": plan.warm_up,
        "runs": plan.runs,
        "seconds": plan.seconds,
        "checks_accuracy": has_data,
    }
    return {
        "format": FORMAT,
        "version": VERSION,
        "started_at": now.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "device": facts,
        "runtime": {"name": "TFLite", "version": "", "runner": "shell"},
        "plan": plan,
        "runs": [],
    }


def _place(folder):
    """The folder on the device: the same whenever a result file is gone on with."""
    return _FOLDER + hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]


def _digest(content):
    return hashlib.sha256(content).hexdigest()


def _what_is_kept(error, kept, session):
    """What is left of the work after an error."""
    done = [run["model"]["name"] for run in kept.document["runs"]]
    left = (
        f"What was copied stays in {session.folder} until the next run. "
        if isinstance(error, Disconnected)
        else ""
    )
    if not done:
        kept.discard()
        return f"{left}No model was measured."
    return (
        f"{left}Measured are {', '.join(done)}. Repeat the command with --results "
        f"{kept.folder} to go on; what was measured is kept there."
    )
