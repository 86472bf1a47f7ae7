"""Bits for each layer such that the model fits a budget."""

import dataclasses
import re

import numpy as np

from tfcompress.core.data import Batches, Data, Samples
from tfcompress.core.kinds import (
    Anything,
    BuiltModel,
    Each,
    Integer,
    Number,
    OneOf,
    checked,
)
from tfcompress.core.text import Table, as_text
from tfcompress.quantization.post_training.folded import folded, matrix_layers
from tfcompress.search import knapsack
from tfcompress.search.edits import bits_edit
from tfcompress.search.harms import drops_of_score, errors_of_outputs
from tfcompress.search.hessian import hessian_traces
from tfcompress.search.kernels import rounded
from tfcompress.transforms.uniform import Uniform

SENSITIVITIES = ("output_error", "hessian_trace", "score")

_SAMPLES = {"output_error": Samples(), "hessian_trace": Batches(), "score": Data()}


@dataclasses.dataclass(frozen=True)
class LayerBits:
    """The bits chosen for one layer.

    Attributes:
        name: name of the layer; its path if it is inside another one.
        parameters: number of weights in its kernel.
        bits: bits chosen for its weights.
        sensitivities: `{bits: harm}`, in the unit of the chosen sensitivity.
    """

    name: str
    parameters: int
    bits: int
    sensitivities: dict

    @property
    def size_bytes(self):
        """Bytes of the kernel."""
        return self.parameters * self.bits / 8


@dataclasses.dataclass(frozen=True)
class MixedPrecision:
    """Bits for each layer; prints as a table.

    Attributes:
        model: name of the model.
        layers: list of `LayerBits`.
        sensitivity: the measure of harm that was minimised.
    """

    model: str
    layers: list
    sensitivity: str

    @property
    def rules(self):
        """`{pattern: transforms}` for `tfc.compress`."""
        return {re.escape(a.name): [Uniform(a.bits)] for a in self.layers}

    @property
    def bits(self):
        """`{pattern: bits}` for `tfc.quantize_weights`."""
        return {re.escape(a.name): a.bits for a in self.layers}

    @property
    def size_bytes(self):
        """Bytes of all kernels."""
        return sum(a.size_bytes for a in self.layers)

    @property
    def average_bits(self):
        """Bits per weight, on average."""
        return 8 * self.size_bytes / sum(a.parameters for a in self.layers)

    def table(self):
        """A `rich.table.Table`."""
        title = (
            f"{self.model}: {self.average_bits:.3f} bits on average, "
            f"{self.size_bytes:,.0f} bytes of kernels; {self.sensitivity}"
        )
        table = Table(title=title, title_justify="left")
        table.add_column("layer", overflow="fold")
        table.add_column("weights", justify="right")
        table.add_column("bits", justify="right")
        table.add_column("bytes", justify="right")
        choices = list(self.layers[0].sensitivities)
        for bits in choices:
            table.add_column(f"harm at {bits}", justify="right")
        for row in self.layers:
            table.add_row(
                row.name,
                f"{row.parameters:,}",
                str(row.bits),
                f"{row.size_bytes:,.0f}",
                *[f"{row.sensitivities[bits]:.3g}" for bits in choices],
            )
        return table

    def __str__(self):
        return as_text(self.table())


@checked
def mixed_precision(
    model: BuiltModel(),
    samples: Anything("inputs, or data (x, y) where the sensitivity needs targets"),
    average_bits: Number(above=0) = None,
    budget_bytes: Number(above=0) = None,
    bits: Each(Integer(2, 8), "integers from 2 to 8, at least one", least=1) = (
        2,
        4,
        8,
    ),
    sensitivity: OneOf(*SENSITIVITIES) = "output_error",
) -> MixedPrecision:
    """Chooses the bits of each kernel such that the model is harmed least.

        minimise  Σ_l Ω_l(b_l)    subject to    Σ_l n_l b_l <= 8 budget_bytes

    over the layers `l` with `n_l` weights, solved exactly as a multiple-choice knapsack.
    The harm of rounding layer `l` alone to `b` bits is

        output_error:   Ω_l(b) = Σ_o E‖f_o(x; W) - f_o(x; W with W̃_l)‖² / E‖f_o - E f_o‖²
        hessian_trace:  Ω_l(b) = tr(H_l) / n_l · ‖W̃_l - W_l‖²
        score:          Ω_l(b) = max(0, score(W) - score(W with W̃_l))

    with the model's outputs `f_o`, each relative to its spread; the Hessian `H_l` of the
    compiled loss, whose trace is given by Hutchinson's estimator: the mean of `vᵀ H v` over
    random signs `v`; and the score in terms of the model's loss, as in
    `tfc.quantize_ladder`: the fraction of correct answers, or minus the mean squared error.
    Where scores are equal, the output error decides. `W̃` is rounded to the nearest level,
    with the steps of least squared error.

    Bytes are counted as `b` bits per weight. A plain `.tflite` file stores 2 and 3 bits as
    4, and 5 to 7 as 8; with a codec, every bit saved counts.

    Args:
        model: a Sequential or Functional model, or a subclassed one whose `call` uses
            Keras only; compiled for `"hessian_trace"`, which uses its loss.
        samples: inputs as in `tfc.quantize_weights` for `"output_error"`; batches
            `(x, y)` for `"hessian_trace"`; such inputs and their targets, `(x, y)`, for
            `"score"`.
        average_bits: largest average number of bits per weight.
        budget_bytes: largest number of bytes of all kernels.
        bits: numbers of bits to choose from, 2 to 8.
        sensitivity: `"output_error"`, `"hessian_trace"` or `"score"`.

    Returns:
        A `MixedPrecision`: `rules` for `tfc.compress`, `bits` for
        `tfc.quantize_weights`, for the layers whose kernels that function rounds.

    Raises:
        TypeError: if `model` is not a Keras 3 model.
        ValueError: if an argument is out of range, the budget is too small for the fewest
            bits, or outputs are not finite.

    Source: Dong et al., "HAWQ-V2" (2020); bits chosen by integer programming: Yao et al.,
    "HAWQ-V3" (2021).

    Example:
        >>> model = keras.Sequential([keras.Input((8,)),
        ...     keras.layers.Dense(16, name="a"), keras.layers.Dense(4, name="b")])
        >>> x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
        >>> plan = tfc.mixed_precision(model, x, average_bits=4)
        >>> plan.average_bits <= 4
        True
        >>> sorted(plan.rules)
        ['a', 'b']
    """
    bits = tuple(sorted(bits))
    samples = _SAMPLES[sensitivity].check("mixed_precision(samples)", samples)
    if (average_bits is None) == (budget_bytes is None):
        count = 0 if average_bits is None else 2
        raise ValueError(
            f"mixed_precision got {count} of average_bits and budget_bytes: expected "
            "exactly one."
        )
    flat = folded(model)
    found = matrix_layers(flat)
    if not found:
        raise ValueError(
            f"Model {model.name!r} has no dense, convolution or depthwise kernel to "
            "choose bits for."
        )
    paths, layers = list(found), list(found.values())
    if sensitivity == "hessian_trace":
        traces = hessian_traces(
            model, [layer.kernel for layer in layers], samples, flat
        )
        harms = _errors_of_weights(layers, bits) * traces[:, None]
    else:
        edits = [[bits_edit(layer, b) for b in bits] for layer in layers]
        harms = (
            drops_of_score(model, flat, edits, samples)
            if sensitivity == "score"
            else errors_of_outputs(flat, edits, samples)
        )
    harms = np.array(harms)
    counts = np.array([layer.kernel.numpy().size for layer in layers])
    budget = counts.sum() * average_bits if average_bits else 8 * budget_bytes
    choice = choose(harms, np.outer(counts, bits), budget)
    rows = [
        LayerBits(path, int(n), bits[c], dict(zip(bits, harm, strict=True)))
        for path, n, c, harm in zip(paths, counts, choice, harms.tolist(), strict=True)
    ]
    return MixedPrecision(model.name, rows, sensitivity)


def choose(harms, sizes, budget):
    """The column of each row such that the sum of harms is least within the budget.

    Args:
        harms: array `(rows, choices)`, not negative; those not finite are not chosen.
        sizes: array `(rows, choices)` of integers.
        budget: the largest sum of sizes.

    Returns:
        An array `(rows,)` of columns.

    Raises:
        ValueError: if even the smallest sizes exceed the budget.

    >>> choose(np.array([[9.0, 1.0], [4.0, 0.0]]), np.array([[1, 2], [1, 2]]), 3)
    array([1, 0])
    """
    allowed = np.isfinite(harms)
    if not allowed.any(axis=1).all():
        raise ValueError(
            "For one of the kernels, the harm is not finite for any of the bits: "
            "check that weights, samples and outputs are finite, and allow more bits."
        )
    least = np.where(allowed, sizes, np.inf).min(axis=1).sum()
    if least > budget:
        raise ValueError(
            f"The budget of {budget / 8:,.0f} bytes is too small: with the fewest bits, "
            f"kernels take {least / 8:,.0f}. Allow more bytes, or fewer bits."
        )
    cost = knapsack.Cost(budget)
    for row, of_row in enumerate(sizes):
        cost.add((row,), of_row)
    return np.array(knapsack.choose(np.where(allowed, harms, np.inf), [cost]))


def _errors_of_weights(layers, bits):
    """`‖W̃ - W‖² / n`, array `(layers, bits)`."""
    kernels = [layer.kernel.numpy() for layer in layers]
    return np.array(
        [
            [np.mean(np.square(rounded(layer, kernel, b) - kernel)) for b in bits]
            for layer, kernel in zip(layers, kernels, strict=True)
        ]
    )
