"""Describes a model's weights: sizes, zeros, distinct values, bits, work."""

import collections
import dataclasses
import json
import math

import keras
import numpy as np
import rich.text

from tfcompress.core.compressed import treatments
from tfcompress.core.grid import bits_of_level, integer_grid
from tfcompress.core.kinds import BuiltModel, checked
from tfcompress.core.macs import macs
from tfcompress.core.plugin import did_you_mean
from tfcompress.core.text import Table, as_text
from tfcompress.core.walk import leaf_refs, leaves, own_variables, weight_paths
from tfcompress.export.binary import BinaryWeights, has_one_size, reads_signs


@dataclasses.dataclass(frozen=True)
class WeightReport:
    """One weight of a model.

    Attributes:
        name: path of the layer and the weight, such as `conv1/kernel`.
        layer: class of the layer.
        shape: shape of the weight.
        parameters: number of elements.
        macs: multiply-accumulates of its layer for one sample; None for weights that
            are not kernels.
        binary_macs: those of them that can be done on bits: for a kernel with one bit, or
            with three values (two planes of bits), whose inputs are all signs.
            `tfc.export_tflite` finds the same kernels and signs.
        sparsity: fraction of zeros.
        unique_values: number of distinct values.
        bits: bits of the smallest symmetric integer grid, with one scale per output
            channel, that holds the weight exactly; 1 if each channel has only its scale
            and minus its scale as values; the data type's bits if there is no grid.
        memory_bytes: bytes at these bits, without scales; weights that are neither kernels
            nor have transforms count with the bytes of their data type.
        entropy: bits per weight that an ideal code for single weights needs.
        transforms: transforms applied to it, in order.
        skipped: why there are none, or None.
    """

    name: str
    layer: str
    shape: tuple
    parameters: int
    macs: int | None
    binary_macs: int | None
    sparsity: float
    unique_values: int
    bits: int
    memory_bytes: int
    entropy: float
    transforms: tuple
    skipped: str | None


@dataclasses.dataclass(frozen=True)
class Report:
    """All weights of a model, with totals; prints as a table.

    Attributes:
        model: name of the model.
        weights: list of `WeightReport`.
    """

    model: str
    weights: tuple

    @property
    def parameters(self):
        """Number of weights."""
        return sum(w.parameters for w in self.weights)

    @property
    def nonzero_parameters(self):
        """Number of weights that are not zero."""
        return sum(round(w.parameters * (1 - w.sparsity)) for w in self.weights)

    @property
    def macs(self):
        """Multiply-accumulates of one sample."""
        return sum(w.macs or 0 for w in self.weights)

    @property
    def binary_macs(self):
        """Multiply-accumulates that can be done on bits."""
        return sum(w.binary_macs or 0 for w in self.weights)

    @property
    def real_macs(self):
        """The other multiply-accumulates; additions if only the weights are binary."""
        return self.macs - self.binary_macs

    @property
    def memory_bytes(self):
        """Bytes of all weights, each with its own bits."""
        return sum(w.memory_bytes for w in self.weights)

    @property
    def float32_bytes(self):
        """Bytes of all weights with 32 bits."""
        return 4 * self.parameters

    @property
    def sparsity(self):
        """Fraction of zeros among the kernels."""
        kernels = [w for w in self.weights if w.macs is not None]
        total = sum(w.parameters for w in kernels)
        return sum(w.parameters * w.sparsity for w in kernels) / max(total, 1)

    @property
    def entropy_bytes(self):
        """Bytes of all weights in an ideal code for single weights."""
        return math.ceil(sum(w.parameters * w.entropy for w in self.weights) / 8)

    def __getitem__(self, name):
        """The report of one weight by its name, such as `"conv1/kernel"`."""
        by_name = {w.name: w for w in self.weights}
        if name not in by_name:
            raise KeyError(
                f"No weight {name!r} in {self.model!r}.{did_you_mean(name, by_name)}"
            )
        return by_name[name]

    def to_dict(self):
        """Plain numbers, strings and lists."""
        totals = (
            "parameters",
            "nonzero_parameters",
            "macs",
            "binary_macs",
            "real_macs",
            "sparsity",
            "memory_bytes",
            "float32_bytes",
            "entropy_bytes",
        )
        return {
            "model": self.model,
            "totals": {name: getattr(self, name) for name in totals},
            "weights": [
                {
                    **dataclasses.asdict(w),
                    "shape": list(w.shape),
                    "transforms": list(w.transforms),
                }
                for w in self.weights
            ],
        }

    def to_json(self, **kwargs):
        """`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), **kwargs)

    def table(self):
        """A `rich.table.Table`."""
        table = Table(
            title=f"Weights of {self.model}",
            title_justify="left",
            caption=_CAPTION,
            caption_justify="left",
        )
        table.add_column("weight", overflow="fold")
        for name in (
            "shape",
            "parameters",
            "32-bit\nMACs",
            "1-bit\nMACs",
            "zeros",
            "values",
            "bits",
            "bytes",
            "entropy",
        ):
            table.add_column(name, justify="right")
        table.add_column("transforms, or why none", overflow="fold")
        others = {}
        for w in self.weights:
            if w.macs is None and not w.transforms:
                others.setdefault(w.skipped, []).append(w)
                continue
            table.add_row(
                w.name,
                "x".join(map(str, w.shape)),
                f"{w.parameters:,}",
                *_macs_cells(w),
                f"{w.sparsity:.1%}",
                f"{w.unique_values:,}",
                str(w.bits),
                f"{w.memory_bytes:,}",
                f"{w.entropy:.2f}",
                " → ".join(w.transforms) or rich.text.Text(w.skipped or "", "dim"),
            )
        for reason, weights in others.items():
            count = f"{sum(w.parameters for w in weights):,}"
            size = f"{sum(w.memory_bytes for w in weights):,}"
            label = f"{len(weights)} other weights"
            gap = 5 * [""]
            table.add_row(label, "", count, *gap, size, "", reason, style="dim")
        table.add_section()
        table.add_row(
            "total",
            "",
            f"{self.parameters:,}",
            f"{self.real_macs:,}",
            f"{self.binary_macs:,}",
            f"{self.sparsity:.1%}",
            "",
            "",
            f"{self.memory_bytes:,}",
            "",
            f"{self.float32_bytes:,} bytes in float32; {self.entropy_bytes:,} by entropy",
        )
        return table

    def __str__(self):
        return as_text(self.table(), width=176)


_CAPTION = (
    "1-bit MACs: kernels with one bit, or three values, whose inputs are all -1 or 1. "
    "All others count as 32-bit MACs, including those of binary kernels with real "
    "inputs, which are additions. Total zeros: those of kernels. Bytes: without scales."
)


def _macs_cells(weight):
    """32-bit and 1-bit MACs; the column that does not apply stays empty."""
    if weight.macs is None:
        return "", ""
    count = f"{weight.macs:,}"
    return ("", count) if weight.binary_macs else (count, "")


@checked
def report(model: BuiltModel()) -> Report:
    """Measures every weight of a model, compressed or plain.

    Compressed weights are measured as they will be after `tfc.strip`. Weights without a
    transform are listed with the reason.

    Args:
        model: a built Keras model.

    Returns:
        A `Report`. The graph of the model tells which binary kernels read signs; in a
        subclassed model whose graph cannot be followed, none do.

    Raises:
        TypeError: if `model` is not a Keras 3 model.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, name="d")])
        >>> print(tfc.report(model)["d/kernel"].macs)
        32
    """
    counts = macs(model)
    treated = {id(t.variable): t for _, t in treatments(model)}
    paths = weight_paths(model)
    rows, charged, binary = [], set(), {}
    for path, layer in leaves(model):
        for ref in leaf_refs(layer):
            name = paths[id(ref.variable)]
            work = None
            if ref.is_kernel:
                work = 0 if id(layer) in charged else counts.get(id(layer), 0)
                charged.add(id(layer))
            treatment = treated.get(id(ref.variable))
            value = treatment.bake() if treatment else ref.variable.numpy()
            measured = _measure(name, ref, treatment, value, work)
            if work and BinaryWeights.of(ref.layout.to_canonical(value)):
                binary[id(measured)] = layer
            rows.append((layer, measured))
        rows += [(layer, _untreatable(path, layer, v)) for v in _other_weights(layer)]
    return Report(model.name, tuple(_with_binary_macs(model, rows, binary)))


def _with_binary_macs(model, rows, binary):
    """The rows, with binary MACs for binary kernels that read signs."""
    kernels = collections.Counter(id(layer) for layer, w in rows if w.macs is not None)
    # With several kernels, as in LSTM, it is unknown which one reads the input.
    binary = {row for row, layer in binary.items() if kernels[id(layer)] == 1}
    readers = reads_signs(model) if binary else ()
    for layer, weight in rows:
        if id(weight) in binary and id(layer) in readers:
            weight = dataclasses.replace(weight, binary_macs=weight.macs)
        yield weight


def _measure(name, ref, treatment, value, work):
    matrix = ref.layout.to_canonical(value) if value.ndim else value.reshape(1, 1)
    matrix = np.reshape(matrix, (-1, ref.layout.num_outputs))
    codes, bits = _codes(matrix)
    _, counts = np.unique(codes, return_counts=True)
    is_packed = ref.is_kernel or treatment
    return WeightReport(
        name=name,
        layer=type(ref.owner).__name__,
        shape=value.shape,
        parameters=value.size,
        macs=work,
        binary_macs=None if work is None else 0,
        sparsity=_sparsity(value),
        unique_values=np.unique(value).size,
        bits=bits,
        memory_bytes=math.ceil(value.size * bits / 8) if is_packed else value.nbytes,
        entropy=_entropy(counts),
        transforms=treatment.described() if treatment else (),
        skipped=None if treatment else _reason(ref),
    )


def _codes(matrix):
    """The weights as integers on a grid, and its bits, if there is a grid."""
    scales, levels = integer_grid(matrix)
    # A channel with a single weight always is a scale times one.
    if not levels.all() or not np.any(matrix) or len(matrix) == 1:
        return matrix, matrix.dtype.itemsize * 8
    codes = np.rint(matrix / np.where(scales > 0, scales, 1.0))
    if np.all(codes) and has_one_size(matrix.T):
        return codes, 1
    return codes, bits_of_level(levels.max())


def _sparsity(value):
    return float(1.0 - np.count_nonzero(value) / max(value.size, 1))


def _entropy(counts):
    probabilities = counts / counts.sum()
    return float(-(probabilities * np.log2(probabilities)).sum()) + 0.0


def _reason(ref):
    if ref.is_kernel:
        return "no rule covers it, or it is in skip"
    return "not kernels; a rule covers them if it names them, as 'layer/bias'"


def _other_weights(layer):
    return [
        variable
        for variable in own_variables(layer)
        if not keras.backend.is_float_dtype(variable.dtype)
        and "seed_generator" not in variable.path
    ]


def _untreatable(path, layer, variable):
    value = variable.numpy()
    _, counts = np.unique(value, return_counts=True)
    return WeightReport(
        name=f"{path}/{variable.name}",
        layer=type(layer).__name__,
        shape=value.shape,
        parameters=value.size,
        macs=None,
        binary_macs=None,
        sparsity=_sparsity(value),
        unique_values=counts.size,
        bits=value.dtype.itemsize * 8,
        memory_bytes=value.nbytes,
        entropy=_entropy(counts),
        transforms=(),
        skipped=f"{variable.dtype} weights: transforms need floating point",
    )
