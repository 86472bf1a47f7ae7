"""Widths as probabilities that are learned by gradients of a loss."""

import keras
import numpy as np
import tensorflow as tf

from tfcompress.core.kinds import Integer, Number
from tfcompress.core.nouns import SearchEngine
from tfcompress.search import knapsack
from tfcompress.search.costs import costs_of
from tfcompress.search.soft_widths import SoftWidths

# Logits of widths that a group does not have, and of those that were not sampled.
_NEVER = -1e9
_LEAST = -1e30


class TAS(SearchEngine):
    """Learns a probability for each width of each group of channels.

    Each group has logits `α` for the listed ratios, and `p = softmax(α)`. In each step,
    two of its widths are sampled without replacement, with the probabilities

        p̂ = softmax(z),    z_j = (log p_j + o_j) / τ,    o_j = -log(-log u_j)

    for `u_j` uniform in (0, 1), and run together, mixed by the softmax of their two `z`
    (`tfcompress/search/soft_widths.py`). `τ` decreases linearly. The step minimises

        KL(teacher, student) + λ L_cost
        L_cost = log E[cost] if F > (1 + t) R,   -log E[cost] if F < (1 - t) R,   else 0

    with the limit `R`, the cost `F` of the most probable widths, and the mean cost of
    widths that are drawn independently with `p`. The teacher is the unchanged model, so no
    labels are needed; outputs that are not classes have the squared error relative to their
    spread. Then the most probable widths within the limits are found exactly, and proposed.
    A search that was stopped repeats this training.

    The paper interpolates the channels of two widths of a network while training it; here
    those of a trained network are masked, starting with the lowest by the criterion.
    Weights do not change unless `weight_learning_rate` trains a copy of them, which is
    discarded afterwards. Depth is not searched: no block is skipped, and each group keeps
    at least one channel. The paper trains logits for 600 epochs, with a learning rate of
    0.001.

    Args:
        steps: number of training steps of the logits, by Adam, each on one batch of the
            calibration samples.
        learning_rate: learning rate of the logits.
        first_temperature: `τ` in the first step.
        last_temperature: `τ` in the last step.
        cost_weight: `λ`.
        tolerance: `t`. If limits change by less than this, the logits are reused.
        weight_learning_rate: learning rate of a copy of the weights, which are trained by
            Adam before each step of the logits, on another batch; 0 does not train them.
        seed: seed of all random choices.

    Raises:
        ValueError: when it runs, if the space has dimensions other than channels.

    Source: Dong and Yang, "Network Pruning via Transformable Architecture Search" (2019),
    section 3.

    Example:
        >>> tfc.search.engines.TAS(steps=100)
        TAS(steps=100)
    """

    def __init__(
        self,
        steps: Integer(1) = 300,
        learning_rate: Number(above=0) = 0.02,
        first_temperature: Number(above=0) = 10.0,
        last_temperature: Number(above=0) = 0.1,
        cost_weight: Number(0) = 2.0,
        tolerance: Number(0, below=1) = 0.05,
        weight_learning_rate: Number(0) = 0.0,
        seed: Integer(0) = 0,
    ):
        self.steps, self.learning_rate = steps, learning_rate
        self.first_temperature = first_temperature
        self.last_temperature = last_temperature
        self.cost_weight, self.tolerance = cost_weight, tolerance
        self.weight_learning_rate, self.seed = weight_learning_rate, seed
        self._study = self._limits = None

    def propose(self, study, limits):
        """The member with the most probable widths within the limits."""
        study.space.check_only_channels("TAS")
        rows = study.space.flat()
        narrowest = study.space.member([len(ratios) - 1 for _, _, ratios in rows])
        if not study.proxy.is_within(narrowest, limits):
            return None
        costs = costs_of(study.proxy, rows, limits)
        if self._study is not study or not self._is_near(limits):
            self._study, self._limits = study, limits
            self._logits = self._learned(SoftWidths(study.proxy, rows), rows, costs)
        surprises = -tf.nn.log_softmax(self._logits).numpy()
        found = knapsack.choose(
            [
                of_row[: len(ratios)]
                for of_row, (_, _, ratios) in zip(surprises, rows, strict=True)
            ],
            costs,
        )
        return study.space.member(found) if found else narrowest

    def _is_near(self, limits):
        return limits.keys() == self._limits.keys() and all(
            abs(limit / self._limits[name] - 1) < self.tolerance
            for name, limit in limits.items()
        )

    def _learned(self, network, rows, costs):
        """The logits, `(groups, most widths)`."""
        generator = np.random.default_rng(self.seed)
        logits = keras.Variable(first_logits(rows))

        def drawn():
            batch = network.batches[generator.integers(len(network.batches))]
            noise = generator.gumbel(size=(2, *logits.shape))
            return batch, tf.constant(noise, tf.float32)

        def error(batch, noise, temperature):
            return network.loss(batch, two_widths(logits.value, noise, temperature))

        def with_costs(*args):
            losses = [cost_loss(logits.value, cost, self.tolerance) for cost in costs]
            return error(*args) + self.cost_weight * tf.add_n(losses)

        move = _descent(with_costs, [logits], self.learning_rate)
        train = _descent(error, network.weights, self.weight_learning_rate)
        with network.normalized_by_batch():
            for temperature in np.linspace(
                self.first_temperature, self.last_temperature, self.steps
            ):
                temperature = tf.constant(temperature, tf.float32)
                if self.weight_learning_rate:
                    train(*drawn(), temperature)
                move(*drawn(), temperature)
        return logits.numpy()


def _descent(loss, variables, learning_rate):
    """A function that takes a descent step of variables on a loss."""
    optimizer = keras.optimizers.Adam(learning_rate)
    optimizer.build(variables)

    @tf.function(autograph=False)
    def descend(*args):
        with tf.GradientTape() as tape:
            value = loss(*args)
        optimizer.apply(tape.gradient(value, variables), variables)

    return descend


def first_logits(rows):
    """Initial logits, with equal probabilities, `(groups, most widths)`.

    >>> first_logits([("channels", "a", (0, 0.5)), ("channels", "b", (0,))])
    array([[ 0.e+00,  0.e+00],
           [ 0.e+00, -1.e+09]], dtype=float32)
    """
    sizes = np.array([len(choices) for _, _, choices in rows])
    is_there = np.arange(max(2, sizes.max())) < sizes[:, None]
    return np.where(is_there, 0, _NEVER).astype(np.float32)


def two_widths(logits, noise, temperature):
    """Mixtures of two widths of each group, zero for all others.

    Args:
        logits: `(groups, most widths)`.
        noise: `(2, groups, most widths)` from the Gumbel distribution: `o`, and the noise
            that samples two of the widths with the probabilities given `o`.
        temperature: `τ`.
    """
    z = (tf.nn.log_softmax(logits) + noise[0]) / temperature
    _, drawn = tf.math.top_k(tf.nn.log_softmax(z) + noise[1], k=2)
    is_drawn = tf.reduce_any(tf.one_hot(drawn, z.shape[-1], True, False), axis=-2)
    return tf.nn.softmax(tf.where(is_drawn, z, _LEAST))


def expected_cost(cost, probabilities):
    """The mean cost of choices that are drawn independently.

        E[cost] = constant + Σ_t Σ_c cost_t(c) Π_{r of t} p_r(c_r)

    Args:
        cost: a `knapsack.Cost`.
        probabilities: `(rows, most choices)`.

    >>> cost = knapsack.Cost(limit=9, constant=1)
    >>> cost.add((0, 1), [[4, 2], [2, 1]])
    >>> float(expected_cost(cost, tf.constant([[0.5, 0.5], [1.0, 0.0]])))
    4.0
    """
    total = tf.constant(cost.constant, tf.float32)
    for rows, values in cost.terms.items():
        mean = tf.constant(values, tf.float32)
        for row in reversed(rows):
            mean = tf.tensordot(mean, probabilities[row, : mean.shape[-1]], 1)
        total += mean
    return total


def cost_loss(logits, cost, tolerance):
    """The loss that drives the cost of the most probable choices to its limit.

    Args:
        logits: `(rows, most choices)`.
        cost: a `knapsack.Cost`.
        tolerance: allowed distance from the limit, as a fraction of it.
    """
    log_mean = tf.math.log(expected_cost(cost, tf.nn.softmax(logits)))
    likely = tf.one_hot(tf.argmax(logits, axis=1), logits.shape[1])
    now = expected_cost(cost, likely)
    is_above = tf.cast(now > (1 + tolerance) * cost.limit, tf.float32)
    is_below = tf.cast(now < (1 - tolerance) * cost.limit, tf.float32)
    return (is_above - is_below) * log_mean
