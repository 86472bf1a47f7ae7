"""The result file of benchmarks on a device, from the first model to the last."""

import contextlib
import json
import pathlib

from tfcompress.core.files import write_atomically
from tfcompress.measuring.android.results import results


class ResultFile:
    """A result file that grows with each model, in a separate folder.

    It is called `unfinished.json` until all models are in it, then `result.json`. An
    unfinished file is continued.
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
        """Starts a result, or continues an unfinished one of the same command.

        Raises:
            ValueError: if the unfinished file is something else.
        """
        self._document = document
        if not self._unfinished.exists():
            return
        try:
            earlier = json.loads(self._unfinished.read_text())
            results(earlier)
        except ValueError as error:
            raise ValueError(
                f"{self._unfinished} is not a result of this command ({error}). Delete it "
                "or name another folder with --results."
            ) from error
        differing = [key for key in ("device", "plan") if earlier[key] != document[key]]
        if earlier["runtime"]["runner"] != document["runtime"]["runner"]:
            differing.append("runner")
        if differing:
            raise ValueError(
                f"{self._unfinished} has another {' and '.join(differing)}. Delete it to "
                "start again, or name another folder with --results."
            )
        self._document = earlier

    def measured(self, digest):
        """Whether the model with this hash was measured without an error."""
        return any(
            run["model"]["sha256"] == digest and run["error"] is None
            for run in self._document["runs"]
        )

    def add(self, run, runtime_version):
        """Stores the results of one model.

        Raises:
            ValueError: if the other results are from another version of TFLite.
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
        """Completes the file and returns its path.

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
        """Removes the folder if it is empty."""
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def _write(self, path):
        return write_atomically(path, json.dumps(self._document, indent=1))
