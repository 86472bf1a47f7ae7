"""A network whose convolutions compute only as many channels as a sample needs."""

import re
import threading

import keras
import numpy as np
from keras import ops

from tfcompress.core.cloning import rebuild
from tfcompress.core.data import Batches, Samples
from tfcompress.core.errors import did_you_mean
from tfcompress.core.graph import Graph, editable, rewire
from tfcompress.core.keras_internals import added_loss
from tfcompress.core.kinds import (
    BuiltModel,
    Each,
    Integer,
    Name,
    Number,
    OneOf,
    PlugIn,
    Text,
    checked,
)
from tfcompress.core.macs import macs
from tfcompress.core.nouns import Criterion
from tfcompress.core.rules import Pattern
from tfcompress.dynamic.skipping.gates import pooled
from tfcompress.dynamic.skipping.rewards import check_one_loss, loss_of_each
from tfcompress.dynamic.skipping.rewired import called_on, rewired_outputs
from tfcompress.dynamic.widths import sort_channels
from tfcompress.pruning.channels.graph import ChannelGraph
from tfcompress.pruning.channels.selection import selection
from tfcompress.pruning.prune import Engine

L = keras.layers

_CONVOLUTIONS = (L.Conv1D, L.Conv2D, L.Conv3D)
_NUM_UNITS = 10


@keras.saving.register_keras_serializable("tfcompress")
class ChannelSkip(keras.Model):
    """An agent decides for each sample how many channels each convolution computes.

    The output channels of a convolution are divided into `num_groups` groups; for the
    choice a, the groups 0 … a are computed, and the others are zero. Channels are first
    sorted by importance, so that group 0 has the most important ones. The agent, an LSTM
    cell on the channel means of the inputs of all convolutions, estimates the return of
    each choice:

        Q_k(a_k) -> -L - cost_weight Σ_{j>=k} c_j (a_j + 1) / num_groups

    where c_j is the share of all MACs that convolution j has, and L the loss of the
    sample. It takes the best choice; in training, a random one with the probability
    `exploration`. The network learns from the task at the same time, unless its layers in
    `masked` are made untrainable. For a trained network, train the agent alone first.

    Estimates are `Q(a) = V + A(a)` with `A = 0` for all channels, so that what decisions
    have in common does not look like the fault of one choice (dueling networks). Their
    target is the return that follows, not the next estimate as in the paper, so that all
    decisions learn from the first sample on.

    Channels that would not be computed are only masked: training and files take as long
    as before. `macs_used` returns what could be saved.

    Args:
        model: a built Keras model with convolutions and one output, preferably trained.
            It is not changed.
        at: names of convolutions, or regular expressions for them; None for all that
            follow another convolution.
        num_groups: number of groups of channels.
        cost_weight: cost of all MACs of the model.
        exploration: the probability of a random choice in training, 0 to 1.
        criterion: criterion by which channels are sorted, a name or object; None keeps
            their order.
        data: batches for criteria that need data.
        name: name of the model.

    Attributes:
        convolutions: names of those that the agent decides on, in execution order.

    Raises:
        TypeError: if `model` is not a Keras model.
        ValueError: if a convolution is unknown, or has fewer channels than groups, or the
            model's graph cannot be followed.

    Metrics: `macs`, the mean share of MACs, including those of the agent.

    Source: RNP: Lin et al., "Runtime Neural Pruning" (2017); dueling networks: Wang et
    al., "Dueling Network Architectures for Deep Reinforcement Learning" (2016).

    Example:
        >>> model = keras.Sequential([
        ...     keras.Input((8, 3)),
        ...     keras.layers.Conv1D(8, 3, name="first"),
        ...     keras.layers.Conv1D(8, 3, name="second"),
        ...     keras.layers.GlobalAveragePooling1D(),
        ... ])
        >>> channel_skip = ChannelSkip(model)
        >>> channel_skip.compile("adam", "sparse_categorical_crossentropy")
        >>> x = np.ones((4, 8, 3))
        >>> channel_skip.decisions(x)
        {'second': array([4, 4, 4, 4])}
    """

    # Where the model is: it has the inputs, and rules name its weights.
    wraps_model = "masked"

    @checked
    def __init__(
        self,
        model: BuiltModel(),
        at: Each(Text(), "names of convolutions", least=1) = None,
        num_groups: Integer(2) = 4,
        cost_weight: Number(0) = 1.0,
        exploration: Number(0, 1) = 0.1,
        criterion: OneOf(None) | PlugIn(Criterion) = "l2",
        data: Batches() = None,
        name: Name() = None,
    ):
        super().__init__(name=name, dtype=model.dtype_policy, autocast=False)
        self.num_groups, self.cost_weight = num_groups, cost_weight
        self.exploration = exploration
        flat = editable(model, "mask channels of")
        if criterion is not None:
            channels = ChannelGraph(flat)
            engine = Engine(criterion, "filter")
            sort_channels(channels, selection(model, channels, engine, data))
        graph, costs = Graph(flat), macs(flat)
        nodes = _chosen(graph, at, num_groups)
        self.convolutions = [node.operation.name for node in nodes]
        agent = _Agent(num_groups, exploration)
        stand_ins = {node.key: agent.masked(node) for node in nodes}
        outputs = rewired_outputs(flat, graph, stand_ins)
        self.masked = rebuild(
            keras.Model(flat.input, {"outputs": outputs, **agent.made})
        )
        _prefer_all(self.masked.get_layer("agent_values"))
        total = max(sum(costs.values()), 1)
        shares = [costs[id(node.operation)] / total for node in nodes]
        self._shares = np.array(shares, "float32")
        self._fixed_share = sum(macs(self.masked).values()) / total - sum(shares)
        self._latest = threading.local()
        self._macs_metric = keras.metrics.Mean("macs")
        self.built = True

    def call(self, inputs, training=None):
        """The outputs of the model."""
        self._latest.run = self.masked(inputs, training=training)
        return self._latest.run["outputs"]

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        """The task's loss, in training plus the error of the agent's estimates."""
        total = super().compute_loss(x, y, y_pred, sample_weight, training)
        run = getattr(self._latest, "run", None)
        if run is None or run["outputs"] is not y_pred:
            run = self.masked(x, training=training)
        choices = ops.cast(run["choices"], "float32")
        self._macs_metric.update_state(self._used(choices))
        if not training:
            return total
        check_one_loss(self)
        costs = self.cost_weight * self._shares * (choices + 1) / self.num_groups
        values = ops.cast(run["values"], "float32")
        error = _estimation_error(values, choices, costs, loss_of_each(self, y, y_pred))
        return total + added_loss(self, error)

    def _used(self, choices):
        run = ops.sum(self._shares * (choices + 1) / self.num_groups, axis=-1)
        return self._fixed_share + run

    @checked
    def decisions(self, x: Samples(), batch_size: Integer(1) = 32):
        """The number of groups of channels that each sample uses.

        Args:
            x: inputs.
            batch_size: samples per batch.

        Returns:
            `{convolution: array (samples,) of integers from 1 to num_groups}`.
        """
        groups = self._predicted_choices(x, batch_size).astype(int) + 1
        return {name: groups[:, k] for k, name in enumerate(self.convolutions)}

    @checked
    def macs_used(self, x: Samples(), batch_size: Integer(1) = 32):
        """The share of the model's MACs that each sample needs, including the agent's.

        Args:
            x: inputs.
            batch_size: samples per batch.

        Returns:
            Array `(samples,)`.
        """
        choices = self._predicted_choices(x, batch_size)
        return ops.convert_to_numpy(self._used(choices))

    def _predicted_choices(self, x, batch_size):
        run = self.masked.predict(x, batch_size=batch_size, verbose=0)
        return run["choices"]

    def plain(self):
        """The model without masks: a functional copy that computes all channels."""

        def call(key, operation, /, *args, **kwargs):
            if isinstance(operation, ChannelMask):
                return args[0]
            return operation(*args, **kwargs)

        return rewire(
            keras.Model(self.masked.input, self.masked.output["outputs"]), call
        )

    def get_config(self):
        """The constructor's arguments."""
        return {
            "name": self.name,
            "model": keras.saving.serialize_keras_object(self.plain()),
            "at": self.convolutions,
            "num_groups": self.num_groups,
            "cost_weight": self.cost_weight,
            "exploration": self.exploration,
            # Channels are sorted already.
            "criterion": None,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Restores the model."""
        restore = keras.saving.deserialize_keras_object
        return cls(**{k: restore(v, custom_objects) for k, v in config.items()})


@keras.saving.register_keras_serializable("tfcompress")
class BestChoice(L.Layer):
    """The index of the largest value; in training sometimes a random one.

    Args:
        exploration: the probability of a random index.
    """

    def __init__(self, exploration, **kwargs):
        super().__init__(**kwargs)
        self.exploration = exploration
        self._seeds = keras.random.SeedGenerator()

    def call(self, values, training=None):
        best = ops.argmax(values, axis=-1, keepdims=True)
        if training:
            shape = (ops.shape(values)[0], 1)
            drawn = keras.random.randint(shape, 0, values.shape[-1], seed=self._seeds)
            explores = keras.random.uniform(shape, seed=self._seeds) < self.exploration
            best = ops.where(explores, drawn, ops.cast(best, drawn.dtype))
        return ops.cast(best, "float32")

    def compute_output_spec(self, values, training=None):
        return keras.KerasTensor((values.shape[0], 1), "float32")

    def get_config(self):
        return {**super().get_config(), "exploration": self.exploration}


@keras.saving.register_keras_serializable("tfcompress")
class ChannelMask(L.Layer):
    """Keeps the groups 0 … choice of the channels; the others become 0.

    Args:
        num_groups: channel c of C is in group `⌊c num_groups / C⌋`.
    """

    def __init__(self, num_groups, **kwargs):
        super().__init__(**kwargs)
        self.num_groups = num_groups

    def call(self, x, choice):
        groups = np.arange(x.shape[-1]) * self.num_groups // x.shape[-1]
        keeps = ops.reshape(
            groups.astype("float32") <= choice,
            (-1, *[1] * (len(x.shape) - 2), x.shape[-1]),
        )
        return ops.where(keeps, x, ops.zeros_like(x))

    def compute_output_shape(self, x_shape, choice_shape):
        return x_shape

    def get_config(self):
        return {**super().get_config(), "num_groups": self.num_groups}


class _Agent:
    """Estimates the return of each convolution's choices, one after another."""

    def __init__(self, num_groups, exploration):
        self._num_groups, self._exploration = num_groups, exploration
        self._cell = L.LSTMCell(_NUM_UNITS, name="agent_cell")
        self._values = L.Dense(num_groups, name="agent_values")
        self._states, self._all_values, self._choices = None, [], []

    @property
    def made(self):
        """`values`, `(batch, convolutions, groups)`, `choices`, `(batch, convolutions)`."""
        return {
            "values": ops.stack(self._all_values, axis=1),
            "choices": ops.concatenate(self._choices, axis=-1),
        }

    def masked(self, node):
        """A function that replaces a call of a convolution."""
        name = node.operation.name

        def stand_in(current):
            # The agent only observes: its gradient does not change the network.
            x = ops.stop_gradient(pooled(current(node.inputs[0]), f"{name}_agent"))
            features = L.Dense(_NUM_UNITS, name=f"{name}_agent_features")(x)
            if self._states is None:
                self._states = [ops.zeros_like(features), ops.zeros_like(features)]
            hidden, self._states = self._cell(features, self._states)
            self._all_values.append(_around_all(self._values(hidden)))
            choose = BestChoice(self._exploration, name=f"{name}_agent_choice")
            self._choices.append(choose(self._all_values[-1]))
            mask = ChannelMask(self._num_groups, name=f"{name}_mask")
            return mask(called_on(node, current), self._choices[-1])

        return stand_in


def _around_all(outputs):
    """Estimates of the returns: the last output is that of all groups."""
    of_all = outputs[:, -1:]
    return ops.concatenate([outputs[:, :-1] + of_all, of_all], axis=-1)


def _prefer_all(layer):
    """Makes all groups the best choice of the initial estimates."""
    kernel, bias = layer.get_weights()
    layer.set_weights([0.1 * kernel, np.linspace(-0.5, 0, len(bias))])


def _estimation_error(values, choices, costs, task):
    """The mean squared error of the estimated returns.

    Args:
        values: estimates, `(batch, convolutions, groups)`.
        choices: `(batch, convolutions)`.
        costs: costs of the choices.
        task: the loss of each sample.
    """
    taken = ops.one_hot(ops.cast(choices, "int32"), values.shape[-1])
    estimates = ops.sum(taken * values, axis=-1)
    costs_from_here = ops.flip(ops.cumsum(ops.flip(costs, axis=-1), axis=-1), axis=-1)
    returns = -ops.expand_dims(task, -1) - costs_from_here
    return ops.mean(ops.square(estimates - ops.stop_gradient(returns)))


def _chosen(graph, at, num_groups):
    nodes = [node for node in graph.nodes if isinstance(node.operation, _CONVOLUTIONS)]
    names = [node.operation.name for node in nodes]
    chosen = nodes[1:] if at is None else [n for n in nodes if _matches(n, at)]
    for pattern in at or ():
        if not any(_matches(node, [pattern]) for node in nodes):
            raise ValueError(
                f"ChannelSkip(at): {pattern!r} is not a convolution of the model: expected "
                f"{', '.join(names) or '(it has none)'}.{did_you_mean(pattern, names)}"
            )
    if not chosen:
        raise ValueError(
            "ChannelSkip: the model has no convolution after its first one. Name the "
            "convolutions to mask in `at`."
        )
    for node in chosen:
        if node.operation.filters < num_groups:
            raise ValueError(
                f"ChannelSkip(num_groups): convolution {node.operation.name!r} has "
                f"{node.operation.filters} channels, fewer than num_groups={num_groups}. "
                "Use fewer groups, or leave it out of `at`."
            )
    return chosen


def _matches(node, patterns):
    return any(
        re.fullmatch(Pattern().check("ChannelSkip(at)", pattern), node.operation.name)
        for pattern in patterns
    )
