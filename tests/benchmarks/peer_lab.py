"""Shared by the rows of peers.py: networks with their data, programs, and their files."""

import contextlib
import dataclasses
import functools
import gzip
import json
import pathlib
import statistics
import sys
import tempfile

import binary_ops
import cifar
import harness
import numpy as np
import peer_task

_DENSE_EPOCHS = 2
# Weights of the LeNet-5, which is trained once for all rows of a run.
_DENSE = []


@dataclasses.dataclass
class Network:
    """A trained network.

    Attributes:
        model: in Keras 3.
        settings: see `peer_task.Task`.
        test: `(x, y)`.
    """

    model: object
    settings: dict
    test: tuple


@dataclasses.dataclass
class Entry:
    """What a program made.

    Attributes:
        label: tool and program.
        path: of the file; None if there is none.
        answer: see `peer_task.answer`.
        accuracy: function of the path that returns percent; None for LiteRT.
        turns: command of a process that runs the file whenever it reads a line; None
            for LiteRT.
        size: bytes, if they are not those of the file.
        note: what else must be known.
    """

    label: str
    path: pathlib.Path | None
    answer: dict
    accuracy: object = None
    turns: list | None = None
    size: int | None = None
    note: str | None = None


def rows_of(folder):
    """`{name: function of options}` of the rows in a folder, functions of a `Lab`."""
    return {
        name: functools.partial(_run, function)
        for name, function in harness.rows_in(folder).items()
    }


def _run(function, options):
    with tempfile.TemporaryDirectory() as folder:
        return function(Lab(options, pathlib.Path(folder)))


class Lab:
    """Trains networks, runs programs, and judges files."""

    def __init__(self, options, folder):
        self.options, self.folder = options, folder

    def lenet_5(self):
        """LeNet-5 of Caffe, trained on MNIST."""
        import keras
        import mnist_lenet

        train, test = harness.load_data("mnist", self.options)
        model = mnist_lenet.build(keras, "lenet_5")
        settings = self._settings("lenet_5", train, scale=1 / 255, learning_rate=1e-3)
        settings["first_and_last"] = "conv1|logits"
        harness.progress("  the network itself")
        if not _DENSE:
            dense = peer_task.Task(keras, {**settings, "learning_rate": 2e-3}, model)
            dense.fit(model, 1 if self.options.quick else _DENSE_EPOCHS)
            _DENSE.extend(model.get_weights())
        model.set_weights(_DENSE)
        return self._network(model, settings, test)

    def resnet_20(self):
        """ResNet-20, as it was trained on CIFAR-10 before."""
        train, test = cifar.load_data(self.options)
        model = cifar.load_model(self.options)
        settings = self._settings("resnet_20", train, scale=1.0, learning_rate=1e-4)
        settings["num_samples"] = 8 if self.options.quick else 512
        settings["first_and_last"] = "/conv1(_1)?/|linear"
        return self._network(model, settings, (255 * test[0], test[1]))

    def mobile_net_v2(self):
        """MobileNetV2, untrained: for times only."""
        import keras

        keras.utils.set_random_seed(self.options.seed)
        side = 32 if self.options.quick else 224
        model = keras.applications.MobileNetV2((side, side, 3), weights=None)
        generator = np.random.default_rng(self.options.seed)
        images = generator.uniform(0, 1, (128, side, side, 3))
        labels = generator.integers(0, 1000, 128)
        settings = self._settings(
            "mobile_net_v2", (images, labels), scale=1 / 127.5, learning_rate=1e-4
        )
        settings["num_samples"] = 16
        return self._network(model, settings, None)

    def binary(self):
        """A network with binary convolutions for MNIST, before it is trained."""
        import keras

        train, test = harness.load_data("mnist", self.options)
        keras.utils.set_random_seed(self.options.seed)
        model = peer_task.build_binary(keras)
        settings = self._settings("binary", train, scale=1 / 255, learning_rate=1e-2)
        return self._network(model, settings, test)

    def _settings(self, name, train, scale, learning_rate):
        data = self.folder / f"{name}_data.npz"
        images = np.rint(255 * train[0]).astype(np.uint8)
        np.savez(data, images=images, labels=train[1])
        return {
            "network": name,
            "data": str(data),
            "scale": scale,
            "learning_rate": learning_rate,
            "num_samples": 8 if self.options.quick else 256,
            "seed": self.options.seed,
            "is_quick": self.options.quick,
            "weights": str(self.folder / f"{name}_weights.npz"),
            "float_file": str(self.folder / f"{name}.tflite"),
        }

    def _network(self, model, settings, test):
        import tfcompress as tfc

        weights = {str(i): each for i, each in enumerate(model.get_weights())}
        np.savez(settings["weights"], **weights)
        samples = peer_task.Task(None, settings).samples
        tfc.export_tflite(model, settings["float_file"], samples=samples)
        return Network(model, settings, test)

    def own(self, network, *names):
        """Entries of programs that run here."""
        import keras
        import peer_programs

        for tool, programs in peer_programs.TOOLS.items():
            for name in names:
                if name in programs:
                    path = self._path(tool, network, name)
                    harness.progress(f"  {tool}, {name}")
                    found = peer_task.answer(
                        programs[name], keras, network.settings, path, network.model
                    )
                    yield self._entry(tool, path, found)

    def peers(self, network, environment, *names):
        """Entries of programs that run in an environment of their own."""
        if self.options.no_peers:
            return
        paths = {name: self._path(environment, network, name) for name in names}
        script, folder = f"{environment}_programs.py", self.options.peers_dir
        answers = harness.run_peer(
            environment, script, [network.settings, paths], folder
        )
        for path, found in zip(paths.values(), answers, strict=True):
            yield self._entry(found["tool"], path, found)

    def _path(self, tool, network, name):
        kind = network.settings["network"]
        return str(self.folder / f"{tool.split()[0]}_{kind}_{name}.tflite")

    def _entry(self, tool, path, found):
        if "error" in found:
            harness.progress(f"    {found['error']}")
        label = f"{tool}, {found['title']}"
        return Entry(label, None if "error" in found else pathlib.Path(path), found)

    def measures(self, network, entries, note=None):
        """All figures of what programs made, float32 first."""
        reference = pathlib.Path(network.settings["float_file"])
        entries = [Entry("float32 file", reference, {}, note=note), *entries]
        made = [entry for entry in entries if entry.path]
        times = self._milliseconds(made)
        for entry in entries:
            if entry in made:
                yield from self._figures(network, entry, times[entry.label])
            else:
                why = entry.answer["error"]
                yield harness.Measure(f"{entry.label}: left out", None, note=why)

    def _figures(self, network, entry, milliseconds):
        content = entry.path.read_bytes()
        size, note = entry.size or len(content), entry.note
        yield harness.Measure(f"{entry.label}: file", size, "bytes", note=note)
        if network.test:
            judge = entry.accuracy or functools.partial(self.accuracy, network)
            percent = judge(entry.path)
            harness.progress(f"  {entry.label}: {percent:.2f} %, {size:,} bytes")
            yield harness.Measure(f"{entry.label}: accuracy", percent, "%")
        figures = {
            "latency": (milliseconds, "ms"),
            "step": (entry.answer.get("step"), "x"),
            "lines": (entry.answer.get("lines"), ""),
        }
        if entry.size is None:
            zipped = len(gzip.compress(content, compresslevel=9, mtime=0))
            figures["zipped"] = zipped, "bytes"
        for name, (value, unit) in figures.items():
            if value is not None:
                yield harness.Measure(f"{entry.label}: {name}", value, unit)

    def accuracy(self, network, path):
        """Percent of right answers on the test set, by LiteRT."""
        import tfcompress as tfc

        x, y = network.test
        with tfc.Interpreter(path) as interpreter:
            return 100 * float(np.mean(interpreter.run(x).argmax(axis=1) == y))

    def _milliseconds(self, entries):
        """`{label: median}` on one thread, each in its own process, in turns."""
        rounds = 1 if self.options.quick else self.options.rounds
        repeats = 1 if self.options.quick else self.options.repeats
        with contextlib.ExitStack() as stack:
            running = {
                entry.label: stack.enter_context(
                    binary_ops.Process(entry.turns or self._turns(entry, repeats))
                )
                for entry in entries
            }
            times = {label: [] for label in running}
            for _ in range(rounds):
                for label, process in running.items():
                    times[label].append(process.seconds())
        return {label: 1e3 * statistics.median(some) for label, some in times.items()}

    def _turns(self, entry, repeats):
        task = {"path": str(entry.path), "num_threads": 1, "repeats": repeats}
        if entry.label.startswith("tfcompress"):
            task |= binary_ops.delegated("best")
        return [sys.executable, binary_ops.TURNS, json.dumps(task)]


def add_options(parser):
    """Adds those of the rows."""
    cifar.add_options(parser)
    parser.add_argument("--repeats", type=int, default=20, help="runs per turn")
    parser.add_argument("--rounds", type=int, default=31, help="turns per file")
