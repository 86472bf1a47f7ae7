"""Removes weights without training and corrects the remaining ones."""

import dataclasses

import keras
import numpy as np

from tfcompress.core.behaviour import batch_norms, is_batch_norm
from tfcompress.core.cloning import rebuild
from tfcompress.core.data import Samples
from tfcompress.core.errors import check_finite
from tfcompress.core.graph import Graph
from tfcompress.core.keras_internals import all_layers
from tfcompress.core.kinds import BuiltModel, Flag, OneOf, PlugIn, checked
from tfcompress.core.left_out import warn_of
from tfcompress.core.matrices import bias_of, from_matrix, to_matrix
from tfcompress.core.nouns import Pattern, Rounding, Scope, Solver
from tfcompress.core.walk import leaf_of, weight_refs
from tfcompress.pruning.prune import (
    SPARSITY,
    by_rule,
    unmasked,
    warn_of_floors,
)
from tfcompress.pruning.scopes import rounded
from tfcompress.pruning.solvers.magnitude import Magnitude
from tfcompress.pruning.solvers.matrix_pattern import MatrixPattern
from tfcompress.pruning.solvers.rounding import round_kept
from tfcompress.pruning.solvers.sensitivity import (
    first_of,
    output_error,
    output_sensitivity,
)
from tfcompress.quantization.post_training.folded import matrix_layers, plain_flat
from tfcompress.quantization.post_training.inputs import measure
from tfcompress.quantization.post_training.plan import BITS, path_of, plan_bits
from tfcompress.quantization.post_training.scales import SCALES
from tfcompress.quantization.post_training.side_by_side import run_side_by_side
from tfcompress.rewrites.batch_norm import (
    before_batch_norm,
    move_statistics,
)

# Smallest sensitivity, relative to the most sensitive output of a layer.
_LEAST = 1e-4


@checked
def prune_weights(
    model: BuiltModel(),
    sparsity: SPARSITY,
    samples: Samples() = None,
    solver: PlugIn(Solver) = "obs",
    pattern: PlugIn(Pattern) = "weight",
    scope: PlugIn(Scope) = "local",
    *,
    bits: BITS = None,
    rounding: PlugIn(Rounding) = "gptq",
    scales: OneOf(*SCALES) = "output_mse",
    correct_bias: Flag() = True,
    recalibrate: Flag() = True,
) -> keras.Model:
    """Returns a plain copy of `model` with some weights removed and the others corrected.

    No training is needed: layers are treated in the order in which they run, each with
    the inputs that it gets from the layers pruned before it, so that it compensates for
    their errors, too. Outputs of a layer are weighted by how far their errors
    propagate, `E‖∂f/∂y_k‖²` for the outputs `f` of the model: those that matter more
    keep more. `tfc.prune` chooses by a criterion and corrects nothing; this is a better
    start for `fit`, and often good enough without it.

    With `bits`, the remaining weights are rounded in the same pass, each output with
    the inputs that it keeps; zeros stay zero. `tfc.export_tflite` recovers the grids.

    Layers inside other layers are treated like all others. A warning names kernels that
    are not pruned (such as recurrent kernels, embeddings, transposed and separable
    convolutions), or pruned by magnitude because their inputs cannot be observed.

    Args:
        model: a Sequential or Functional model, or a subclassed one whose `call` uses
            Keras only; compressed models are stripped.
        sparsity: fraction of the weights to remove, in [0, 1); or `{pattern: fraction}`
            with patterns as in `tfc.compress`: kernels without a pattern stay whole,
            and each pattern's fraction is distributed among the kernels that it covers.
        samples: an array, `{input name: array}` or a dataset of batches: about a
            thousand typical inputs. Optional for `solver="magnitude"`.
        solver: a `tfc.solvers` object or name: `"obs"`, the most accurate, for layers
            with up to about a thousand inputs (3x3x64 are 576); `"sparse_gpt"` for
            wider ones; `"magnitude"`, which corrects no weights.
        pattern: a `tfc.patterns` object or name.
        scope: a `tfc.scopes` object or name. `"global"` compares the errors of the
            groups of all layers at the outputs of the model, to first order; that takes
            one more pass.
        bits: 2 to 8, or `{pattern: bits}`, as in `tfc.quantize_weights`; None for floats.
        rounding: as in `tfc.quantize_weights`, if `bits` is given.
        scales: as in `tfc.quantize_weights`, if `bits` is given.
        correct_bias: whether biases compensate for the mean error if there are samples:
            `b += E[x]ᵀ W - E[z]ᵀ W̃`.
        recalibrate: whether to update the statistics of batch normalization, if there
            are samples, such that the outputs on them keep their mean and variance.

    Raises:
        TypeError: if `model` is not a Keras 3 model.
        ValueError: if an argument is out of range, samples are missing or do not fit,
            weights are not finite, or a pattern matches nothing.

    Source: Frantar & Alistarh, "Optimal Brain Compression" (2022), which recomputes the
    statistics of batch norms afterwards; compensating for the errors of earlier layers:
    Li et al., "GPTAQ" (2025), which solves this differently.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
        >>> small = tfc.prune_weights(model, 0.75, x)
        >>> tfc.report(small).sparsity
        0.75
    """
    if samples is None and solver.needs_inputs:
        raise ValueError(
            f"prune_weights(samples): got None, expected typical inputs, such as "
            f"x[:1000], for solver={solver!r}; 'magnitude' does not need them."
        )
    flat = plain_flat(model, "prune")
    copy = rebuild(flat)
    job = _Job(
        flat, solver, pattern, (bits, rounding, scales), correct_bias, recalibrate
    )
    parts = _parts(flat, job, sparsity)
    job.share_out(parts, scope, samples)
    job.run(copy, samples)
    return copy


def _parts(flat, job, sparsity):
    """`[(sparsity, Prunables)]` of the kernels that can be pruned; warns of others."""
    kernels = [unmasked(ref) for ref in weight_refs(flat) if ref.is_kernel]
    parts = by_rule(sparsity, kernels)
    left = {
        path_of(weight.ref): leaf_of(weight.ref)
        for fraction, part in parts
        for weight in part
        if fraction and id(weight.ref.variable) not in job.layers
    }
    warn_of(
        left,
        "prune_weights left {layers} whole",
        "It prunes kernels of Dense, EinsumDense, Conv1D, Conv2D and DepthwiseConv2D, with "
        "channels last; tfc.prune prunes all kernels.",
    )
    parts = [
        (fraction, [w for w in part if id(w.ref.variable) in job.layers])
        for fraction, part in parts
    ]
    return [part for part in parts if part[1]]


@dataclasses.dataclass
class _Task:
    """How a layer is treated."""

    pattern: MatrixPattern | None = None
    num_kept: int | None = None
    bits: int | None = None


class _Job:
    """Prunes and rounds the layers of a model, one after another."""

    def __init__(self, flat, solver, pattern, grid, correct_bias, recalibrate):
        self.flat, self.solver, self.pattern = flat, solver, pattern
        self.layers = {id(a.kernel): a for a in matrix_layers(flat).values()}
        self._correct_bias, self._recalibrate = correct_bias, recalibrate
        bits, self._rounding, self._scales = grid
        planned = {} if bits is None else plan_bits(flat, bits, "prune_weights")
        self._tasks = {key: _Task(bits=found) for key, found in planned.items()}
        self._before_norm = before_batch_norm(Graph(flat)) if recalibrate else set()

    def share_out(self, parts, scope, samples):
        """Determines how many groups of each kernel stay."""
        for fraction, part in parts:
            for weight in part:
                check_finite(f"Weight {weight.path}", weight.ref.variable.numpy())
                layer = self.layers[id(weight.ref.variable)]
                task = self._tasks.setdefault(id(layer), _Task())
                shape = weight.layout.canonical_shape
                task.pattern = MatrixPattern(self.pattern, shape, len(_matrix(layer)))
                total = task.pattern.unscored.size
                task.num_kept = total - rounded(fraction * total)
        if self.solver.needs_inputs:
            layers = list(self.layers.values())
            self._sensitivity = output_sensitivity(self.flat, layers, samples)
        scores = self._scores(samples) if scope.reads_scores else None
        for fraction, part in parts:
            if scores is not None:
                # Kernels that could not be scored get their own share.
                part = [weight for weight in part if id(self._task(weight)) in scores]
            tasks = list(map(self._task, part))
            if not tasks:
                continue
            found = [
                task.pattern.unscored if scores is None else scores[id(task)]
                for task in tasks
            ]
            shapes = [task.pattern.shape for task in tasks]
            counts = scope(found, shapes, fraction)
            warn_of_floors(scope, part, found, counts, fraction)
            for task, count in zip(tasks, counts, strict=True):
                task.num_kept = count

    def _scores(self, samples):
        """`{id(task): scores of its groups}`, all in the exact model."""
        found, changes, expected = {}, {}, {}
        tasks = {id(a): self._tasks.get(id(a)) for a in self.layers.values()}
        layers = [a for a in self.layers.values() if (t := tasks[id(a)]) and t.pattern]
        if not self.solver.needs_inputs:
            return {
                id(tasks[id(a)]): self.solver.scores(_matrix(a), tasks[id(a)].pattern)
                for a in layers
            }

        def visit(exact, _, exact_inputs, inputs):
            task, fed = (
                self._tasks[id(exact)],
                self._measured(exact, exact_inputs, inputs),
            )
            weight, counts = _matrix(exact), self._importance(exact)
            found[id(task)] = self.solver.scores(weight * counts, task.pattern, fed)
            change = self._pruned(exact, weight, fed) - weight
            changes[exact] = change
            expected[id(exact)] = np.sum(counts**2 * change * (fed.moments @ change))

        run_side_by_side(self.flat, self.flat, first_of(samples), layers, visit)
        # Errors at different positions may add up, for example before a mean over them.
        for key, error in output_error(self.flat, changes, samples).items():
            if error > 0 and expected[key] > 0:
                found[id(tasks[key])] *= error / expected[key]
        return found

    def _task(self, weight):
        return self._tasks[id(self.layers[id(weight.ref.variable)])]

    def run(self, copy, samples):
        """Changes the copy."""
        pairs = zip(all_layers(self.flat), all_layers(copy), strict=True)
        unseen = {id(a): (a, b) for a, b in pairs if id(a) in self._tasks}
        if samples is not None:
            layers = [exact for exact, _ in unseen.values()]
            if self._recalibrate:
                layers += batch_norms(self.flat)

            def visit(exact, layer, exact_inputs, inputs):
                if is_batch_norm(exact):
                    return move_statistics(layer, exact_inputs, inputs)
                del unseen[id(exact)]
                fed = self._measured(exact, exact_inputs, inputs)
                return self._treat(exact, layer, fed)

            run_side_by_side(self.flat, copy, samples, layers, visit)
            blind = {
                path: layer
                for path, layer in matrix_layers(self.flat).items()
                if id(layer) in unseen
            }
            is_blind = self.solver.needs_inputs or any(
                t.bits for t in self._tasks.values()
            )
            warn_of(
                blind if is_blind else {},
                "prune_weights used the magnitudes of {layers}",
                "Their inputs cannot be observed: they do not run, or in a separate graph.",
            )
        for pair in unseen.values():
            self._treat(*pair)

    def _treat(self, exact, layer, inputs=None):
        """Prunes and rounds the kernel of a copied layer, and corrects its bias."""
        task, weight = self._tasks[id(exact)], _matrix(exact)
        pruned = self._pruned(exact, weight, inputs)
        if task.bits is not None:
            grid = task.bits, self._rounding, self._scales
            pruned = round_kept(pruned, weight, *grid, inputs)
        layer.kernel.assign(from_matrix(layer, pruned))
        bias = self._free_bias(layer)
        if inputs and bias is not None:
            lost = inputs.exact_mean[:, None] @ weight - inputs.mean[:, None] @ pruned
            bias.assign_add(lost.reshape(bias.shape))

    def _pruned(self, exact, weight, inputs=None):
        """The kernel of a layer after pruning its share."""
        task = self._tasks[id(exact)]
        if task.num_kept is None or task.num_kept >= task.pattern.unscored.size:
            return weight
        if inputs is None or not self.solver.needs_inputs:
            solver = Magnitude() if self.solver.needs_inputs else self.solver
            return solver(weight, task.num_kept, task.pattern)
        counts = self._importance(exact)
        return (
            self.solver(weight * counts, task.num_kept, task.pattern, inputs) / counts
        )

    def _importance(self, exact):
        """How much errors of each output count, relative to those of others."""
        groups = len(_matrix(exact))
        slopes = np.sqrt(self._sensitivity.get(id(exact), np.ones(1)))
        least = _LEAST * slopes.max()
        return np.maximum(slopes, least or 1.0).reshape(groups, 1, -1)

    def _measured(self, exact, exact_inputs, inputs):
        needs_moments = (
            self.solver.needs_inputs or self._tasks[id(exact)].bits is not None
        )
        # Weights need not correct what a bias or batch norm compensates for.
        is_free = id(exact) in self._before_norm or self._free_bias(exact) is not None
        return measure(exact, exact_inputs, inputs, needs_moments, centered=is_free)

    def _free_bias(self, layer):
        return bias_of(layer) if self._correct_bias else None


def _matrix(layer):
    return to_matrix(layer, layer.kernel.numpy().astype(np.float64))
