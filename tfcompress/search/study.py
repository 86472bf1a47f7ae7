"""A search for smaller versions of a model, with everything that was measured."""

import hashlib
import json
import math
import pathlib
import time

import keras
import numpy as np

from tfcompress.core.compress import as_plain
from tfcompress.core.files import replacing, write_atomically
from tfcompress.core.macs import macs
from tfcompress.export import export_tflite
from tfcompress.measuring.scores import CLASSES, in_order, own_loss, score, tasks_of
from tfcompress.recipes.recipe import Recipe
from tfcompress.runtime.interpreter import Interpreter
from tfcompress.search.proxy import Proxy
from tfcompress.search.result import AGAIN, DATA, Candidate
from tfcompress.search.steps import steps_of
from tfcompress.tflite.memory import activation_bytes

_JOURNAL = "study.jsonl"
_DENSE = "dense"
# Samples per member that is not built: to update batch norm, and to score.
_MOST_FOLLOWED, _MOST_SKETCHED = 512, 1024
_BATCH_SIZE = 64
# The key of a harm.
_HARM = ("sensitivity", "dimension", "name", "choice")


class Study:
    """Builds members of a space, measures them, and remembers the measurements.

    Everything is written to a journal at once, so that a study that was killed can resume:
    an engine asks for the same members again, and gets what is known of them.

    Args:
        flat: the flat functional model, compiled if the given one was.
        space: the `Space`.
        graph: the `ChannelGraph` of the space.
        data: `(x, y)` for calibration, and for training unless `training` is given.
        scored: `(x, y)` to score on.
        making: the `Making`.
        folder: folder for the files.
        latency: function of a file's path that returns milliseconds; None if latency
            is not measured.
        verbose: whether to print each candidate.
        training: a dataset to train on.

    Attributes:
        proxy: the `Proxy` of the model.
        dense: the original model, a `Candidate` with a float32 file.
        candidates: list of `Candidate`, in the order in which they were requested.
        mark: a hash of the model, the space and the data.

    Raises:
        ValueError: if the folder holds the study of another model, space or data.
    """

    def __init__(
        self,
        flat,
        space,
        graph,
        data,
        scored,
        making,
        folder,
        latency,
        verbose,
        training=None,
    ):
        self.flat, self.space, self.making = flat, space, making
        self.folder = pathlib.Path(folder)
        self._data, self._scored, self._training = data, scored, training
        self._latency, self._verbose = latency, verbose
        self.candidates, self._harms, self._scores = [], {}, {}
        # From an earlier run, not yet requested in this one, so that both proceed alike.
        self._recalled = []
        self._tasks, self._num_made = None, 0
        self._open(graph)
        samples = _first(data[0], _MOST_FOLLOWED)
        some = _first(scored, _MOST_SKETCHED)
        self.proxy = Proxy(
            flat,
            graph,
            samples,
            some,
            making.criterion,
            making.round_to,
            self._batches(),
        )
        self.dense = self._dense()

    def _open(self, graph):
        self.folder.mkdir(parents=True, exist_ok=True)
        journal = self.folder / _JOURNAL
        self.mark = mark = self._mark(graph)
        lines = _read(journal)
        if not lines:
            self._append({"study": mark})
            return
        if lines[0].get("study") != mark:
            raise ValueError(
                f"{str(self.folder)!r} holds the study of another model, space or data. "
                "Pass another folder, or delete it to start over."
            )
        for line in lines[1:]:
            if "harm" in line:
                self._harms[tuple(line[part] for part in _HARM)] = line["harm"]
            elif "score" in line:
                self._scores[_key(line["member"])] = line["score"]
            else:
                self._recall(line)

    def _recall(self, line):
        """Restores a candidate from the journal, if everything needed of it exists."""
        path = self.folder / line["path"]
        is_timed = self._latency is None or line["latency_ms"] is not None
        if not is_timed or not path.is_file():
            return
        found = Candidate(**{**line, "path": path})
        if found.name == _DENSE:
            self.dense = found
            return
        self._recalled.append(found)
        self._num_made = max(self._num_made, int(found.name) + 1)

    def _batches(self):
        """Batches for criteria that need signals."""
        some = _first(tuple(self._data), _MOST_FOLLOWED)
        count = len(keras.tree.flatten(some[0])[0])
        return [
            keras.tree.map_structure(lambda part, i=i: part[i : i + _BATCH_SIZE], some)
            for i in range(0, count, _BATCH_SIZE)
        ]

    def _mark(self, graph):
        """A hash of everything that candidates depend on."""
        found = hashlib.sha256()
        for weight in graph.flat.weights:
            found.update(np.ascontiguousarray(weight.numpy()))
        for array in (*_arrays(self._data), *_arrays(self._scored)):
            found.update(str(array.shape).encode())
            found.update(np.ascontiguousarray(array))
        found.update(repr((self.space.choices, self.making)).encode())
        return found.hexdigest()

    def _append(self, line):
        with open(self.folder / _JOURNAL, "a") as journal:
            journal.write(json.dumps(line) + "\n")

    def _dense(self):
        """The original model, in a float32 file."""
        known = vars(self).get("dense")
        if known:
            return known
        path = self.folder / f"{_DENSE}.tflite"
        start = time.perf_counter()
        (self.folder / AGAIN).mkdir(exist_ok=True)
        _save(self.flat, self.folder / "model.keras")
        self._save_data()
        export_tflite(self.flat, path, verify=False)
        return self._measured(_DENSE, {}, 0, self.flat, path, start)

    def _save_data(self):
        """Writes the data to reproduce candidates with, if one file can hold it."""
        arrays = dict(zip("xy", self._data, strict=True))
        is_whole = all(isinstance(array, np.ndarray) for array in arrays.values())
        if self._training is not None or not is_whole:
            return
        with replacing(self.folder / DATA) as temporary, open(temporary, "wb") as file:
            np.savez(file, **arrays)

    def candidate(self, member, is_trained=False):
        """The `Candidate` of a member, which is built unless it exists."""
        epochs = self.making.epochs if is_trained else 0
        for found in (*self.candidates, *self._recalled):
            if (found.member, found.epochs) == (member, epochs):
                return self._asked(found)
        name = f"{self._num_made:03d}"
        self._num_made += 1
        start = time.perf_counter()
        path = self.folder / f"{name}.tflite"
        layers = self.proxy.layers
        is_taught = all(task.kind == CLASSES for task in self.proxy.tasks)
        recipe = Recipe(
            steps_of(member, layers, self.making, path.name, is_trained, is_taught)
        )
        recipe.to_yaml(path.with_suffix(".yaml"))
        verbose = self._verbose if is_trained else 0
        data = self._data
        if is_trained and self._training is not None:
            data = self._training
        result = recipe.run(self.flat, data, self.folder, verbose=verbose)
        made = as_plain(result.model)
        _save(made, path.with_suffix(".keras"))
        found = self._asked(self._measured(name, member, epochs, made, path, start))
        if self._verbose:
            costs = [f"{found.size_bytes:,} bytes", f"{found.macs:,} MACs"]
            if found.latency_ms is not None:
                costs.append(f"{found.latency_ms:.3f} ms")
            print(f"{name}: {found.accuracy:.4f}, {', '.join(costs)}")
        return found

    def _measured(self, name, member, epochs, model, path, start):
        latency = None if self._latency is None else float(self._latency(path))
        found = Candidate(
            name=name,
            member=member,
            epochs=epochs,
            path=path,
            size_bytes=path.stat().st_size,
            accuracy=self._accuracy(path),
            macs=sum(macs(model).values()),
            latency_ms=latency,
            memory_bytes=activation_bytes(path.read_bytes()),
            seconds=time.perf_counter() - start,
        )
        self._append(found.to_dict())
        return found

    def _asked(self, candidate):
        if candidate not in self.candidates:
            self.candidates.append(candidate)
        return candidate

    def _accuracy(self, path):
        """Accuracy of a file in LiteRT."""
        with Interpreter(path) as interpreter:
            outputs = interpreter.run(self._scored[0])
        outputs = in_order(outputs, list(self.proxy.exact))
        if self._tasks is None:
            named = dict(zip(self.proxy.exact, outputs, strict=True))
            targets = in_order(self._scored[1], list(self.proxy.exact))
            self._tasks, self._targets = tasks_of(self.flat, named, targets), targets
        return score(self._tasks, outputs, self._targets)

    def score(self, member):
        """The score of a member by the `proxy`, without building it."""
        key = _key(member)
        if key not in self._scores:
            self._scores[key] = self.proxy.score(member)
            self._append({"member": member, "score": self._scores[key]})
        return self._scores[key]

    def harms(self, rows, sensitivity="output_error"):
        """The harm of each choice alone: an array for each row.

        Args:
            rows: `[(dimension, name, choices)]`.
            sensitivity: the measure of harm, as in `Proxy.harm`.
        """
        bar = self.progress(sum(len(choices) for _, _, choices in rows), "choice")
        return [self._harms_of(sensitivity, *row, bar) for row in rows]

    def progress(self, total, unit):
        """A progress bar, which is silent if the study is.

        Args:
            total: number of steps of `bar.add(1)`.
            unit: name of a step.
        """
        return keras.utils.Progbar(total, verbose=int(self._verbose), unit_name=unit)

    def _harms_of(self, sensitivity, dimension, name, choices, bar):
        found = []
        for position, choice in enumerate(choices):
            key = sensitivity, dimension, name, choice
            if position and key not in self._harms:
                harm = self.proxy.harm({dimension: {name: choice}}, sensitivity)
                self._harms[key] = harm if math.isfinite(harm) else math.inf
                line = dict(zip(_HARM, key, strict=True))
                self._append({**line, "harm": self._harms[key]})
            bar.add(1)
            found.append(self._harms[key] if position else 0.0)
        return np.array(found)


def compiled_like(flat, model):
    """The flat model, compiled with the loss of the given one."""
    loss = own_loss(model)
    if loss is not None:
        flat.compile(loss=loss)
    return flat


def _key(member):
    return json.dumps(member, sort_keys=True)


def _arrays(data):
    return [np.asarray(part) for part in keras.tree.flatten(data)]


def _first(data, count):
    return keras.tree.map_structure(lambda part: part[:count], data)


def _save(model, path):
    with replacing(path) as temporary:
        model.save(temporary)


def _read(journal):
    """The lines of a journal, without an incomplete last one."""
    if not journal.is_file():
        return []
    found = []
    for line in journal.read_text().splitlines():
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            break
    whole = "".join(json.dumps(line) + "\n" for line in found)
    write_atomically(journal, whole)
    return found
