"""A network that looks at a sample once and decides which blocks another one runs."""

import keras
from keras import ops

from tfcompress.core.keras_internals import added_loss
from tfcompress.core.kinds import (
    BuiltModel,
    Each,
    Flag,
    Integer,
    Name,
    Number,
    Text,
    checked,
)
from tfcompress.dynamic.skipping.gated_model import GatedModel
from tfcompress.dynamic.skipping.policy import bounded, policy_gates
from tfcompress.dynamic.skipping.rewards import check_one_loss


@keras.saving.register_keras_serializable("tfcompress")
class BlockDrop(GatedModel):
    """A policy network that decides from the input which residual blocks run.

        u_k ~ Bernoulli(α p_k + (1 - α)(1 - p_k)),  p = σ(policy(x)),  α = 0.8

    in training; otherwise u_k = 1 where p_k > 0.5 (the most likely choice, MAP). The
    policy learns from the reward

        R(u) = 1 - (Σ_k u_k / K)²  if the prediction is right, else -penalty

    with the gradient of `-(R(u) - R(MAP)) log P(u) - entropy_weight H`, where H is the
    mean entropy of a block's choice. At first only the last block may be dropped, and one
    more every `curriculum_steps / K` steps; the blocks before them always run.

    Train the policy first, then both together with `joint`: the network, frozen until
    then, now learns from the loss of the drawn choice.

    It compiles, trains, evaluates, predicts and saves like any Keras model. Labels are
    class indices or one-hot. In training, all blocks run, twice for each sample.

    Args:
        model: a trained Keras classifier with residual blocks and one output. It is not
            changed.
        policy: a built model from the same inputs to one logit per block; None for three
            convolutions (dense layers for inputs without positions) with at most a
            twentieth of the model's MACs.
        at: names of the additions at the end of blocks, or regular expressions for them;
            None for all blocks with identity shortcuts.
        penalty: cost of a wrong prediction, at least 0.
        entropy_weight: weight of the policy's entropy, which keeps it from settling too
            early; at least 0.
        curriculum_steps: steps until all blocks may be dropped; 0 for all from the start.
        joint: whether the network learns too; `block_drop.joint` may be set before
            `compile`.
        name: name of the model.

    Attributes:
        blocks: names of the blocks that may be dropped, in execution order.

    Raises:
        TypeError: if a model is not a Keras model.
        ValueError: if a block is unknown or changes the shape, the model has several
            outputs, the policy does not match, or no policy can be made small enough.

    Metrics: `macs`, the mean share of MACs, including those of the policy.

    Source: Wu et al., "BlockDrop: Dynamic Inference Paths in Residual Networks" (2018).

    Example:
        >>> inputs = keras.Input((64,))
        >>> x = keras.layers.Dense(64, "relu")(inputs)
        >>> x = keras.layers.Add(name="block")([x, keras.layers.Dense(64)(x)])
        >>> model = keras.Model(inputs, keras.layers.Dense(2)(x))
        >>> block_drop = BlockDrop(model)
        >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        >>> block_drop.compile("adam", loss)
        >>> x, y = np.ones((4, 64)), np.zeros(4)
        >>> sorted(block_drop.fit(x, y, verbose=0).history)
        ['loss', 'macs']
    """

    @checked
    def __init__(
        self,
        model: BuiltModel(),
        policy: BuiltModel() = None,
        at: Each(Text(), "names of additions", least=1) = None,
        penalty: Number(0) = 5.0,
        entropy_weight: Number(0) = 0.1,
        curriculum_steps: Integer(0) = 0,
        joint: Flag() = False,
        name: Name() = None,
    ):
        super().__init__(model, at, policy_gates(policy), name)
        if not isinstance(self.gated.output["outputs"], keras.KerasTensor):
            raise ValueError(
                f"BlockDrop(model): model {model.name!r} has the outputs "
                f"{', '.join(self.output_names)}; expected one, the scores of classes. "
                "Select one with keras.Model(model.inputs, model.outputs[0])."
            )
        self.penalty, self.entropy_weight = penalty, entropy_weight
        self.curriculum_steps = curriculum_steps
        self._choice = self.gated.get_layer("choice")
        self._choice.advance(0, curriculum_steps)
        network = [layer for layer in self.gated.layers if layer.name != "policy"]
        self._were_trainable = {layer.name: layer.trainable for layer in network}
        self.joint = joint

    @property
    def joint(self):
        """Whether the network learns too; may be changed before `compile`."""
        return self._joint

    @joint.setter
    def joint(self, joint):
        self._joint = Flag().check("BlockDrop(joint)", joint)
        for name, before in self._were_trainable.items():
            self.gated.get_layer(name).trainable = before and self._joint

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        """The policy's loss in training, plus the task's unless the network is frozen."""
        run = self._run_of(x, y_pred, training)
        self._macs_metric.update_state(self._used(run["gates"]))
        if not training:
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        check_one_loss(self)
        likeliest = self.gated(x, training=False)
        advantages = self._reward(y, y_pred, run["gates"]) - self._reward(
            y, likeliest["outputs"], ops.cast(likeliest["gates"], "float32")
        )
        free = self._choice.free()
        loss = _policy_loss(run, advantages, free, self.entropy_weight)
        # The next step uses it.
        self._choice.advance(self.optimizer.iterations + 1, self.curriculum_steps)
        if self.joint:
            task = super().compute_loss(x, y, y_pred, sample_weight, training)
            return task + added_loss(self, loss)
        return added_loss(self, loss)

    def _reward(self, y, y_pred, gates):
        """`(batch,)`."""
        labels = ops.argmax(y, -1) if y.shape[1:] == y_pred.shape[1:] else y
        labels = ops.reshape(labels, (-1,))
        is_right = ops.cast(labels, "int32") == ops.cast(
            ops.argmax(y_pred, -1), "int32"
        )
        reward = 1 - ops.square(ops.mean(gates, axis=-1))
        return ops.stop_gradient(ops.where(is_right, reward, -self.penalty))

    def plain(self):
        """The model without gates: a functional copy in which every block runs."""
        model = super().plain()
        for layer in model.layers:
            layer.trainable = self._were_trainable.get(layer.name, True)
        return model

    def get_config(self):
        """The constructor's arguments."""
        models = {"model": self.plain(), "policy": self.gated.get_layer("policy")}
        return {
            "name": self.name,
            "at": self.blocks,
            "penalty": self.penalty,
            "entropy_weight": self.entropy_weight,
            "curriculum_steps": self.curriculum_steps,
            "joint": self.joint,
            **{k: keras.saving.serialize_keras_object(v) for k, v in models.items()},
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Restores the model."""
        restore = keras.saving.deserialize_keras_object
        return cls(**{k: restore(v, custom_objects) for k, v in config.items()})


def _policy_loss(run, advantages, free, entropy_weight):
    """A loss whose gradient is that of REINFORCE.

    Args:
        run: with `gates` and `logits`, `(batch, blocks)`.
        advantages: reward of the drawn choice minus that of the most likely one, for each
            sample.
        free: which blocks were drawn.
        entropy_weight: weight of the mean entropy of a free block.
    """
    gates, free = ops.stop_gradient(run["gates"]), ops.cast(free, "float32")
    runs = bounded(run["logits"])
    logs = ops.log(runs), ops.log(1 - runs)
    log_probability = ops.sum(free * (gates * logs[0] + (1 - gates) * logs[1]), -1)
    entropy = -ops.sum(free * (runs * logs[0] + (1 - runs) * logs[1]), -1)
    gain = advantages * log_probability + entropy_weight * entropy / ops.sum(free)
    return -ops.mean(gain)
