"""Members evolved by the predictions of a network that is trained on few of them."""

import keras
import numpy as np
import tensorflow as tf

from tfcompress.core.kinds import Integer
from tfcompress.core.nouns import SearchEngine
from tfcompress.search.costs import costs_of
from tfcompress.search.space import STRUCTURE

# As in the paper.
_WIDTH, _LAYERS = 400, 3
_POPULATION, _PARENTS, _MUTATED, _CROSSED = 100, 25, 50, 50
_MUTATION = 0.1
# Steps of the predictor's training, each on all members.
_STEPS = 300
_LEARNING_RATE = 1e-3


class APQ(SearchEngine):
    """Evolves members with a learned predictor of their scores, and scores the finalists.

    A predictor reads members in one-hot encoding, with a block for each choice to make:

        ŝ(c) = v · relu(W_3 relu(W_2 relu(W_1 [e(c_1), ..., e(c_d)] + b_1) + b_2) + b_3)

    with layers of 400 units, trained on `mean (ŝ - s)²` for measured scores `s`, normalized
    by their mean and standard deviation. It is first trained on members for which only the
    structure (channels, rank, block) is chosen, and then on fewer members for which storage
    (sparsity, bits, clusters) is chosen too. For spaces with only one kind of choices there
    is one training, on as many members as both.

    Evolution keeps the 25 of 100 members that are best by the predictor, and adds 50
    mutated ones (each choice is redrawn with probability 0.1) and 50 crossed ones (each
    choice is taken from either parent). Members above the limits are repaired: a random one
    of the choices that matter advances by one place, in the order of savings, until the
    limits are met. The members of the last round with the highest predictions are scored;
    the best of all scored members within the limits is proposed.

    The paper evolves once, with a predictor trained on many thousands of members of a
    network that was trained for all of its widths. Here there are a few hundred members at
    most, of a network that was not, most of which would score at chance if drawn
    uniformly. So random members begin as the whole model, and random choices advance, with
    a frequency drawn for each of them, until a random part of the way to the limits is
    covered; and evolution is repeated several times, each time with a predictor that has
    learned from the members that the previous one misjudged.

    Args:
        samples: number of members to train on for which only the structure is chosen.
        transferred: number of members to train on for which everything is chosen.
        finalists: number of members that are scored after each evolution.
        refinements: number of times that members are evolved and scored.
        rounds: rounds of each evolution.
        seed: seed of all random choices.

    Source: Wang et al., "APQ: Joint Search for Network Architecture, Pruning and
    Quantization Policy" (2020), sections 3.2 to 3.4.

    Example:
        >>> tfc.search.engines.APQ(samples=50)
        APQ(samples=50)
    """

    def __init__(
        self,
        samples: Integer(1) = 60,
        transferred: Integer(1) = 40,
        finalists: Integer(1) = 8,
        refinements: Integer(1) = 8,
        rounds: Integer(0) = 50,
        seed: Integer(0) = 0,
    ):
        self.samples, self.transferred = samples, transferred
        self.finalists, self.refinements = finalists, refinements
        self.rounds, self.seed = rounds, seed
        self._study = None

    def propose(self, study, limits):
        """The best member that was scored after all evolutions."""
        rows = study.space.flat()
        sizes = np.array([len(choices) for _, _, choices in rows])
        if not study.proxy.is_within(study.space.member(sizes - 1), limits):
            return None
        costs = costs_of(study.proxy, rows, limits)
        breeder = Breeder(sizes, costs, np.random.default_rng(self.seed))
        if self._study is not study:
            self._study, self._scores = study, {}
            self._predictor = self._trained(breeder, rows)
        for _ in range(self.refinements):
            self._refine(breeder)
        return self._best(limits)

    def _trained(self, breeder, rows):
        predictor = Predictor(breeder.sizes, self.seed)
        for moving, count in self._trainings(rows):
            places = [breeder.drawn(moving, breeder.part()) for _ in range(count)]
            predictor.train(places, self._scored(places))
        return predictor

    def _trainings(self, rows):
        """`[(rows whose choices may differ from the first, number of members)]`."""
        is_structure = np.array([dimension in STRUCTURE for dimension, *_ in rows])
        every = np.ones(len(rows), bool)
        if is_structure.all() or not is_structure.any():
            return [(every, self.samples + self.transferred)]
        return [(is_structure, self.samples), (every, self.transferred)]

    def _refine(self, breeder):
        """Scores new members of the last round, and learns from them."""
        population = evolved(breeder, self._predictor, self.rounds)
        new = [places for places in population if _key(places) not in self._scores]
        if new:
            self._scored(new[: self.finalists])
            known, scores = list(self._scores), list(self._scores.values())
            self._predictor.train(known, scores)

    def _scored(self, population):
        for places in map(_key, population):
            member = self._study.space.member(places)
            self._scores[places] = self._study.score(member)
        return [self._scores[_key(places)] for places in population]

    def _best(self, limits):
        for places in sorted(self._scores, key=self._scores.get, reverse=True):
            member = self._study.space.member(places)
            if self._study.proxy.is_within(member, limits):
                return member
        return self._study.space.member(self._predictor.sizes - 1)


def evolved(breeder, predict, rounds):
    """Members in the order of their predictions, the best first.

    Args:
        breeder: a `Breeder`.
        predict: function of a list of members that returns a number for each.
        rounds: number of rounds of evolution.
    """
    every = np.ones(breeder.sizes.size, bool)
    population = _ranked([breeder.drawn(every) for _ in range(_POPULATION)], predict)
    for _ in range(rounds):
        parents = population[:_PARENTS]
        mutated = [breeder.mutated(parents) for _ in range(_MUTATED)]
        crossed = [breeder.crossed(parents) for _ in range(_CROSSED)]
        population = _ranked([*parents, *mutated, *crossed], predict)
    return population


def _ranked(population, predict):
    """The distinct members, the best first."""
    different = [np.array(p) for p in dict.fromkeys(map(_key, population))]
    return [different[i] for i in np.argsort(-predict(different), kind="stable")]


def _key(places):
    return tuple(int(place) for place in places)


def one_hot(places, sizes):
    """A block for each row, with a one at the place of its choice.

    Args:
        places: places of the choices, one for each row.
        sizes: number of choices of each row.

    >>> one_hot([1, 0], [3, 2])
    array([0., 1., 0., 1., 0.], dtype=float32)
    """
    found = np.zeros(np.sum(sizes), np.float32)
    found[np.cumsum(sizes) - sizes + places] = 1
    return found


class Predictor:
    """Predicts the scores of members.

    Args:
        sizes: number of choices of each row.
        seed: seed of its initial weights.
    """

    def __init__(self, sizes, seed):
        self.sizes, self._moments = sizes, None
        hidden = [
            keras.layers.Dense(_WIDTH, "relu", kernel_initializer=_initializer(seed, i))
            for i in range(_LAYERS)
        ]
        last = keras.layers.Dense(1, kernel_initializer=_initializer(seed, _LAYERS))
        num_inputs = int(np.sum(sizes))
        self._model = keras.Sequential([keras.Input((num_inputs,)), *hidden, last])
        self._descend = _descent(self._model, num_inputs)

    def train(self, population, scores):
        """Continues training from the current weights.

        Args:
            population: members, as places of their choices.
            scores: their scores; those that are not finite count as the lowest.
        """
        scores = np.asarray(scores, float)
        is_finite = np.isfinite(scores)
        lowest = scores[is_finite].min() if is_finite.any() else 0.0
        scores = np.where(is_finite, scores, lowest)
        if self._moments is None:
            self._moments = scores.mean(), scores.std() or 1.0
        mean, spread = self._moments
        wanted = (scores - mean) / spread
        self._descend(self._encoded(population), wanted[:, None].astype(np.float32))

    def __call__(self, population):
        """The predictions, `(members,)`."""
        mean, spread = self._moments
        found = self._model(self._encoded(population), training=False)
        return mean + spread * found.numpy()[:, 0]

    def _encoded(self, population):
        return np.stack([one_hot(places, self.sizes) for places in population])


def _initializer(seed, layer):
    return keras.initializers.GlorotUniform(seed=seed * (_LAYERS + 1) + layer)


def _descent(model, num_inputs):
    """A function that reduces the squared error with Adam, on all samples at once."""
    optimizer = keras.optimizers.Adam(_LEARNING_RATE)
    weights = model.trainable_variables
    optimizer.build(weights)
    signature = [tf.TensorSpec([None, size], tf.float32) for size in (num_inputs, 1)]

    @tf.function(input_signature=signature)
    def descend(x, y):
        for _ in tf.range(_STEPS):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(model(x, training=True) - y))
            optimizer.apply(tape.gradient(loss, weights), weights)

    return descend


class Breeder:
    """Makes members within limits, arrays with the place of the choice of each row.

    Args:
        sizes: how many choices each row has.
        costs: list of `knapsack.Cost`; with the last choice in all rows they are within
            their limits.
        generator: of random numbers.
    """

    def __init__(self, sizes, costs, generator):
        self.sizes, self._costs, self._generator = sizes, costs, generator
        self._rows = [
            np.unique([row for rows in cost.terms for row in rows]).astype(int)
            for cost in costs
        ]

    def part(self):
        """A random fraction of the way to the limits."""
        return self._generator.uniform()

    def drawn(self, moving, part=1.0):
        """A random member; how even its choices are is random too.

        Args:
            moving: booleans, the rows whose choices may differ from the first.
            part: fraction of the way from the whole model to the limits.
        """
        limits = [self._limit(cost, moving, part) for cost in self._costs]
        unevenness = self._generator.uniform()
        weights = self._generator.exponential(size=moving.size) ** unevenness
        first = np.zeros(moving.size, int)
        return self._within(first, limits, moving * weights)

    def mutated(self, parents):
        """One of the parents, with some choices redrawn."""
        places = self._one_of(parents)
        is_new = self._generator.random(places.size) < _MUTATION
        return self._repaired(
            np.where(is_new, self._generator.integers(self.sizes), places)
        )

    def crossed(self, parents):
        """A member whose choices are each taken from one of two parents."""
        one, other = self._one_of(parents), self._one_of(parents)
        is_first = self._generator.random(one.size) < 0.5
        return self._repaired(np.where(is_first, one, other))

    def _one_of(self, parents):
        return parents[self._generator.integers(len(parents))]

    def _repaired(self, places):
        limits = [cost.limit for cost in self._costs]
        return self._within(places, limits, np.ones(places.size))

    def _limit(self, cost, moving, part):
        """A limit between the cost of the whole model and what moving rows can reach."""
        last = np.where(moving, self.sizes - 1, 0)
        reached = max(cost.limit, cost(last))
        whole = max(cost(np.zeros_like(last)), reached)
        return part * reached + (1 - part) * whole

    def _within(self, places, limits, weights):
        """Advances random rows until the costs are within limits.

        Args:
            places: places of the choices.
            limits: limits of the costs.
            weights: relative frequency with which each row advances.
        """
        places = places.copy()
        for cost, limit, rows in zip(self._costs, limits, self._rows, strict=True):
            while cost(places) > limit:
                odds = weights[rows] * (places[rows] < self.sizes[rows] - 1)
                if not odds.any():
                    break
                places[self._generator.choice(rows, p=odds / odds.sum())] += 1
        return places
