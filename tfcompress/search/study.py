"""A model that is searched for smaller ones, with all that was measured of them."""

import hashlib
import json
import math
import pathlib
import time

import keras
import numpy as np

from tfcompress.core.compress import strip
from tfcompress.core.files import replacing, write_atomically
from tfcompress.core.macs import macs
from tfcompress.export import export_tflite
from tfcompress.measuring.scores import in_order, own_loss, score, tasks_of
from tfcompress.recipes.recipe import Recipe
from tfcompress.runtime.interpreter import Interpreter
from tfcompress.search.proxy import Proxy
from tfcompress.search.result import AGAIN, DATA, Candidate
from tfcompress.search.steps import steps_of
from tfcompress.tflite.memory import activation_bytes

_JOURNAL = "study.jsonl"
_DENSE = "dense"
# Samples for each member that is not made: to follow with batch norm, and to score.
_MOST_FOLLOWED, _MOST_SKETCHED = 512, 1024
_BATCH_SIZE = 64


class Study:
    """Makes members of a space, measures them, and remembers what it measured.

    All is written to a journal at once, so that a study that was killed goes on: an
    engine asks for the same members again, and gets what is known of them.

    Args:
        flat: the flat functional model, compiled if the given one was.
        space: the `Space`.
        graph: the `ChannelGraph` that the space is of.
        data: `(x, y)` for calibration and training.
        scored: `(x, y)` to score on.
        making: the `Making`.
        folder: of the files.
        latency: function of a file's path that returns milliseconds; None if latency
            does not count.
        verbose: whether to print each candidate.

    Attributes:
        proxy: the `Proxy` of the model.
        dense: the model as it came, a `Candidate` with a float32 file.
        candidates: list of `Candidate`, in the order they were made.
        mark: a text that is different for other models, spaces and data.

    Raises:
        ValueError: if the folder holds the study of another model, space or data.
    """

    def __init__(
        self, flat, space, graph, data, scored, making, folder, latency, verbose
    ):
        self.flat, self.space, self.making = flat, space, making
        self.folder = pathlib.Path(folder)
        self._data, self._scored = data, scored
        self._latency, self._verbose = latency, verbose
        self.candidates, self._harms, self._scores = [], {}, {}
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
                "Name another folder, or delete it to begin anew."
            )
        for line in lines[1:]:
            if "harm" in line:
                key = line["dimension"], line["name"], line["choice"]
                self._harms[key] = line["harm"]
            elif "score" in line:
                self._scores[_key(line["member"])] = line["score"]
            else:
                self._recall(line)

    def _recall(self, line):
        """Takes in a candidate of the journal, if all is there that is needed of it."""
        path = self.folder / line["path"]
        is_timed = self._latency is None or line["latency_ms"] is not None
        if is_timed and path.is_file():
            self._known(Candidate(**{**line, "path": path}))

    def _known(self, candidate):
        if candidate.name == _DENSE:
            self.dense = candidate
            return
        self.candidates.append(candidate)
        self._num_made = max(self._num_made, int(candidate.name) + 1)

    def _batches(self):
        """Batches for criteria that need signals."""
        some = _first(tuple(self._data), _MOST_FOLLOWED)
        count = len(keras.tree.flatten(some[0])[0])
        return [
            keras.tree.map_structure(lambda part, i=i: part[i : i + _BATCH_SIZE], some)
            for i in range(0, count, _BATCH_SIZE)
        ]

    def _mark(self, graph):
        """Changes with all that candidates depend on."""
        found = hashlib.sha256()
        for weight in graph.flat.weights:
            found.update(np.ascontiguousarray(weight.numpy()).tobytes())
        for array in (*_arrays(self._data), *_arrays(self._scored)):
            found.update(str(array.shape).encode() + array.tobytes())
        found.update(repr((self.space.choices, self.making)).encode())
        return found.hexdigest()

    def _append(self, line):
        with open(self.folder / _JOURNAL, "a") as journal:
            journal.write(json.dumps(line) + "\n")

    def _dense(self):
        """The model as it came, in a float32 file."""
        known = vars(self).get("dense")
        if known:
            return known
        path = self.folder / f"{_DENSE}.tflite"
        start = time.perf_counter()
        (self.folder / AGAIN).mkdir(exist_ok=True)
        _save(self.flat, self.folder / "model.keras")
        arrays = dict(zip("xy", self._data, strict=True))
        if all(isinstance(array, np.ndarray) for array in arrays.values()):
            with (
                replacing(self.folder / DATA) as temporary,
                open(temporary, "wb") as file,
            ):
                np.savez(file, **arrays)
        export_tflite(self.flat, path, verify=False)
        return self._measured(_DENSE, {}, 0, self.flat, path, start)

    def candidate(self, member, is_trained=False):
        """The `Candidate` of a member, made now or before."""
        epochs = self.making.epochs if is_trained else 0
        known = [
            c for c in self.candidates if c.member == member and c.epochs == epochs
        ]
        if known:
            return known[0]
        name = f"{self._num_made:03d}"
        start = time.perf_counter()
        path = self.folder / f"{name}.tflite"
        layers = self.proxy.layers
        recipe = Recipe(steps_of(member, layers, self.making, path.name, is_trained))
        recipe.to_yaml(path.with_suffix(".yaml"))
        verbose = self._verbose if is_trained else 0
        result = recipe.run(self.flat, self._data, self.folder, verbose=verbose)
        made = strip(result.model)
        _save(made, path.with_suffix(".keras"))
        found = self._measured(name, member, epochs, made, path, start)
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
        self._known(found)
        return found

    def _accuracy(self, path):
        """Of a file, as it runs in LiteRT."""
        with Interpreter(path) as interpreter:
            outputs = interpreter.run(self._scored[0])
        outputs = in_order(outputs, list(self.proxy.exact))
        if self._tasks is None:
            named = dict(zip(self.proxy.exact, outputs, strict=True))
            targets = in_order(self._scored[1], list(self.proxy.exact))
            self._tasks, self._targets = tasks_of(self.flat, named, targets), targets
        return score(self._tasks, outputs, self._targets)

    def score(self, member):
        """Of a member by the `proxy`, without making it."""
        key = _key(member)
        if key not in self._scores:
            self._scores[key] = self.proxy.score(member)
            self._append({"member": member, "score": self._scores[key]})
        return self._scores[key]

    def harms(self, rows):
        """The errors of the outputs that choices cost, each alone, an array for each row.

        Args:
            rows: `[(dimension, name, choices)]`.
        """
        bar = self.progress(sum(len(choices) for _, _, choices in rows), "choice")
        return [self._harms_of(*row, bar) for row in rows]

    def progress(self, total, unit):
        """A bar, which is silent where the study is.

        Args:
            total: how many steps of `bar.add(1)` there are.
            unit: what one of them is.
        """
        return keras.utils.Progbar(total, verbose=int(self._verbose), unit_name=unit)

    def _harms_of(self, dimension, name, choices, bar):
        found = []
        for position, choice in enumerate(choices):
            key = dimension, name, choice
            if position and key not in self._harms:
                harm = self.proxy.error({dimension: {name: choice}})
                self._harms[key] = harm if math.isfinite(harm) else math.inf
                line = dict(zip(("dimension", "name", "choice"), key, strict=True))
                self._append({**line, "harm": self._harms[key]})
            bar.add(1)
            found.append(self._harms[key] if position else 0.0)
        return np.array(found)


def compiled_like(flat, model):
    """The flat model, with the loss of the given one."""
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
    """The lines of a journal; the last one may be half of one."""
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
