"""A policy network: from the inputs of a model to a choice for each block."""

import math

import keras
from keras import ops

from tfcompress.core.cloning import clone_layer
from tfcompress.core.macs import macs
from tfcompress.dynamic.skipping.gates import pooled

L = keras.layers

# Limit of a policy, as a share of the model's MACs.
_MOST_SHARE = 0.05
_CONVOLUTIONS = {3: L.Conv1D, 4: L.Conv2D, 5: L.Conv3D}
# At first all blocks run if nothing is drawn.
_INITIAL_LOGIT = math.log(9)


@keras.saving.register_keras_serializable("tfcompress")
class Choice(keras.layers.Layer):
    """Which blocks run: 1 where the sigmoid of a logit is above 0.5, 0 elsewhere.

    In training it is drawn with the probability `bounded(logit)`. Only the last
    `num_free` blocks may be skipped.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self._seeds = keras.random.SeedGenerator()

    def build(self, shape):
        self.num_free = self.add_weight(
            shape=(),
            initializer=keras.initializers.Constant(shape[-1]),
            trainable=False,
            aggregation="only_first_replica",
            name="num_free",
        )
        self._num_blocks = shape[-1]

    def call(self, logits, training=None):
        if training:
            drawn = keras.random.uniform(ops.shape(logits), seed=self._seeds)
            runs = drawn < bounded(ops.cast(logits, drawn.dtype))
        else:
            runs = ops.sigmoid(logits) > 0.5
        runs = ops.logical_or(runs, ops.logical_not(self.free()))
        return ops.cast(runs, logits.dtype)

    def free(self):
        """Whether each block may be skipped."""
        places = ops.arange(self._num_blocks, dtype="float32")
        return places >= self._num_blocks - self.num_free

    def advance(self, step, curriculum_steps):
        """Frees one more block every `curriculum_steps / blocks` steps."""
        blocks = float(self._num_blocks)
        if curriculum_steps:
            passed = ops.cast(step, "float32") * (blocks / curriculum_steps)
            self.num_free.assign(ops.minimum(blocks, 1 + ops.floor(passed)))

    def compute_output_shape(self, shape):
        return shape


def bounded(logits):
    """The probability that a block runs, in training: never below 0.2 or above 0.8."""
    probability = ops.sigmoid(logits)
    return 0.8 * probability + 0.2 * (1 - probability)


def policy_gates(policy):
    """The `make_gates` of `GatedModel` for one policy that decides all gates."""

    def make_gates(inputs, blocks, total):
        network = _checked(policy, inputs, blocks) or _default(inputs, blocks, total)
        network.name = "policy"
        logits = network(inputs[0] if len(inputs) == 1 else inputs)
        gates = Choice(name="choice")(logits)
        places = {block.name: k for k, block in enumerate(blocks)}

        def gate_of(x, block):
            return gates[:, places[block] : places[block] + 1]

        return gate_of, lambda: {"gates": gates, "logits": logits}

    return make_gates


def _checked(policy, inputs, blocks):
    """A copy of a policy, checked to match; None for no policy."""
    if policy is None:
        return None
    copy = clone_layer(policy)
    symbols = [keras.KerasTensor(t.shape, t.dtype) for t in inputs]
    try:
        shape = copy(symbols[0] if len(symbols) == 1 else symbols).shape
    except Exception as error:
        raise ValueError(
            f"BlockDrop(policy): the model {policy.name!r} cannot be called with the "
            f"inputs {[tuple(t.shape) for t in inputs]} of the network: {error}"
        ) from error
    if shape[1:] != (len(blocks),):
        raise ValueError(
            f"BlockDrop(policy): got a model with outputs {tuple(shape)}, expected (None, "
            f"{len(blocks)}): one logit for each of the blocks "
            f"{', '.join(block.name for block in blocks)}."
        )
    return copy


def _default(inputs, blocks, total):
    shape = inputs[0].shape
    if len(inputs) > 1 or None in shape[1:] or len(shape) not in (2, *_CONVOLUTIONS):
        raise ValueError(
            "BlockDrop(policy): the default policy needs one input of fixed size, got "
            f"{[tuple(t.shape) for t in inputs]}. Pass your own model."
        )
    for width in (16, 8, 4, 2):
        network = _network(inputs[0], len(blocks), width)
        if sum(macs(network).values()) <= _MOST_SHARE * total:
            return network
    raise ValueError(
        f"BlockDrop(policy): no default policy fits into {_MOST_SHARE:.0%} of the "
        f"model's {total:.0f} MACs. Pass your own model."
    )


def _network(like, num_blocks, width):
    rank = len(like.shape)
    inputs = keras.Input(like.shape[1:], dtype=like.dtype)
    x = L.BatchNormalization(name="policy_norm")(inputs)
    if rank == 2:
        x = L.Dense(width, "relu", name="policy_hidden")(x)
    else:
        for index, times in enumerate((1, 2, 4)):
            x = _CONVOLUTIONS[rank](
                times * width, 3, 2, "same", name=f"policy_{index}", activation="relu"
            )(x)
        x = pooled(x, "policy")
    bias = keras.initializers.Constant(_INITIAL_LOGIT)
    logits = L.Dense(num_blocks, bias_initializer=bias, name="policy_logits")(x)
    return keras.Model(inputs, logits)
