"""Benchmarks of `.tflite` files on an Android device, controlled from this machine."""

import contextlib
import datetime
import hashlib
import pathlib
import shutil
import tempfile

from tfcompress.measuring.android.adb import AdbError, Disconnected
from tfcompress.measuring.android.app_runner import AppRunner
from tfcompress.measuring.android.device import device_facts
from tfcompress.measuring.android.examples import Examples
from tfcompress.measuring.android.payload import find_payload
from tfcompress.measuring.android.plan import Plan
from tfcompress.measuring.android.result_file import ResultFile
from tfcompress.measuring.android.results import FORMAT, VERSION
from tfcompress.measuring.android.shell_runner import ShellRunner


def benchmark_on_device(
    adb,
    models,
    native=None,
    library=None,
    runner="shell",
    plan=None,
    data=None,
    results=None,
    say=None,
):
    """Runs models on a device, one after another.

    Args:
        adb: an `Adb`.
        models: `{label: path of a .tflite file}`.
        native: folder written by `build_native`, for the runner `"shell"`.
        library: TFLite's library for the device, or its archive (`.aar`), for the runner
            `"shell"`.
        runner: `"shell"`, or `"app"`, which has to be installed.
        plan: a `Plan`.
        data: `(x, y)` for accuracy and agreement, or None.
        results: folder for the result file; if it holds an unfinished one, only the
            missing models are run. None for a temporary folder.
        say: function that reports progress to a person.

    Returns:
        The content of the result file, see `result.schema.json`.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if a file or data is unsuitable.
        AdbError: if the device fails.
    """
    plan, say = plan or Plan(), say or (lambda text: None)
    contents = {name: pathlib.Path(path).read_bytes() for name, path in models.items()}
    examples = {
        name: Examples(path, *data) if data else None for name, path in models.items()
    }
    facts = device_facts(adb)
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        if runner == "shell":
            payload = find_payload(facts["abi"], native, library, scratch)
        kept = ResultFile(results or tempfile.mkdtemp(prefix="tfcompress-benchmark-"))
        kept.begin(_document(facts, runner, plan, bool(data)))
        place = (adb, plan, _folder_name(kept.folder), scratch)
        chosen = (
            ShellRunner(*place, payload) if runner == "shell" else AppRunner(*place)
        )
        with _keeping(kept, chosen, say), chosen.opened(say):
            _run_all(chosen, kept, contents, examples, say)
    path = kept.finish({name: _digest(content) for name, content in contents.items()})
    if results:
        say(f"results are in {path}")
    else:
        shutil.rmtree(kept.folder)
    return kept.document


def _run_all(runner, kept, contents, examples, say):
    for number, (name, content) in enumerate(contents.items(), 1):
        digest = _digest(content)
        place = f"{number}/{len(contents)} {name}"
        if kept.measured(digest):
            say(f"{place}: measured before")
            continue
        say(f"{place}: running")
        run, version = runner.run(name, content, examples[name])
        model = {"name": name, "sha256": digest, "size_bytes": len(content)}
        kept.add({**run, "model": model}, version)
        if run["error"]:
            say(f"{place}: {run['error']}")


@contextlib.contextmanager
def _keeping(kept, runner, say):
    """Adds to an error what has been kept."""
    try:
        yield
    except AdbError as error:
        left = (
            f"Copied files stay in {runner.folder} until the next run. "
            if isinstance(error, Disconnected)
            else ""
        )
        raise type(error)(f"{error} {left}{_measured(kept)}") from error
    except KeyboardInterrupt:
        say(_measured(kept))
        raise


def _measured(kept):
    done = [run["model"]["name"] for run in kept.document["runs"]]
    if not done:
        kept.discard()
        return "No model was measured."
    return (
        f"Already measured: {', '.join(done)}. Repeat the command with --results "
        f"{kept.folder} to continue; finished results are kept there."
    )


def _document(facts, runner, plan, has_data):
    now = datetime.datetime.now(datetime.UTC)
    return {
        "format": FORMAT,
        "version": VERSION,
        "started_at": now.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "device": facts,
        "runtime": {"name": "TFLite", "version": "", "runner": runner},
        "plan": plan.to_dict(has_data),
        "runs": [],
    }


def _folder_name(folder):
    """Name of the folder on the device: the same if a result file is continued."""
    return (
        f"tfcompress-{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]}"
    )


def _digest(content):
    return hashlib.sha256(content).hexdigest()
