"""Estimates the harm of pruning, few bits and low ranks of each layer in advance."""

import dataclasses
import json

import keras

from tfcompress.core.data import Batches, Data, Samples
from tfcompress.core.errors import refuse
from tfcompress.core.files import check_writable, write_atomically
from tfcompress.core.kinds import (
    Anything,
    BuiltModel,
    Each,
    FilePath,
    Integer,
    Number,
    OneOf,
    checked,
)
from tfcompress.core.macs import macs
from tfcompress.core.text import Table, as_text
from tfcompress.pruning.channels.graph import ChannelGraph
from tfcompress.pruning.channels.selection import free_groups
from tfcompress.quantization.post_training.folded import folded, matrix_layers
from tfcompress.search.edits import bits_edit, channels_edit, rank_edit, sparsity_edit
from tfcompress.search.harms import drops_of_score, errors_of_outputs, rises_of_loss

MEASURES = {"output_error": Samples(), "score": Data(), "fisher": Batches()}
_FRACTION = Number(above=0, below=1)


@dataclasses.dataclass(frozen=True)
class LayerSensitivity:
    """The harm of changes of one layer.

    Attributes:
        name: name of the layer, or of the first layer that produces a group of channels.
        parameters: weights of its kernel, or of all layers that produce the channels.
        macs: multiply-accumulates per sample, likewise.
        harms: `{change: harm}`.
    """

    name: str
    parameters: int
    macs: int
    harms: dict


@dataclasses.dataclass(frozen=True)
class Sensitivity:
    """The harm of changes of each layer; prints as a table.

    Attributes:
        model: name of the model.
        measure: the measure of harm, `"output_error"`, `"score"` or `"fisher"`.
        layers: tuple of `LayerSensitivity`, in the order they run.
        groups: tuple of `LayerSensitivity`, for groups of channels that are cut together.
    """

    model: str
    measure: str
    layers: tuple
    groups: tuple

    def __getitem__(self, name):
        """The layer with a name."""
        return {layer.name: layer for layer in self.layers}[name]

    def ranking(self, change):
        """Names of the layers, the one that a change harms most first.

        Args:
            change: name of the change, such as `"4 bits"`.
        """
        known = [row for row in (*self.layers, *self.groups) if change in row.harms]
        if not known:
            changes = {
                c: None for row in (*self.layers, *self.groups) for c in row.harms
            }
            refuse("Sensitivity.ranking(change)", change, f"one of {[*changes]}")
        return [r.name for r in sorted(known, key=lambda r: -r.harms[change])]

    def to_dict(self):
        """Plain numbers, strings and lists."""
        return dataclasses.asdict(self)

    @checked
    def save(self, path: FilePath("the .json file to write")):
        """Writes `to_dict` as JSON."""
        return write_atomically(
            check_writable(path), json.dumps(self.to_dict(), indent=2)
        )

    def __str__(self):
        tables = [_table(f"{self.model}: {self.measure}", "layer", self.layers)]
        if self.groups:
            tables.append(_table("channels", "first layer", self.groups))
        return as_text(*tables, width=140)


def _table(title, first, rows):
    table = Table(title=title, title_justify="left")
    table.add_column(first, overflow="fold")
    changes = list(rows[0].harms)
    for heading in ("weights", "MACs", *changes):
        table.add_column(heading, justify="right")
    for row in rows:
        harms = [f"{row.harms[change]:.3g}" for change in changes]
        table.add_row(row.name, f"{row.parameters:,}", f"{row.macs:,}", *harms)
    return table


@checked
def sensitivity(
    model: BuiltModel(),
    data: Anything("inputs, or what the measure needs"),
    bits: Each(Integer(2, 8), "integers from 2 to 8") = (8, 4, 2),
    sparsity: Each(_FRACTION, "fractions of weights to remove") = (0.5, 0.75, 0.9),
    rank: Each(_FRACTION, "fractions of the rank to keep") = (0.5, 0.25),
    channels: Each(_FRACTION, "fractions of channels to remove") = (0.25, 0.5),
    measure: OneOf(*MEASURES) = "output_error",
) -> Sensitivity:
    """Tries changes of each layer alone, and measures their harm.

    A change is applied to a copy with batch norm folded: a kernel is rounded to the
    nearest levels, or loses its smallest weights, or has its rank reduced (truncated SVD of
    its matrix); or a group of coupled channels loses its smallest ones. Its harm is

        output_error:  Σ_o E‖f_o(x) - f̃_o(x)‖² / E‖f_o - E f_o‖², without labels
        score:         max(0, score - score with it): the fraction of correct answers, or
                       minus the mean squared error, depending on the model's loss
        fisher:        ½ Σ_i F_i δ_i², from one gradient pass for all changes: the
                       approximate rise of the loss, with the changes δ and the diagonal
                       of the Fisher information F

    The first two run the model once for each change, the third never.

    Args:
        model: a Sequential or Functional model, or a subclassed one whose `call` uses
            Keras only; compiled for `"fisher"`.
        data: inputs for `"output_error"`, `(x, y)` for `"score"`, batches `(x, y)` for
            `"fisher"`; several hundred samples are enough.
        bits: numbers of bits per weight.
        sparsity: fractions of a kernel's weights to remove.
        rank: fractions of the full rank to keep.
        channels: fractions of a group's channels to remove.
        measure: `"output_error"`, `"score"` or `"fisher"`.

    Returns:
        A `Sensitivity`.

    Raises:
        TypeError: if `model` is not a Keras 3 model.
        ValueError: if there is no kernel to change, the data are not as the measure
            requires, or outputs are not finite.

    Source: Dong et al., "HAWQ" (2019), for sensitivity per layer; Theis et al., "Faster
    gaze prediction with dense networks and Fisher pruning" (2018), for the Fisher
    information.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)),
        ...     keras.layers.Dense(16, name="a"), keras.layers.Dense(4, name="b")])
        >>> x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
        >>> found = tfc.sensitivity(model, x, bits=[8, 2], rank=[], channels=[])
        >>> found["a"].harms["2 bits"] > found["a"].harms["8 bits"]
        True
    """
    data = MEASURES[measure].check("sensitivity(data)", data)
    flat = folded(model)
    layers = matrix_layers(flat)
    if not layers:
        raise ValueError(
            f"Model {model.name!r} has no dense, convolution or depthwise kernel to try "
            "changes on."
        )
    graph = ChannelGraph(flat)
    groups = free_groups(graph) if channels else []
    edits = [
        [
            *(bits_edit(layer, b) for b in bits),
            *(sparsity_edit(layer, s) for s in sparsity),
            *(rank_edit(layer, r) for r in rank),
        ]
        for layer in layers.values()
    ]
    edits += [[channels_edit(graph, group, c) for c in channels] for group in groups]
    harms = _measured(model, flat, edits, data, measure)
    rows = [
        {edit.name: harm for edit, harm in zip(*pair, strict=True)}
        for pair in zip(edits, harms, strict=True)
    ]
    counts = macs(flat)
    of_layers = [
        LayerSensitivity(path, layer.kernel.numpy().size, counts[id(layer)], row)
        for (path, layer), row in zip(layers.items(), rows, strict=False)
    ]
    of_groups = [
        _of_group(flat, counts, group, row)
        for group, row in zip(groups, rows[len(layers) :], strict=True)
    ]
    return Sensitivity(model.name, measure, tuple(of_layers), tuple(of_groups))


def _measured(model, flat, edits, data, measure):
    if measure == "fisher":
        return rises_of_loss(model, flat, edits, data)
    if measure == "score":
        return drops_of_score(model, flat, edits, data)
    return errors_of_outputs(flat, edits, data)


def _of_group(flat, counts, group, harms):
    makers = [flat.get_layer(name) for name in group.layers("output")]
    makers = [layer for layer in makers if isinstance(layer, keras.Layer)]
    parameters = sum(layer.count_params() for layer in makers)
    total = sum(counts.get(id(layer), 0) for layer in makers)
    return LayerSensitivity(group.name, parameters, total, harms)
