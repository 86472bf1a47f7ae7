"""Rounds in a folder, each complete or absent, so that a run can resume after a kill."""

import hashlib
import json
import pathlib
import zipfile

import numpy as np
from keras.saving import serialize_keras_object

from tfcompress.core.errors import shown
from tfcompress.core.files import replacing, write_atomically

_ARGUMENTS, _LOG, _INITIAL = "arguments.json", "log.json", "initial.keras"


class Folder:
    """The saved state of a run.

    `arguments.json` describes the run, `initial.keras` contains the initial model, and
    `round_00.npz` and so on contain one round each: values, masks and log. `log.json`
    is the readable log of all rounds.

    Args:
        path: path of the folder, which is created if it does not exist.
        arguments: dictionary of numbers, strings, lists, dictionaries and plug-ins; the
            folder of a run with other arguments is rejected.
        model: the initial model of the run.

    Raises:
        ValueError: if it is a file, or belongs to another run; names the argument.
    """

    def __init__(self, path, arguments, model):
        self.path = pathlib.Path(path)
        self._check_is_folder()
        self.path.mkdir(parents=True, exist_ok=True)
        # As they are read from the file, where tuples are lists.
        arguments = json.loads(json.dumps(arguments, default=serialize_keras_object))
        self._run = hashlib.sha256(json.dumps(arguments).encode()).hexdigest()
        file = self.path / _ARGUMENTS
        if file.exists():
            self._check_same(file, arguments)
            return
        with replacing(self.path / _INITIAL) as temporary:
            model.save(temporary)
        write_atomically(file, json.dumps(arguments, indent=2))

    def logs(self):
        """The logs of the existing rounds, in order."""
        found = []
        while (file := self._file(len(found))).exists():
            found.append(self._read(file, ["log"])["log"])
        return found

    def load(self, number):
        """A round as it was passed to `save`."""
        return self._read(self._file(number))

    def save(self, number, part, log):
        """Writes a round, then the log of all rounds.

        Args:
            number: number of the round.
            part: `{name: array or {path: array}}`.
            log: list of dictionaries, one for each round.
        """
        arrays = dict(_flat(part))
        arrays["run"], arrays["log"] = self._run, json.dumps(log[-1])
        with replacing(self._file(number)) as temporary:
            np.savez(temporary, **arrays)
        write_atomically(self.path / _LOG, json.dumps(log, indent=2))

    def _file(self, number):
        return self.path / f"round_{number:02}.npz"

    def _read(self, file, names=None):
        try:
            with np.load(file, allow_pickle=False) as stored:
                names = stored.files if names is None else ["run", *names]
                arrays = {name: stored[name] for name in names}
            run = str(arrays.pop("run"))
            log = json.loads(str(arrays.pop("log")))
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"{str(file)!r} is damaged ({error}). Delete it and those of later rounds "
                "to resume from the round before."
            ) from error
        if run != self._run:
            raise ValueError(
                f"{str(file)!r} belongs to another run. Delete it, or name another folder."
            )
        return _nested(arrays) | {"log": log}

    def _check_is_folder(self):
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(
                f"find_ticket(folder): {str(self.path)!r} is a file, expected a folder, "
                "or a path where one can be created."
            )

    def _check_same(self, file, arguments):
        try:
            stored = json.loads(file.read_text())
            names = stored.keys() | arguments.keys()
        except (ValueError, AttributeError) as error:
            raise ValueError(
                f"{str(file)!r} is damaged ({error}). Name another folder."
            ) from error
        for name in sorted(names):
            old, new = stored.get(name), arguments.get(name)
            if old == new:
                continue
            hint = "Name another folder, or delete this one."
            if name == "initial":
                hint = (
                    "Seed before you build the model (keras.utils.set_random_seed), or "
                    f"load its initial weights: model.load_weights({_INITIAL!r} of "
                    "that folder)."
                )
            raise ValueError(
                f"find_ticket(folder): {str(self.path)!r} contains a run with "
                f"{name}={shown(old)}, but this one has {name}={shown(new)}. {hint}"
            )


def digest(values):
    """A short string that identifies `{path: array}`."""
    total = hashlib.sha256()
    for path, array in sorted(values.items()):
        total.update(path.encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()[:16]


def _flat(part):
    for name, value in part.items():
        for path, array in value.items():
            yield f"{name}:{path}", array


def _nested(arrays):
    found = {}
    for key, array in arrays.items():
        name, _, path = key.partition(":")
        found.setdefault(name, {})[path] = array
    return found
