"""Rounds in a folder, each whole or not there, so that a run goes on after a kill."""

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
    """What a run has done so far.

    `arguments.json` says what the run is, `initial.keras` what the model began with,
    `round_00.npz` and so on hold one round each: values, masks and what is logged.
    `log.json` is the log of all rounds, to be read.

    Args:
        path: of the folder, which is made if it is not there.
        arguments: dictionary of numbers, texts, lists, dictionaries and plug-ins; a folder
            of a run with others is refused.
        model: what the run begins with.

    Raises:
        ValueError: if it is a file, or of another run; names the argument.
    """

    def __init__(self, path, arguments, model):
        self.path = pathlib.Path(path)
        self._check_is_folder()
        self.path.mkdir(parents=True, exist_ok=True)
        # As they come back from the file: tuples are lists there.
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
        """What is logged of the rounds that are there, the first one first."""
        found = []
        while (file := self._file(len(found))).exists():
            found.append(self._read(file, ["log"])["log"])
        return found

    def load(self, number):
        """A round as it was given to `save`."""
        return self._read(self._file(number))

    def save(self, number, part, log):
        """Writes a round, then the log of all.

        Args:
            number: of the round.
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
                f"{str(file)!r} is damaged ({error}). Delete it and those of later rounds, "
                "and the run goes on from the one before."
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
                "or a path where one can be made."
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
                    f"load what the run began with: model.load_weights({_INITIAL!r} of "
                    "that folder)."
                )
            raise ValueError(
                f"find_ticket(folder): {str(self.path)!r} holds a run with "
                f"{name}={shown(old)}, and this one has {name}={shown(new)}. {hint}"
            )


def digest(values):
    """A short text that tells `{path: array}` from others."""
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
