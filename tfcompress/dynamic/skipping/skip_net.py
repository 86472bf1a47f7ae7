"""A residual network with a gate for each block."""

import keras
from keras import ops

from tfcompress.core.keras_internals import added_loss
from tfcompress.core.kinds import (
    BuiltModel,
    Each,
    Name,
    Number,
    OneOf,
    Text,
    checked,
)
from tfcompress.dynamic.skipping.gated_model import GatedModel
from tfcompress.dynamic.skipping.gates import GATES, HardGate
from tfcompress.dynamic.skipping.rewards import check_one_loss, loss_of_each

GRADIENTS = ("straight_through", "reinforce")


@keras.saving.register_keras_serializable("tfcompress")
class SkipNet(GatedModel):
    """Decides for each sample which residual blocks run.

        y = x + g(x) f(x),  g in {0, 1}

    Each gate g reads the channel means of the block's input; where it is 0, the block's
    output is x, bit for bit. Gates start open with a probability of 0.9. The loss is

        L = L_task + cost_weight (share - target_macs)_+

    where `share` is the batch's mean of the MACs used, including those of gates, divided
    by the MACs of the model without gates. There are two ways to train gates:

    - `"straight_through"`: a gate is 1 where its logit s is positive, and dg/ds is that
      of σ(s). This is the first phase of the paper.
    - `"reinforce"`: in training, a gate is drawn with P(g = 1) = σ(s) and learns from
      rewards; the other weights learn from the task as before (the paper's hybrid
      training, its second phase). The reward of gate k of N

          r_k = -L_task - λ Σ_{j>=k} g_j c_j

      counts the cost c_j of its own and all later blocks, as a share of all MACs. λ is
      the derivative of the penalty: `cost_weight`, or 0 if the target is met. The
      gradient is that of `-policy_weight Σ_k (r_k - mean r_k) log P(g_k)`.

    It compiles, trains, evaluates, predicts and saves like any Keras model. In training,
    all blocks run for all samples. Gates also learn from the effect of augmentation on
    channel means, so black margins of crops, which later images do not have, mislead
    them; mirrored margins do not.

    Args:
        model: a built Keras model with residual blocks, preferably trained. It is not
            changed.
        at: names of the additions at the end of blocks, or regular expressions for them;
            None for all blocks with identity shortcuts.
        gate: `"pooled"`: two dense layers for each block; `"recurrent"`: one LSTM cell
            for all blocks, which remembers the earlier ones.
        target_macs: the share of MACs below which there is no penalty.
        cost_weight: weight of the penalty for MACs.
        gradient: `"straight_through"` or `"reinforce"`; `skip_net.gradient` may be set
            before `compile`.
        policy_weight: weight of the reward's gradient.
        name: name of the model.

    Attributes:
        blocks: names of the blocks that have a gate, in execution order.

    Raises:
        TypeError: if `model` is not a Keras model.
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
        super().__init__(model, at, _gates_of_blocks(gate), name)
        self.gate = gate
        self.target_macs, self.cost_weight = target_macs, cost_weight
        self.policy_weight = policy_weight
        self.gradient = gradient

    @property
    def gradient(self):
        """How gates learn; may be changed before `compile`."""
        return self._gradient

    @gradient.setter
    def gradient(self, gradient):
        self._gradient = OneOf(*GRADIENTS).check("SkipNet(gradient)", gradient)
        for layer in self.gated.layers:
            if isinstance(layer, HardGate):
                layer.samples = gradient == "reinforce"

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        """The task's loss, the penalty for MACs, and the policy's loss."""
        learns_by_rewards = self.gradient == "reinforce" and training
        if learns_by_rewards:
            check_one_loss(self)
        total = super().compute_loss(x, y, y_pred, sample_weight, training)
        run = self._run_of(x, y_pred, training)
        shares = self._used(run["gates"])
        self._macs_metric.update_state(shares)
        excess = ops.mean(shares) - self.target_macs
        total += added_loss(self, self.cost_weight * ops.relu(excess))
        if learns_by_rewards:
            price = self.cost_weight * ops.cast(excess > 0, "float32")
            task = loss_of_each(self, y, y_pred)
            policy = _policy_loss(run, task, price * self._shares)
            total += added_loss(self, self.policy_weight * policy)
        return total

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


def _gates_of_blocks(gate):
    def make_gates(inputs, blocks, total):
        logit_of, gates, logits = GATES[gate](), [], []

        def gate_of(x, block):
            logits.append(logit_of(x, f"{block}_gate"))
            gates.append(HardGate(name=f"{block}_gate")(logits[-1]))
            return gates[-1]

        def tensors():
            concatenate = keras.layers.Concatenate
            if len(gates) == 1:
                return {"gates": gates[0], "logits": logits[0]}
            return {"gates": concatenate()(gates), "logits": concatenate()(logits)}

        return gate_of, tensors

    return make_gates


def _policy_loss(run, task, costs):
    """A loss whose gradient is that of REINFORCE.

    Args:
        run: with `gates` and `logits`, `(batch, blocks)`.
        task: the loss of each sample.
        costs: cost of each block.
    """
    gates, logits = ops.stop_gradient(run["gates"]), run["logits"]
    later = ops.flip(ops.cumsum(ops.flip(gates * costs, -1), -1), -1)
    rewards = -ops.expand_dims(task, -1) - later
    advantages = ops.stop_gradient(rewards - ops.mean(rewards, axis=0))
    log_probabilities = gates * logits - ops.softplus(logits)
    return -ops.mean(ops.sum(advantages * log_probabilities, axis=-1))
