"""Writes a network with early exits as one `.tflite` file of stages."""

import dataclasses
import pathlib
import tempfile

import numpy as np

from tfcompress.core.data import Samples
from tfcompress.core.files import check_writable, write_atomically
from tfcompress.core.kinds import FilePath, Instance, OneOf, checked
from tfcompress.core.plugin import snake_case
from tfcompress.core.samples import random_inputs
from tfcompress.dynamic.early_exit import EarlyExit
from tfcompress.dynamic.thresholds import ExitPlan
from tfcompress.export import export_tflite
from tfcompress.export.precisions import PRECISIONS, precision_of
from tfcompress.export.verify import ExportResult, VerificationError
from tfcompress.runtime.cascade import CASCADE, Cascade
from tfcompress.runtime.interpreter import Interpreter
from tfcompress.tflite.edit import name_ends
from tfcompress.tflite.metadata import set_metadata
from tfcompress.tflite.read import read, write
from tfcompress.tflite.stages import split_stages

_NUM_CHECKED = 16


@checked
def export_cascade(
    exits: Instance(EarlyExit, "a tfc.dynamic.EarlyExit"),
    plan: Instance(ExitPlan, "an ExitPlan, as exits.calibrate(...) returns"),
    path: FilePath("the .tflite file to write"),
    precision: OneOf(*PRECISIONS) = "float32",
    samples: Samples() = None,
    **options,
) -> ExportResult:
    """Writes a network with early exits as a `.tflite` file with one signature per exit.

    `exit_1` takes the model's inputs; each later signature takes tensors that earlier ones
    pass on, named `carried_1` and so on, and computes nothing twice, so the file is hardly
    larger than the network. Rule and thresholds are stored as JSON in its metadata
    `tfc.cascade`. `tfc.runtime.Cascade` runs the file.

    Integer files round the answers of exits. Their thresholds are therefore chosen again
    from the file's own answers on `samples`, so that the same number leaves at each exit
    as in the plan; pass samples that were not used for training.

    Args:
        exits: the network.
        plan: the thresholds at which samples leave.
        path: path of the file.
        precision: as in `tfc.export_tflite`.
        samples: an array as in `tfc.export_tflite`; needed for integer precisions.
        **options: other arguments of `tfc.export_tflite`, such as `codec` and `profile`.

    Returns:
        The `ExportResult`; the last note says when samples leave.

    Raises:
        TypeError: if `exits` or `plan` is of another type.
        ValueError: as `tfc.export_tflite`; or if samples are missing, or the plan is for
            a different number of exits.
        VerificationError: if the file's outputs differ from the network's.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(6, name="a"),
        ...     keras.layers.Dense(6), keras.layers.Dense(3)])
        >>> exits = tfc.dynamic.EarlyExit(model, at=["a"])
        >>> plan = exits.calibrate(np.eye(8), macs=0.7)
        >>> result = export_cascade(exits, plan, tmp_path / "model.tflite")
        >>> first = tfc.Interpreter(result.path, signature="exit_1")
        >>> sorted(first.run(np.eye(8)))
        ['carried_1', 'exit_1']
    """
    precision, path = precision_of(precision), check_writable(path)
    if len(plan.thresholds) != len(exits.exit_names) - 1:
        raise ValueError(
            f"The plan has {len(plan.thresholds)} thresholds for the exits "
            f"{exits.exit_names}: expected a plan from exits.calibrate(...)."
        )
    if precision.is_integer and samples is None:
        raise ValueError(
            f"precision={precision.name!r} rounds the answers of exits, so their "
            "thresholds are chosen again: pass samples, such as those of calibrate."
        )
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder, path.name)
        result = export_tflite(exits.network, file, precision.name, samples, **options)
        whole = file.read_bytes()
    content = _staged(whole, exits, plan)
    if precision.is_integer:
        plan = plan.transferred(Cascade(content).probabilities(samples), exits.macs)
        content = _staged(whole, exits, plan)
    if options.get("verify", True):
        _check(whole, content, exits, samples)
    write_atomically(path, content)
    return dataclasses.replace(
        result,
        path=path,
        size_bytes=len(content),
        notes=(*result.notes, str(plan)),
    )


def _staged(whole, exits, plan):
    """The bytes of the file with one signature per stage."""
    file = read(whole)
    split_stages(file, exits.exit_names)
    name_ends(file)
    about = {
        "rule": snake_case(type(plan.rule).__name__),
        "thresholds": plan.thresholds,
        "stages": exits.exit_names,
        "outputs": "probabilities" if exits.has_softmax else "logits",
        "macs": exits.macs,
        "shares": plan.shares,
    }
    set_metadata(file, CASCADE, about)
    return write(file)


def _check(whole, content, exits, samples):
    """Stages must answer, bit for bit, what the whole network does."""
    if samples is None:
        samples = random_inputs(exits.network, _NUM_CHECKED).numpy()
    few = np.asarray(samples)[:_NUM_CHECKED]
    with Interpreter(whole) as interpreter:
        expected = list(interpreter.run(few).values())
    answers = Cascade(content).answers(few)
    if not np.array_equal(answers, np.stack(expected)):
        raise VerificationError(
            "The stages of the file give other answers than the whole network; nothing "
            "was written. Please report the model."
        )
