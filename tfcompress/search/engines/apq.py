"""Members bred by what a network predicts of them, which was trained on few."""

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
# Of the predictor's training, all members in each.
_STEPS = 300
_LEARNING_RATE = 1e-3


class APQ(SearchEngine):
    """Breeds members by a learned predictor of their scores, and scores the last few.

    A predictor reads members one-hot, a block of zeros and a one for each thing to choose:

        ŝ(c) = v · relu(W_3 relu(W_2 relu(W_1 [e(c_1), ..., e(c_d)] + b_1) + b_2) + b_3)

    with layers of 400 units, trained on `mean (ŝ - s)²` of scores `s` that were measured,
    by their mean and spread. It is trained on members of which only the structure
    (channels, rank, block) is chosen, and from there on members of which what is stored
    (sparsity, bits, clusters) is chosen too, which are fewer. Spaces with one kind of
    choices have one training, on as many members as both.

    Evolution keeps the 25 best of 100 members by the predictor, and adds 50 mutated ones
    (each choice is drawn anew with probability 0.1) and 50 crossed ones (each choice is
    either parent's). Members above the limits are repaired: a random choice of those
    that count goes on by one place, in the order of what they save, until they fit. The
    last ones with the highest predictions are scored; of all that were scored the best
    within the limits is proposed.

    The paper evolves once, with a predictor trained on many thousands of members of a
    network that was trained for all of its widths. Here there are some hundred members of
    a network that was not, most of which would be at chance if they were drawn evenly.
    So random members begin as the whole model, and random choices go on, each as often as
    a weight that is drawn for it, until a random part of the way to the limits is done;
    and evolution is run several times, each time with a predictor that learned from the
    members that the last one was wrong about.

    Args:
        samples: members of which the structure is chosen, to train on.
        transferred: members of which all is chosen, to train on.
        finalists: members that are scored after each evolution.
        refinements: how often members are evolved and scored.
        rounds: of each evolution.
        seed: of all that is drawn.

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
        """The best member that was scored, once evolution is over."""
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
        """`[(which rows have choices other than the first, members)]`."""
        is_structure = np.array([dimension in STRUCTURE for dimension, *_ in rows])
        every = np.ones(len(rows), bool)
        if is_structure.all() or not is_structure.any():
            return [(every, self.samples + self.transferred)]
        return [(is_structure, self.samples), (every, self.transferred)]

    def _refine(self, breeder):
        """Scores those of the last members that are new, and learns from them."""
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
    """Members by what is predicted of them, the best first.

    Args:
        breeder: a `Breeder`.
        predict: function of a list of members that returns a number for each.
        rounds: of evolution.
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
    """The different ones, the best first."""
    different = [np.array(p) for p in dict.fromkeys(map(_key, population))]
    return [different[i] for i in np.argsort(-predict(different), kind="stable")]


def _key(places):
    return tuple(int(place) for place in places)


def one_hot(places, sizes):
    """A block for each row, with a one at the place of its choice.

    Args:
        places: of choices, one for each row.
        sizes: how many choices each row has.

    >>> one_hot([1, 0], [3, 2])
    array([0., 1., 0., 1., 0.], dtype=float32)
    """
    found = np.zeros(np.sum(sizes), np.float32)
    found[np.cumsum(sizes) - sizes + places] = 1
    return found


class Predictor:
    """Says what members will score.

    Args:
        sizes: how many choices each row has.
        seed: of its first weights.
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
        """Goes on from what it learned before.

        Args:
            population: members, by the places of their choices.
            scores: of them; those that are not finite count as the lowest.
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
    """A function that lowers the squared error, by Adam on all samples at once."""
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
        """A random part of the way to the limits."""
        return self._generator.uniform()

    def drawn(self, moving, part=1.0):
        """A random member; how even its choices are is random too.

        Args:
            moving: booleans, which rows have other choices than the first.
            part: of the way from the whole model to the limits that it goes.
        """
        limits = [self._limit(cost, moving, part) for cost in self._costs]
        unevenness = self._generator.uniform()
        weights = self._generator.exponential(size=moving.size) ** unevenness
        first = np.zeros(moving.size, int)
        return self._within(first, limits, moving * weights)

    def mutated(self, parents):
        """One of the parents, with some choices drawn anew."""
        places = self._one_of(parents)
        is_new = self._generator.random(places.size) < _MUTATION
        return self._repaired(
            np.where(is_new, self._generator.integers(self.sizes), places)
        )

    def crossed(self, parents):
        """Each choice of one of two parents."""
        one, other = self._one_of(parents), self._one_of(parents)
        is_first = self._generator.random(one.size) < 0.5
        return self._repaired(np.where(is_first, one, other))

    def _one_of(self, parents):
        return parents[self._generator.integers(len(parents))]

    def _repaired(self, places):
        limits = [cost.limit for cost in self._costs]
        return self._within(places, limits, np.ones(places.size))

    def _limit(self, cost, moving, part):
        """On the way from the whole model to what moving rows reach of a limit."""
        last = np.where(moving, self.sizes - 1, 0)
        reached = max(cost.limit, cost(last))
        whole = max(cost(np.zeros_like(last)), reached)
        return part * reached + (1 - part) * whole

    def _within(self, places, limits, weights):
        """Moves random rows on until the costs are within limits.

        Args:
            places: of the choices.
            limits: of the costs.
            weights: how often each row moves.
        """
        places = places.copy()
        for cost, limit, rows in zip(self._costs, limits, self._rows, strict=True):
            while cost(places) > limit:
                odds = weights[rows] * (places[rows] < self.sizes[rows] - 1)
                if not odds.any():
                    break
                places[self._generator.choice(rows, p=odds / odds.sum())] += 1
        return places
