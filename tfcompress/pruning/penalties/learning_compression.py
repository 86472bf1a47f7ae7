"""Alternating learning and compression, coupled by an augmented Lagrangian."""

import dataclasses

import keras
import numpy as np

from tfcompress.core import nouns
from tfcompress.core.errors import check_finite, shown
from tfcompress.core.kinds import Converted, Integer, Number, PlugIn, checked
from tfcompress.core.nouns import LayerRewrite, Scope, WeightTransform
from tfcompress.core.rules import Rules
from tfcompress.core.walk import WeightRef, weight_refs
from tfcompress.factorization import Factorizer
from tfcompress.pruning.penalties.each_step import EachStep, pulled
from tfcompress.pruning.penalties.largest import largest
from tfcompress.pruning.prune import by_rule, unmasked
from tfcompress.transforms import Mask

_EXPECTED = (
    "a sparsity in [0, 1), a transform such as tfc.transforms.Codebook(4) or a "
    "factorization such as tfc.rewrites.SVD(8)"
)


def _compression(value):
    """A `WeightTransform` or a `Factorizer`."""
    found = None
    for noun in (WeightTransform, LayerRewrite):
        try:
            found = found or noun.get(value)
        except (TypeError, ValueError):
            continue
    if isinstance(found, Mask) or not isinstance(found, (WeightTransform, Factorizer)):
        hint = " Pass the sparsity in place of a mask." * isinstance(found, Mask)
        raise ValueError(f"got {shown(value)}, expected {_EXPECTED}.{hint}")
    return found


_COMPRESSION = Number(0, below=1) | Converted(_compression, _EXPECTED)
_RULES = Rules(_COMPRESSION, _EXPECTED, "{'.*': 0.95}", least=1)


class LearningCompression(EachStep):
    """Trains weights towards their compressed values, which in turn follow the weights.

    Minimizes `L(w)` subject to `w = Δ(Θ)`, for any form of `Δ(Θ)`: weights with few
    non-zeros, with few shared values, or of low rank.

    - L step: training, with `μ/2 ‖w - Δ(Θ) - λ/μ‖²` in addition to the loss. It is
      minimized after each step of the optimizer with learning rate `η`,
      `w ← (w + η μ (Δ(Θ) + λ/μ)) / (1 + η μ)`, which is stable for any `μ`.
    - C step, every `frequency` iterations: `Θ ← argmin ‖w - λ/μ - Δ(Θ)‖²`.
    - Then `λ ← λ - μ (w - Δ(Θ))` and `μ ← growth μ`.

    When training ends, `w` becomes `Δ(Θ)`: the model itself then contains the
    compressed weights. `tfc.export_tflite` stores shared values compactly, and
    `tfc.compress` or `tfc.factorize` with the same arguments no longer change anything.

    The multipliers converge to the gradients of the constrained directions, so train
    with SGD: Adam's rescaled gradients mislead them. Since the pull does not pass
    through the optimizer, momentum `β` makes the loss count `1 / (1 - β)` times as
    much. The defaults suit a trained network, SGD at 0.05 with momentum 0.9, and
    thousands of steps.

    Args:
        rules: `{pattern: compression}`, patterns as in `tfc.compress`. A compression is
            a sparsity, the fraction of weights to remove, distributed among all weights
            of the rule; a `tfc.transforms` object, whose `refresh` finds its state; or
            a factorization of `tfc.rewrites`, whose ranks are chosen when training begins.
        strength: `μ` in the first L step.
        growth: factor by which `μ` grows after each C step.
        frequency: optimizer iterations in each L step, such as those of an epoch.
            Weights that stay are tied to their value in the last C step, and `λ` does
            the rest: in a short training, many L steps with a small `μ` do better than few.
        pattern: a `tfc.patterns` object or name, for sparsities.
        scope: a `tfc.scopes` object or name, for sparsities.

    Raises:
        ValueError: if a rule matches nothing or has another value, a layer cannot be
            factorized, or weights become NaN or infinite.

    Source: LC: Carreira-Perpiñán and Idelbayev, ""Learning-Compression" Algorithms for
    Neural Net Pruning" (2018), section 3; Carreira-Perpiñán, "Model compression as
    constrained optimization, part I" (2017), section 4.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> model.compile(keras.optimizers.SGD(0.1), "mse")
        >>> x, y = np.ones((64, 8)), np.ones((64, 4))
        >>> lc = tfc.callbacks.LearningCompression({".*": 0.75}, frequency=4)
        >>> _ = model.fit(x, y, epochs=9, verbose=0, callbacks=[lc])
        >>> tfc.report(model).sparsity
        0.75
    """

    @checked
    def __init__(
        self,
        rules: _RULES,
        strength: Number(above=0) = 1e-2,
        growth: Number(1) = 1.02,
        frequency: Integer(1) = 100,
        pattern: PlugIn(nouns.Pattern) = "weight",
        scope: PlugIn(Scope) = "global",
    ):
        super().__init__()
        self.rules = rules
        self.strength, self.growth, self.frequency = strength, growth, frequency
        self.pattern, self.scope = pattern, scope

    def set_model(self, model):
        """Finds the weights."""
        super().set_model(model)
        weights = [unmasked(ref) for ref in weight_refs(model)]
        self._parts = [
            (self._projection(value, part), [_Pair(weight.ref) for weight in part])
            for value, part in by_rule(self.rules, weights)
        ]
        self._pairs = [pair for _, pairs in self._parts for pair in pairs]
        self._strength = keras.Variable(0.0)

    def _projection(self, value, weights):
        refs = [weight.ref for weight in weights]
        if isinstance(value, Factorizer):
            return _Each([_LowRank(value, ref) for ref in refs])
        if isinstance(value, WeightTransform):
            return _Each([_Transformed(value, ref) for ref in refs])
        return _Sparse(value, self.pattern, self.scope, refs)

    def _moves(self):
        """The pull on each weight."""
        return [(pair.variable, self._pull(pair.target)) for pair in self._pairs]

    def _pull(self, target):
        return lambda weight, learning_rate, step: pulled(
            weight,
            learning_rate * self._strength,
            keras.ops.convert_to_tensor(target),
        )

    def on_train_begin(self, logs=None):
        """Compresses the initial weights."""
        super().on_train_begin(logs)
        self._now = self.strength
        for pair in self._pairs:
            pair.multiplier[...] = 0
        self._compress()
        self._aim()
        self._batches = 0

    def on_train_batch_end(self, batch, logs=None):
        """Compresses every `frequency` steps and updates the multipliers."""
        self._batches += self.model.steps_per_execution
        if self._batches < self.frequency:
            return
        self._batches = 0
        self._compress()
        for pair in self._pairs:
            pair.multiplier -= self._now * (pair.value() - pair.compressed)
        self._now *= self.growth
        self._aim()

    def on_epoch_end(self, epoch, logs=None):
        """Logs the relative distance of the weights from their compressed values."""
        if logs is not None:
            logs["distance"] = self._distance()

    def on_train_end(self, logs=None):
        """Leaves the model with the compressed weights."""
        super().on_train_end(logs)
        if self._batches:
            self._compress()
        for pair in self._pairs:
            pair.variable.assign(pair.compressed)

    def _compress(self):
        """The C step."""
        for projection, pairs in self._parts:
            shifted = [pair.value() - pair.multiplier / self._now for pair in pairs]
            for pair, compressed in zip(pairs, projection(shifted), strict=True):
                pair.compressed = compressed

    def _aim(self):
        self._strength.assign(self._now)
        for pair in self._pairs:
            pair.target.assign(pair.compressed + pair.multiplier / self._now)

    def _distance(self):
        values = [pair.value() for pair in self._pairs]
        lost = sum(
            np.square(value - pair.compressed).sum()
            for value, pair in zip(values, self._pairs, strict=True)
        )
        total = sum(np.square(value).sum() for value in values)
        return float(np.sqrt(lost / max(total, np.finfo(float).tiny)))


class _Pair:
    """A weight, its compressed value, and the multipliers of their difference."""

    def __init__(self, ref):
        self.path, self.variable = ref.path, ref.variable
        shape = tuple(ref.variable.shape)
        self.compressed = np.zeros(shape)
        self.multiplier = np.zeros(shape)
        self.target = keras.Variable(np.zeros(shape, "float32"), trainable=False)

    def value(self):
        """The weight in double precision."""
        value = self.variable.numpy().astype(np.float64)
        check_finite(f"Weight {self.path}", value)
        return value


@dataclasses.dataclass
class _Sparse:
    """The largest weights; the others are zero."""

    sparsity: float
    pattern: nouns.Pattern
    scope: Scope
    refs: list[WeightRef]

    def __call__(self, values):
        layouts = [ref.layout for ref in self.refs]
        masks = largest(values, layouts, self.sparsity, self.pattern, self.scope)
        return [value * mask for value, mask in zip(values, masks, strict=True)]


@dataclasses.dataclass
class _Each:
    """A projection for each weight."""

    projections: list

    def __call__(self, values):
        return [
            project(value)
            for project, value in zip(self.projections, values, strict=True)
        ]


class _Transformed:
    """The value of a transform that was refreshed with a weight."""

    def __init__(self, transform, ref):
        self._transform = transform.clone()
        self._transform.build(keras.layers.Layer(), ref.variable, ref.layout)

    def __call__(self, value):
        value = value.astype("float32")
        self._transform.reset()
        self._transform.refresh(value)
        return np.asarray(self._transform.bake(value), np.float64)


class _LowRank:
    """The kernel that a factorized layer would have."""

    def __init__(self, factorizer, ref):
        layer = ref.owner
        objection = factorizer.objection(layer)
        if objection:
            raise ValueError(
                f"{factorizer!r} cannot factorize layer {layer.name!r}: {objection}. Let "
                "the rule match other layers, or use another factorization."
            )
        self._factorizer, self._layer = factorizer, layer
        self._ranks = factorizer.ranks(layer)

    def __call__(self, value):
        places = np.arange(value.size, dtype=np.float64).reshape(value.shape)
        order = self._tensor(places).astype(int)
        tensor = self._tensor(value)
        factors = self._factorizer.decompose(tensor, self._ranks)
        found = np.empty(value.size)
        found[order.ravel()] = self._factorizer.compose(factors, tensor.shape).ravel()
        return found.reshape(value.shape)

    def _tensor(self, value):
        return self._factorizer.tensor(_WithKernel(self._layer, value))


class _WithKernel:
    """A layer with another kernel."""

    def __init__(self, layer, kernel):
        self.layer, self.kernel = layer, kernel

    def __getattr__(self, name):
        return getattr(self.layer, name)
