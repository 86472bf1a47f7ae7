"""Runs `.tflite` files with early exits."""

import threading
from typing import NamedTuple

import numpy as np

from tfcompress.core.kinds import Content, Each, FilePath, Integer, Number, checked
from tfcompress.core.nouns import ExitRule
from tfcompress.runtime.interpreter import dequantized, loaded, quantized, read_model
from tfcompress.runtime.signature import Signature
from tfcompress.tflite.metadata import metadata

# Name of the metadata.
CASCADE = "tfc.cascade"


class Answers(NamedTuple):
    """The answers of a cascade for a batch.

    Attributes:
        outputs: array `(samples, classes)`.
        exits: index of the exit at which each sample left.
    """

    outputs: np.ndarray
    exits: np.ndarray


class Cascade:
    """A loaded `.tflite` model with early exits: each sample runs until it may leave.

    The file, written by `tfc.dynamic.export_cascade`, has one signature per stage, and
    holds the thresholds that decide at which exit a sample leaves. Stages pass tensors on
    unchanged. Inputs and outputs are real numbers as in `tfc.Interpreter`.

    Args:
        model: path of a file, or its bytes.
        num_threads: threads that kernels may use.
        thresholds: replace those of the file, one per exit except the last; the lower,
            the more samples leave.

    Raises:
        FileNotFoundError: if the path does not exist.
        ValueError: if the file has no stages or cannot be loaded, or the number of
            thresholds is wrong.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(6, name="a"),
        ...     keras.layers.Dense(6), keras.layers.Dense(3)])
        >>> exits = tfc.dynamic.EarlyExit(model, at=["a"])
        >>> x = np.random.default_rng(0).normal(size=(32, 8)).astype("float32")
        >>> plan = exits.calibrate(x, macs=0.7)
        >>> result = tfc.dynamic.export_cascade(exits, plan, tmp_path / "model.tflite")
        >>> answers = Cascade(result.path).run(x)
        >>> answers.outputs.shape, answers.exits.shape
        ((32, 3), (32,))
    """

    @checked
    def __init__(
        self,
        model: FilePath("a .tflite file") | Content("one"),
        num_threads: Integer(1) = 1,
        thresholds: Each(Number(), "numbers, one per exit except the last") = None,
    ):
        content, self.name = read_model(model)
        about = metadata(content, CASCADE)
        if not isinstance(about, dict):
            raise ValueError(
                f"{self.name} is not a cascade: expected a file of stages that "
                "tfc.dynamic.export_cascade wrote."
            )
        _check(about, self.name)
        self.rule = ExitRule.get(about["rule"])
        self.thresholds = list(
            about["thresholds"] if thresholds is None else thresholds
        )
        if len(self.thresholds) != len(about["stages"]) - 1:
            raise ValueError(
                f"{self.name} has {len(about['stages'])} exits: expected one threshold per "
                f"exit except the last, got {self.thresholds}."
            )
        self._has_softmax = about["outputs"] == "probabilities"
        self._lock = threading.Lock()
        # Stages share it, and so the constants of the file.
        interpreter = loaded(content, num_threads, self.name)
        signatures = {name: Signature(interpreter, name) for name in about["stages"]}
        read = {name for signature in signatures.values() for name in signature.inputs}
        self._stages = [_Stage(*item, read) for item in signatures.items()]

    def run(self, inputs):
        """Runs samples one after another, each until it may leave.

        Args:
            inputs: array `(samples, ...)`.

        Returns:
            `Answers`: `(outputs, exits)`.

        Raises:
            ValueError: if the shape does not match, or values are not finite real numbers.
        """
        outputs, exits = zip(*self._each(inputs, self._run_one), strict=True)
        return Answers(np.concatenate(outputs), np.array(exits))

    def answers(self, inputs):
        """The answers of all exits, an array `(exits, samples, classes)`.

        Args:
            inputs: as for `run`.
        """
        return np.concatenate(self._each(inputs, self._run_all), axis=1)

    def probabilities(self, inputs):
        """The answers as probabilities, by which exits are chosen.

        Args:
            inputs: as for `run`.
        """
        return self._probabilities(self.answers(inputs))

    def _each(self, inputs, run):
        (detail,) = self._stages[0].inputs.values()
        array, shape = np.asarray(inputs), tuple(detail["shape"][1:])
        if array.ndim != len(shape) + 1 or array.shape[1:] != shape or not len(array):
            raise ValueError(
                f"The input of {self.name} has shape {array.shape}: expected (samples, "
                f"{', '.join(map(str, shape))})."
            )
        array = quantized(array, detail)
        (name,) = self._stages[0].inputs
        with self._lock:
            return [run({name: array[i : i + 1]}) for i in range(len(array))]

    def _run_all(self, carried):
        answers = []
        for stage in self._stages:
            answers.append(stage.run(carried))
            stage.hand_on(carried)
        return np.stack(answers)

    def _run_one(self, carried):
        seen = []
        for number, stage in enumerate(self._stages[:-1]):
            answer = stage.run(carried)
            seen.append(self._probabilities(answer))
            if self.rule(np.asarray(seen))[-1, 0] >= self.thresholds[number]:
                return answer, number
            stage.hand_on(carried)
        return self._stages[-1].run(carried), len(self._stages) - 1

    def _probabilities(self, answers):
        return answers if self._has_softmax else _softmax(answers)


def _check(about, name):
    """Raises unless the metadata describe a cascade."""
    stages, thresholds = about.get("stages"), about.get("thresholds")
    are_names = isinstance(stages, list) and all(isinstance(s, str) for s in stages)
    are_numbers = isinstance(thresholds, list) and all(
        isinstance(t, int | float) for t in thresholds
    )
    kinds = ("probabilities", "logits")
    if are_names and are_numbers and about.get("outputs") in kinds and "rule" in about:
        return
    raise ValueError(
        f"The metadata {CASCADE!r} of {name} do not describe a cascade: expected stages, "
        f"thresholds, a rule and what the outputs are ({' or '.join(kinds)}). Copy or "
        "export the file again."
    )


class _Stage:
    """One signature of the file."""

    def __init__(self, name, signature, read):
        self._name, self._signature = name, signature
        self.inputs = signature.inputs
        self._output = signature.outputs[name]
        self._handed_on = [name for name in signature.outputs if name in read]

    def run(self, carried):
        """The stage's answer."""
        self._signature.run(carried)
        return dequantized(self._signature.output(self._name), self._output)

    def hand_on(self, carried):
        """Adds the tensors that later stages need to those carried."""
        for name in self._handed_on:
            carried[name] = self._signature.output(name)


def _softmax(logits):
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
