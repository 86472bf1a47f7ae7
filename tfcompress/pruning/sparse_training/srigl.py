"""RigL with constant fan-in."""

import math

import numpy as np

from tfcompress.core.data import Batches
from tfcompress.core.kinds import Integer, Number, PlugIn, checked
from tfcompress.core.nouns import Criterion, Scope
from tfcompress.core.rules import PATTERNS
from tfcompress.pruning.channels.masks import graph_of_masks
from tfcompress.pruning.channels.selection import free_groups, makers
from tfcompress.pruning.regrow import best
from tfcompress.pruning.scopes import rounded
from tfcompress.pruning.sparse_training.rigl import RigL
from tfcompress.pruning.sparse_training.set import FRACTION, SPARSITY


class SRigL(RigL):
    """Like `RigL`, but every neuron has the same number of inputs, or none.

    The scope gives each weight a number `n` of elements. Of its `N` neurons (or
    filters), `A` are alive, and each of these has `k = ⌊n / A⌋` inputs. An update

    1. marks as salient the elements that would stay or grow if all neurons shared them:
       the largest `|w|` of the current ones, and the largest `|dL/dw|`,
    2. ablates neurons with fewer than `γ ⌊n / N⌋` salient elements, at least 1;
       `k` grows,
    3. keeps the largest `|w|` of the neurons that are alive, at most `k` of each,
    4. fills each up to `k` with the largest `|dL/dw|`.

    So each weight has `k A` elements after every update, up to `A - 1` fewer than `n`.
    Neurons whose outputs the model returns, and those of `ignore`, are not ablated.
    `tfc.shrink` removes the ablated ones after training.

    The model must have masks, which are drawn at random, as in `SET`.

    Args:
        sparsity: fraction of the masked weights that are zero, in [0, 1).
        fraction: `f` of `RigL`, in [0, 1].
        min_salient: `γ`; 0 to ablate no neurons.
        frequency: optimizer steps between updates; None for one after each epoch.
        end_step: the step from which masks are fixed; None for three quarters of the
            training.
        drop: a `tfc.criteria` object or name; the lowest scores are dropped.
        grow: the same; the highest scores are grown.
        scope: a `tfc.scopes` object or name, which distributes the sparsity.
        data: batches over which criteria collect signals that training does not provide.
        seed: seed of all random choices, together with names of weights and steps.
        ignore: patterns of layers whose neurons are not ablated.

    Raises:
        ValueError: if the model has no `Mask` transform, or another transform comes
            before it; if the length of the training is needed but unknown; if the
            model's calls cannot be traced.

    Source: Lasby et al., "Dynamic Sparse Training with Structured Sparsity" (2024),
    section 3.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(6),
        ...     keras.layers.Dense(4)])
        >>> model = tfc.compress(model, {".*": "mask"})
        >>> model.compile("sgd", "mse")
        >>> x, y = np.ones((16, 8)), np.ones((16, 4))
        >>> sparse = tfc.callbacks.SRigL(0.75, frequency=2, scope="local")
        >>> _ = model.fit(x, y, batch_size=4, epochs=3, verbose=0, callbacks=[sparse])
        >>> inputs = (tfc.strip(model).layers[1].kernel.numpy() != 0).sum(axis=0)
        >>> len({*inputs[inputs > 0].tolist()})
        1
    """

    @checked
    def __init__(
        self,
        sparsity: SPARSITY,
        fraction: FRACTION = 0.3,
        min_salient: Number(0, 1) = 0.3,
        frequency: Integer(1) = 100,
        end_step: Integer(1) = None,
        drop: PlugIn(Criterion) = "magnitude",
        grow: PlugIn(Criterion) = "gradient",
        scope: PlugIn(Scope) = "erdos_renyi_kernel",
        data: Batches() = None,
        seed: Integer(0) = 0,
        ignore: PATTERNS = (),
    ):
        super().__init__(
            sparsity, fraction, frequency, end_step, drop, grow, scope, data, seed
        )
        self.min_salient = min_salient
        self.ignore = ignore

    def set_model(self, model):
        """Finds the masks of the model, and which neurons may be ablated."""
        super().set_model(model)
        graph, weights = graph_of_masks(model, self._masked)
        slots = makers(graph, free_groups(graph, self.ignore))
        self._mortal = {
            weights[id(slot.variable)].path
            for slot in slots
            if id(slot.variable) in weights
        }

    def _may_die(self):
        return [
            self.min_salient > 0 and weight.path in self._mortal
            for weight in self._masked
        ]

    def _drawn(self, scores):
        self._budgets = self._counts(scores)
        return [
            constant_fan_in(score, _alive(score, budget), budget)
            for score, budget in zip(scores, self._budgets, strict=True)
        ]

    def _is_ready(self, masks):
        masks = [weight.layout.to_canonical(weight.kept()) for weight in self._masked]
        return all(map(_has_constant_fan_in, masks, self._budgets))

    def _exchanged(self, masks, drop_scores, grow_scores, signals, fraction):
        found = [
            regrow_neurons(*arguments, fraction, self.min_salient)
            for arguments in zip(
                masks,
                drop_scores,
                grow_scores,
                self._budgets,
                self._may_die(),
                strict=True,
            )
        ]
        self.num_kept = sum(map(np.count_nonzero, found))
        return found


def regrow_neurons(
    mask, drop_scores, grow_scores, budget, may_die, fraction, min_salient
):
    """A mask with constant fan-in, in which some weights were exchanged for others.

    Args:
        mask: booleans in canonical form, outputs last.
        drop_scores: an array of that shape, higher = keep.
        grow_scores: an array of that shape, higher = grow.
        budget: the maximum number of elements.
        may_die: whether neurons may be ablated.
        fraction: the fraction of the elements to drop.
        min_salient: `γ`.

    >>> mask = np.array([[1, 1, 0], [1, 0, 1], [0, 1, 0], [0, 0, 1]], bool)
    >>> weights = np.array([[9, 8, 0], [7, 0, 1], [0, 6, 0], [0, 0, 2]])
    >>> gradients = np.array([[0, 0, 0], [0, 1, 0], [5, 0, 0], [0, 2, 0]])
    >>> regrow_neurons(mask, weights, gradients, 6, True, 0.34, 0.5).astype(int)
    array([[1, 1, 0],
           [1, 0, 0],
           [1, 1, 0],
           [0, 1, 0]])
    """
    rows = mask.reshape(-1, mask.shape[-1])
    drop, grow = (scores.reshape(rows.shape) for scores in (drop_scores, grow_scores))
    count = np.count_nonzero(rows)
    num_gone = rounded(fraction * count)
    lives = np.ones(rows.shape[1], bool)
    if may_die:
        stays = best(drop, rows, count - num_gone)
        salient = stays | best(grow, np.ones(rows.shape, bool), num_gone)
        lives = _living(salient.sum(axis=0), rows.shape[0], budget, min_salient)
    there = rows & lives
    stays = best(drop, there, min(count - num_gone, np.count_nonzero(there)))
    # Elements that stay rank before those that could grow.
    places = np.where(stays, _places(drop), len(rows) + _places(grow))
    return constant_fan_in(-places, lives, budget).reshape(mask.shape)


def constant_fan_in(scores, lives, budget):
    """Mask of equally many highest scores of each neuron that is alive.

    Args:
        scores: an array in canonical form, outputs last.
        lives: booleans, one for each output.
        budget: the maximum number of elements, but at least one per neuron.
    """
    rows = scores.reshape(-1, scores.shape[-1])
    fan_in = min(max(1, budget // np.count_nonzero(lives)), len(rows))
    return ((_places(rows) < fan_in) & lives).reshape(scores.shape)


def _places(scores):
    """The rank of each element in its column, 0 for the highest; ties go to the earlier."""
    order = np.argsort(-scores, axis=0, kind="stable")
    return np.argsort(order, axis=0, kind="stable")


def _alive(scores, budget):
    """Which neurons are alive initially: all, or as many as there are elements."""
    highest = scores.reshape(-1, scores.shape[-1]).max(axis=0)
    return best(highest, np.ones(highest.size, bool), min(budget, highest.size))


def _living(num_salient, num_inputs, budget, min_salient):
    """Which neurons stay alive, at least enough to hold all elements."""
    least = max(1, min_salient * (budget // num_salient.size))
    needed = math.ceil(budget / num_inputs)
    return (num_salient >= least) | best(
        num_salient, np.ones(num_salient.size, bool), needed
    )


def _has_constant_fan_in(mask, budget):
    counts = mask.reshape(-1, mask.shape[-1]).sum(axis=0)
    living = counts[counts > 0]
    return len({*living.tolist()}) == 1 and 0 <= budget - living.sum() < living.size
