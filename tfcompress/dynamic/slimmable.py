"""Networks that run at several widths."""

import functools

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfcompress.core.behaviour import batch_norms
from tfcompress.core.cloning import rebuild
from tfcompress.core.data import Batches
from tfcompress.core.graph import editable
from tfcompress.core.keras_internals import compiled_loss
from tfcompress.core.kinds import (
    BuiltModel,
    Each,
    Integer,
    Name,
    Number,
    OneOf,
    PlugIn,
    checked,
)
from tfcompress.core.nouns import Criterion, DistillationLoss
from tfcompress.core.rules import PATTERNS
from tfcompress.core.samples import random_inputs
from tfcompress.core.substituted import call_substituted
from tfcompress.distillation.losses import KL
from tfcompress.distillation.outputs import output_kinds, parts_like, to_logits
from tfcompress.distillation.reduction import reduced
from tfcompress.dynamic.widths import (
    first_units,
    make_scales_positive,
    slices,
    sort_channels,
)
from tfcompress.pruning.channels.graph import ChannelGraph
from tfcompress.pruning.channels.selection import selection
from tfcompress.pruning.channels.surgery import cut
from tfcompress.pruning.prune import Engine
from tfcompress.rewrites.batch_norm import recalibrate_batch_norm

_WIDTH = Number(above=0, most=1, meaning="a fraction of the channels")
_NUM_RANDOM = 2
# A higher temperature would let narrower networks outweigh the task by its square.
_DISTILLATION = KL(temperature=1.0)


@keras.saving.register_keras_serializable("tfcompress")
class Slimmable(keras.Model):
    """A network whose first channels form smaller networks.

    For each width `w`, a smaller network has the first `round(w n)` channels of each
    group of n coupled channels (`tfc.channel_groups`), with slices of the same weights.
    They are trained together:

        L = L_task(y, f_1) + Σ_{w<1} D(f_w, f_1)

    where `D` is a distillation loss with the widest network as teacher, to which it passes
    no gradient; without it, narrower networks learn from the labels too. The model itself
    computes and evaluates at full width; `at(w)` returns an ordinary small model.

        slimmable = tfc.dynamic.Slimmable(model, widths=[0.25, 0.5, 0.75, 1.0])
        slimmable.compile("adam", loss, metrics=["accuracy"])
        slimmable.fit(x, y)
        small = slimmable.at(0.5)

    Channels are first sorted by importance, so that a trained model gives its narrower
    networks the best start.

    Args:
        model: a built model, which is copied; a compressed one is stripped first.
        widths: fractions of the channels in (0, 1], including 1, in any order.
        batch_norm: `"own"`: each width has its own batch norms. `"shared"`: the widths
            share scales and offsets, and statistics are measured when a network of any
            width is requested (universally slimmable networks).
        per_step: `"all"`: each step trains all widths. `"sandwich"`: the widest, the
            narrowest, and two random others.
        criterion: criterion by which channels are sorted, a name or object; None keeps
            their order.
        data: batches for criteria that need data.
        ignore: patterns of layers whose outputs are not cut, as in `tfc.compress`.
        round_to: groups with at least this many channels keep a multiple of it.
        distillation: a `tfc.distillation` loss on logits or its name; None for labels. By
            default `KL(temperature=1)`.
        name: name of the model.

    Attributes:
        network: the functional model of full width.
        widths: the widths, ascending.

    Raises:
        TypeError: if `model` is not a Keras 3 model.
        ValueError: if there is nothing to cut, 1 is missing from the widths, two widths
            keep the same channels, or the model's graph cannot be followed.

    Source: Yu et al., "Slimmable Neural Networks" (2019); US-Nets: Yu and Huang,
    "Universally Slimmable Networks and Improved Training Techniques" (2019), sections
    3.2 and 3.3.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16),
        ...     keras.layers.ReLU(), keras.layers.Dense(3)])
        >>> slimmable = Slimmable(model, widths=[0.25, 1.0])
        >>> slimmable.compile("sgd", keras.losses.SparseCategoricalCrossentropy(True))
        >>> _ = slimmable.fit(np.ones((4, 8)), np.zeros(4), verbose=0)
        >>> [tuple(w.shape) for w in slimmable.at(0.25).weights]
        [(8, 4), (4,), (4, 3), (3,)]
    """

    # Where the network is: it has the inputs, and rules name its weights.
    wraps_model = "network"

    @checked
    def __init__(
        self,
        model: BuiltModel(),
        widths: Each(_WIDTH, "widths", least=2) = (0.25, 0.5, 0.75, 1.0),
        batch_norm: OneOf("own", "shared") = "own",
        per_step: OneOf("all", "sandwich") = "all",
        criterion: OneOf(None) | PlugIn(Criterion) = "l2",
        data: Batches() = None,
        ignore: PATTERNS = (),
        round_to: Integer(1) = 1,
        distillation: OneOf(None) | PlugIn(DistillationLoss) = _DISTILLATION,
        name: Name() = None,
    ):
        super().__init__(name=name)
        self.widths = sorted(set(widths))
        self.batch_norm, self.per_step = batch_norm, per_step
        self.ignore, self.round_to = list(ignore), round_to
        self.distillation = distillation
        self.network = editable(model, "make slimmable")
        make_scales_positive(self.network)
        self._graph = ChannelGraph(self.network)
        engine = Engine(criterion or "l2", "filter")
        select = selection(model, self._graph, engine, data, ignore)
        self._groups = select.groups
        if criterion is not None:
            sort_channels(self._graph, select)
        self._kinds = output_kinds(self.network, self._random_outputs())
        keeps = [self._keep(width) for width in self.widths]
        self._check(keeps)
        # Plain objects, so that shared weights are trained and saved only once.
        self._narrow = [self._part(keep) for keep in keeps[:-1]]
        self.norms = [norm for part in self._narrow for norm in part.norms]
        self.built = True

    def _random_outputs(self):
        return self.network(random_inputs(self.network, 2), training=False)

    def _keep(self, width):
        return first_units(self._graph, self._groups, width, self.round_to)

    def _part(self, keep):
        return _Part(self._graph, keep, has_norms=self.batch_norm == "own")

    def _check(self, keeps):
        if self.widths[-1] != 1:
            raise ValueError(
                f"Slimmable(widths): got {self.widths}; expected 1, the whole network, "
                "to be among them."
            )
        if not self._groups:
            raise ValueError(
                f"Slimmable found no channels of {self.network.name!r} that can be cut. "
                "tfc.channel_groups lists them, and why they are not cut."
            )
        for width, next_width, keep, more in zip(
            self.widths, self.widths[1:], keeps, keeps[1:], strict=False
        ):
            if np.array_equal(keep, more):
                raise ValueError(
                    f"Slimmable(widths): {width} and {next_width} keep the same channels "
                    f"of {self.network.name!r}, whose groups have "
                    f"{sorted({group.size for group in self._groups})} units: expected "
                    "widths further apart."
                )

    def call(self, inputs, training=None):
        """The outputs at full width."""
        return self.network(inputs, training=training)

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        """The loss of the widest network, in training plus those of narrower ones."""
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        if not training:
            return loss
        parts = [functools.partial(part, x) for part in self._narrow]
        losses = [
            functools.partial(self._loss, p, y, y_pred, sample_weight) for p in parts
        ]
        if self.per_step == "all" or len(losses) <= _NUM_RANDOM + 1:
            return loss + sum(one() for one in losses)
        narrowest, *others = losses
        chosen = tf.random.shuffle(tf.range(len(others)))[:_NUM_RANDOM]
        return loss + sum(
            (tf.switch_case(chosen[i], others) for i in range(_NUM_RANDOM)), narrowest()
        )

    def _loss(self, run, y, y_pred, sample_weight):
        """The loss of one narrower network."""
        outputs = run()
        if self.distillation is None:
            return compiled_loss(self)(y, outputs, sample_weight)
        parts = (*map(keras.tree.flatten, (outputs, y_pred)), self._kinds)
        weights = parts_like(sample_weight, y_pred)
        return sum(
            reduced(self._distance(narrow, wide, kind), narrow, weight)
            for narrow, wide, kind, weight in zip(*parts, weights, strict=True)
        )

    def _distance(self, narrow, wide, kind):
        """The distance of each prediction from that of the widest network."""
        target = ops.stop_gradient(to_logits(wide, kind))
        return self.distillation(to_logits(narrow, kind), target)

    @checked
    def at(self, width: _WIDTH, data: Batches() = None):
        """The network of one width, as a separate plain model.

        Args:
            width: one of `widths`; with shared batch norms, any fraction in (0, 1].
            data: batches on which the statistics of shared batch norms are measured.

        Raises:
            ValueError: if the width was not trained, or data is missing.
        """
        if width == 1:
            return rebuild(self.network)
        if width not in self.widths and self.batch_norm == "own":
            raise ValueError(
                f"Slimmable.at(width): got {width}, which has no batch norms; expected "
                f"one of {self.widths}, or a model with batch_norm='shared'."
            )
        if width in self.widths:
            part = self._narrow[self.widths.index(width)]
        else:
            part = self._part(self._keep(width))
        small = part.filled()
        if self.batch_norm == "own" or not batch_norms(small):
            return small
        if data is None:
            raise ValueError(
                f"Slimmable.at({width}) needs data: with batch_norm='shared' the "
                "statistics of each width are measured, on batches such as "
                "[x[:256], x[256:512]]."
            )
        return recalibrate_batch_norm(small, data)

    def get_config(self):
        """The network, whose channels are sorted, and the training arguments."""
        serialize = keras.saving.serialize_keras_object
        return {
            "model": serialize(self.network),
            "widths": list(self.widths),
            "batch_norm": self.batch_norm,
            "per_step": self.per_step,
            "criterion": None,
            "ignore": list(self.ignore),
            "round_to": self.round_to,
            "distillation": serialize(self.distillation),
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Restores the model."""
        restore = keras.saving.deserialize_keras_object
        return cls(**{k: restore(v, custom_objects) for k, v in config.items()})


class _Part:
    """A narrower network that computes with slices of the widest network's weights.

    Attributes:
        norms: its own batch norms.
    """

    def __init__(self, graph, keep, has_norms):
        self._model = cut(graph, keep)
        norms = batch_norms(self._model)
        self.norms = norms if has_norms else []
        own = [v for n in norms for v in (n.variables if has_norms else _statistics(n))]
        self._slices = {
            key: part
            for key, part in slices(graph, keep, self._model).items()
            if key not in set(map(id, own)) and keras.backend.is_float_dtype(part.dtype)
        }

    def __call__(self, inputs):
        """The outputs in training; updates its own state."""
        values = {key: part() for key, part in self._slices.items()}
        called = call_substituted(self._model, values, inputs, training=True)
        for variable, value in called.updates:
            if id(variable) not in values:
                variable.assign(value)
        return called.outputs

    def filled(self):
        """A plain copy."""
        copy = rebuild(self._model)
        for before, after in zip(self._model.variables, copy.variables, strict=True):
            part = self._slices.get(id(before))
            after.assign(before if part is None else part())
        return copy


def _statistics(norm):
    return norm.moving_mean, norm.moving_variance
