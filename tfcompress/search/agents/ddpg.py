"""An agent that maps few numbers to one, and learns from remembered steps."""

import collections

import keras
import numpy as np
import scipy.stats
import tensorflow as tf

_WIDTH = 300
_BATCH = 64
_TAU = 0.01
_ACTOR_RATE, _CRITIC_RATE = 1e-4, 1e-3
# How fast the mean of the rewards follows the mean of a batch.
_MEAN_RATE = 0.5


class DDPG:
    """Deep deterministic policy gradient.

    An actor `μ(s)` chooses actions, and a critic `Q(s, a)` predicts their return. On a
    batch of steps `(s, a, r, s')`, with the mean `b` of recent rewards,

        minimise  (Q(s, a) - y)²,  y = r - b + Q'(s', μ'(s')),    maximise  Q(s, μ(s))

    without the last term of `y` at the end of an episode. `Q'` and `μ'` follow slowly:
    `θ' += 0.01 (θ - θ')`.

    Args:
        num_inputs: numbers in a state.
        low: lower bound of actions, which are in [low, 1].
        capacity: how many steps are remembered.
        seed: seed of weights, noise and batches.

    Source: Lillicrap et al., "Continuous Control with Deep Reinforcement Learning"
    (2016); `b` and the noise: He et al., "AMC" (2018), section 3.3.
    """

    def __init__(self, num_inputs, low, capacity, seed):
        self._random, self._low = np.random.default_rng(seed), low
        self._steps = collections.deque(maxlen=capacity)
        self._actor, self._slow_actor = (_actor(num_inputs, low, seed) for _ in "ab")
        self._critic, self._slow_critic = (_critic(num_inputs, seed + 3) for _ in "ab")
        self._optimizers = [
            _optimizer(rate, model)
            for rate, model in (
                (_CRITIC_RATE, self._critic),
                (_ACTOR_RATE, self._actor),
            )
        ]
        self._mean = None
        self._train = tf.function(self._train_on)
        self._run = tf.function(lambda state: self._actor(state))

    def act(self, state, spread):
        """The actor's action with truncated normal noise."""
        mean = float(self._run(state[None])[0, 0])
        ends = (np.array([self._low, 1.0]) - mean) / spread
        return scipy.stats.truncnorm.rvs(
            *ends, loc=mean, scale=spread, random_state=self._random
        )

    def guess(self):
        """A uniformly random action."""
        return self._random.uniform(self._low, 1.0)

    def remember(self, states, actions, reward):
        """Stores an episode, whose reward is given to each of its steps.

        Args:
            states: list of states, one more than there are actions.
            actions: list of numbers.
            reward: the number at the end.
        """
        for place, action in enumerate(actions):
            is_last = place == len(actions) - 1
            self._steps.append(
                (states[place], [action], [reward], states[place + 1], [is_last])
            )

    def train(self, num_batches):
        """Learns from batches of remembered steps."""
        if not self._steps:
            return
        for _ in range(num_batches):
            chosen = self._random.integers(len(self._steps), size=_BATCH)
            batch = zip(*(self._steps[place] for place in chosen), strict=True)
            states, actions, rewards, following, is_last = map(np.float32, batch)
            mean = rewards.mean() if self._mean is None else self._mean
            self._mean = mean + _MEAN_RATE * (rewards.mean() - mean)
            self._train(states, actions, rewards - self._mean, following, is_last)

    def _train_on(self, states, actions, rewards, following, is_last):
        after = self._slow_critic([following, self._slow_actor(following)])
        wanted = rewards + (1 - is_last) * after
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self._critic([states, actions]) - wanted))
        self._apply(0, tape, loss, self._critic)
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(self._critic([states, self._actor(states)]))
        self._apply(1, tape, loss, self._actor)
        _follow(self._slow_critic, self._critic)
        _follow(self._slow_actor, self._actor)

    def _apply(self, place, tape, loss, model):
        gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
        self._optimizers[place].apply(gradients, model.trainable_variables)


def _actor(num_inputs, low, seed):
    state = keras.Input((num_inputs,))
    share = keras.layers.Activation("sigmoid")(_body(state, seed))
    return keras.Model(state, keras.layers.Rescaling(1 - low, low)(share))


def _critic(num_inputs, seed):
    inputs = [keras.Input((num_inputs,)), keras.Input((1,))]
    return keras.Model(inputs, _body(keras.layers.Concatenate()(inputs), seed))


def _body(x, seed):
    for place, units in enumerate((_WIDTH, _WIDTH, 1)):
        x = keras.layers.Dense(
            units,
            activation=None if units == 1 else "relu",
            kernel_initializer=keras.initializers.GlorotUniform(seed + place),
        )(x)
    return x


def _optimizer(rate, model):
    optimizer = keras.optimizers.Adam(rate)
    optimizer.build(model.trainable_variables)
    return optimizer


def _follow(slow, model):
    for mean, value in zip(slow.variables, model.variables, strict=True):
        mean.assign_add(_TAU * (value - mean))
