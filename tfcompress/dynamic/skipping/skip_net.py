"""A residual network with a gate for each block."""

import threading

import keras
import numpy as np
from keras import ops

from tfcompress.core.data import Samples
from tfcompress.core.graph import Graph, editable, rewire
from tfcompress.core.keras_internals import (
    added_loss,
    compile_arguments,
)
from tfcompress.core.kinds import (
    BuiltModel,
    Each,
    Integer,
    Name,
    Number,
    OneOf,
    Text,
    checked,
)
from tfcompress.core.macs import macs
from tfcompress.distillation.reduction import show
from tfcompress.dynamic.skipping.blocks import find_blocks
from tfcompress.dynamic.skipping.deployed import deployed
from tfcompress.dynamic.skipping.gates import GATES, GatedAdd, HardGate

GRADIENTS = ("straight_through", "reinforce")


@keras.saving.register_keras_serializable("tfcompress")
class SkipNet(keras.Model):
    """Decides for each sample which residual blocks run.

        y = x + g(x) f(x),  g in {0, 1}

    Each gate g looks at the channel means of the block's input; where it is 0 the
    block's output is x, bit for bit. Gates begin open with a probability of 0.9. The
    loss is

        L = L_task + cost_weight (share - target_macs)_+

    where `share` is the batch's mean of the MACs that were used, those of gates
    included, over the MACs of the model without gates. Two ways to train gates:

    - `"straight_through"`: a gate is 1 where its logit s is positive, and dg/ds is that
      of σ(s). The first phase of the paper.
    - `"reinforce"`: in training a gate is drawn with P(g = 1) = σ(s), and learns from
      rewards; the other weights learn from the task as before (the paper's hybrid
      training, its second phase). The reward of gate k of N

          r_k = -L_task - λ Σ_{j>=k} g_j c_j

      counts the cost c_j of the blocks from its own on, as a share of all MACs. λ is the
      derivative of the penalty: `cost_weight`, or 0 where the target is met. The
      gradient is that of `-policy_weight Σ_k (r_k - mean r_k) log P(g_k)`.

    It compiles, trains, evaluates, predicts and saves like any Keras model. While it
    trains, all blocks run for all samples.

    Args:
        model: a built Keras model with residual blocks, best a trained one. It is not
            changed.
        at: names of the additions at the end of blocks, or regular expressions for them;
            None for all blocks with identity shortcuts.
        gate: `"pooled"`: two dense layers for each block; `"recurrent"`: one LSTM cell
            for all blocks, which knows what it saw before.
        target_macs: the share of MACs below which nothing is to be saved any more.
        cost_weight: of the penalty for MACs.
        gradient: `"straight_through"` or `"reinforce"`; `skip_net.gradient` may be set
            before `compile`.
        policy_weight: of the reward's gradient.
        name: of the model.

    Attributes:
        blocks: names of the blocks that have a gate, in the order in which they run.

    Raises:
        TypeError: if `model` is no Keras model.
        ValueError: if a block is unknown or changes the shape, or there is none.

    Metrics: `macs`, the mean share of MACs.

    Source: Wang et al., "SkipNet: Learning Dynamic Routing in Convolutional Networks"
    (2018).

    Example:
        >>> inputs = keras.Input((8,))
        >>> x = keras.layers.Dense(8, "relu")(inputs)
        >>> x = keras.layers.Add(name="block")([x, keras.layers.Dense(8)(x)])
        >>> model = keras.Model(inputs, keras.layers.Dense(2)(x))
        >>> skip_net = SkipNet(model, target_macs=0.8)
        >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        >>> skip_net.compile("adam", loss)
        >>> x, y = np.ones((4, 8)), np.zeros(4)
        >>> sorted(skip_net.fit(x, y, verbose=0).history)
        ['loss', 'macs']
        >>> skip_net.decisions(x)
        {'block': array([ True,  True,  True,  True])}
    """

    # Weights of the model have the same names and rules in here.
    wraps_model = True

    @checked
    def __init__(
        self,
        model: BuiltModel(),
        at: Each(Text(), "names of additions", least=1) = None,
        gate: OneOf(*GATES) = "pooled",
        target_macs: Number(0) = 0.0,
        cost_weight: Number(0) = 1.0,
        gradient: OneOf(*GRADIENTS) = "straight_through",
        policy_weight: Number(0) = 1.0,
        name: Name() = None,
    ):
        super().__init__(name=name, dtype=model.dtype_policy, autocast=False)
        flat = editable(model, "put gates into")
        graph = Graph(flat)
        blocks = find_blocks(flat, graph, at)
        self.blocks = [block.name for block in blocks]
        self.gate = gate
        self.target_macs, self.cost_weight = target_macs, cost_weight
        self.policy_weight = policy_weight
        self.gated = _with_gates(flat, blocks, GATES[gate]())
        self._output_names = list(flat.output_names)
        total = max(sum(macs(flat).values()), 1)
        with_gates = sum(macs(self.gated).values())
        self._shares = np.array([block.macs / total for block in blocks], "float32")
        self._fixed_share = with_gates / total - float(self._shares.sum())
        self._latest = threading.local()
        self._macs_metric = keras.metrics.Mean("macs")
        self.gradient = gradient
        self.built = True

    @property
    def output_names(self):
        """The model's, by which losses and metrics may be given."""
        return self._output_names

    @property
    def gradient(self):
        """How gates learn; before `compile` it may be changed."""
        return self._gradient

    @gradient.setter
    def gradient(self, gradient):
        self._gradient = OneOf(*GRADIENTS).check("SkipNet(gradient)", gradient)
        for layer in self.gated.layers:
            if isinstance(layer, HardGate):
                layer.samples = gradient == "reinforce"

    def call(self, inputs, training=None):
        """The outputs of the model."""
        run = self.gated(inputs, training=training)
        self._latest.run = run
        return run["outputs"]

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        """The task's loss, the penalty for MACs, and the gradient of the policy."""
        if self.gradient == "reinforce":
            self._check_one_loss()
        total = super().compute_loss(x, y, y_pred, sample_weight, training)
        run = self._run_of(x, y_pred, training)
        gates = ops.cast(run["gates"], "float32")
        shares = self._used(gates)
        show(self._macs_metric, ops.mean(shares), x)
        excess = ops.mean(shares) - self.target_macs
        total += added_loss(self, self.cost_weight * ops.relu(excess))
        if self.gradient == "reinforce" and training:
            task = self._loss_of_each(y, y_pred)
            price = self.cost_weight * ops.cast(excess > 0, "float32")
            policy = _policy_loss(run, task, price * self._shares)
            total += added_loss(self, self.policy_weight * policy)
        return total

    def _run_of(self, x, y_pred, training):
        run = getattr(self._latest, "run", None)
        flat = keras.tree.flatten(y_pred)
        if run is None or keras.tree.flatten(run["outputs"])[0] is not flat[0]:
            # Keras, or a user, asks for the loss apart from the call.
            run = self.gated(x, training=training)
        return run

    def _used(self, gates):
        return self._fixed_share + ops.sum(gates * self._shares, axis=-1)

    def _check_one_loss(self):
        loss = compile_arguments(self)["loss"] if self.compiled else None
        if loss is None or isinstance(loss, (dict, list, tuple)):
            raise ValueError(
                f"SkipNet(gradient='reinforce') rewards gates by one loss: got "
                f"compile(loss={loss!r}). Pass one loss for one output, or train with "
                "gradient='straight_through'."
            )

    def _loss_of_each(self, y, y_pred):
        """The loss of each sample, `(batch,)`."""
        loss = keras.losses.get(compile_arguments(self)["loss"])
        values = (loss.call if isinstance(loss, keras.Loss) else loss)(y, y_pred)
        values = ops.cast(values, "float32")
        return ops.mean(ops.reshape(values, (ops.shape(values)[0], -1)), axis=-1)

    @checked
    def decisions(self, x: Samples(), batch_size: Integer(1) = 32):
        """Which samples run which block.

        Args:
            x: inputs.
            batch_size: how many run at a time.

        Returns:
            `{block: boolean array (samples,)}`.
        """
        gates = self._predicted_gates(x, batch_size)
        return {name: gates[:, k] > 0 for k, name in enumerate(self.blocks)}

    @checked
    def macs_used(self, x: Samples(), batch_size: Integer(1) = 32):
        """The share of the model's MACs that each sample uses, gates included.

        Args:
            x: inputs.
            batch_size: how many run at a time.

        Returns:
            Array `(samples,)`; above 1 where all blocks run, since gates cost some.
        """
        gates = self._predicted_gates(x, batch_size)
        return ops.convert_to_numpy(self._used(gates))

    def _predicted_gates(self, x, batch_size):
        return self.gated.predict(x, batch_size=batch_size, verbose=0)["gates"]

    def plain(self):
        """The model without gates: a functional copy in which every block runs."""

        def call(key, operation, /, *args, **kwargs):
            if isinstance(operation, GatedAdd):
                shortcut, branch, _ = args
                name = operation.name.removesuffix("_gated")
                return keras.layers.Add(name=name)([shortcut, branch])
            return operation(*args, **kwargs)

        outputs = self.gated.output["outputs"]
        return rewire(keras.Model(self.gated.input, outputs), call)

    def deployed(self):
        """A functional copy that runs only what it needs, for `tfc.export_tflite`.

        In a file for one sample, blocks whose gate is closed take no time (`IF`).
        """
        return deployed(self.gated, self.name)

    def get_config(self):
        """The constructor's arguments."""
        return {
            "name": self.name,
            "model": keras.saving.serialize_keras_object(self.plain()),
            "at": self.blocks,
            "gate": self.gate,
            "target_macs": self.target_macs,
            "cost_weight": self.cost_weight,
            "gradient": self.gradient,
            "policy_weight": self.policy_weight,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Restores the model."""
        restore = keras.saving.deserialize_keras_object
        return cls(**{k: restore(v, custom_objects) for k, v in config.items()})


def _with_gates(flat, blocks, logit_of):
    """A model of `outputs`, `gates` and their `logits`, `(batch, blocks)` each."""
    by_key = {block.addition.key: block for block in blocks}
    gates, logits = [], []

    def call(key, operation, /, *args, **kwargs):
        block = by_key.get(key)
        if block is None:
            return operation(*args, **kwargs)
        first, second = keras.tree.flatten(args)
        if block.shortcut is not block.addition.inputs[0]:
            first, second = second, first
        logits.append(logit_of(first, f"{block.name}_gate"))
        gates.append(HardGate(name=f"{block.name}_gate")(logits[-1]))
        return GatedAdd(name=f"{block.name}_gated")(first, second, gates[-1])

    copy = rewire(flat, call)
    outputs = {"outputs": copy.output, "gates": gates, "logits": logits}
    for kind in ("gates", "logits"):
        outputs[kind] = ops.concatenate(outputs[kind], axis=-1)
    return keras.Model(copy.input, outputs)


def _policy_loss(run, task, costs):
    """What has the gradient of REINFORCE.

    Args:
        run: with `gates` and `logits`, `(batch, blocks)`.
        task: the loss of each sample.
        costs: of each block.
    """
    gates = ops.cast(ops.stop_gradient(run["gates"]), "float32")
    logits = ops.cast(run["logits"], "float32")
    later = ops.flip(ops.cumsum(ops.flip(gates * costs, -1), -1), -1)
    rewards = -ops.expand_dims(task, -1) - later
    advantages = ops.stop_gradient(rewards - ops.mean(rewards, axis=0))
    log_probabilities = gates * logits - ops.softplus(logits)
    return -ops.mean(ops.sum(advantages * log_probabilities, axis=-1))
