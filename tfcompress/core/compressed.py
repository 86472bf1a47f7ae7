"""Layers and models that compute with transformed weights."""

import contextlib
import contextvars
import functools

import keras
import numpy as np
import tensorflow as tf

from tfcompress.core.cloning import clone_layer, own_training
from tfcompress.core.drawn import how_drawn
from tfcompress.core.errors import is_built
from tfcompress.core.keras_internals import all_layers, call_like, uncast
from tfcompress.core.kinds import Each, Instance, Integer, Mapping, PlugIn, checked
from tfcompress.core.layout import Layout
from tfcompress.core.nouns import WeightTransform
from tfcompress.core.recording import StandIn
from tfcompress.core.substituted import substituted
from tfcompress.core.walk import own_variables, sublayers, weight_refs

# Ids of the compressed models that are being called.
_calling = contextvars.ContextVar("calling", default=frozenset())


# The position of a weight among the variables, and its transforms.
TRANSFORMS = Mapping(
    Integer(0),
    Each(PlugIn(WeightTransform), "transforms"),
    "{position in layer.variables: [WeightTransform, ...]}",
)


class Treatment:
    """The transforms of one weight, in the order they are applied.

    If a transform that `waits` follows another one, callbacks may `hold` it, so that
    the weight bypasses it until they let it `begin`.

    Attributes:
        ref: the `WeightRef` of the treated variable.
        transforms: list of `WeightTransform`; empty for a weight that is left
            unchanged.
        waiting: boolean variable: whether transforms that wait are bypassed; None if
            there are no such transforms.
        is_staged: whether a dedicated callback decides when they begin.
        is_passed_by: whether calls see the latent weight (see `untransformed`).
    """

    def __init__(self, ref, transforms, waiting=None):
        self.ref = ref
        self.transforms = transforms
        self.waiting = waiting
        self.is_staged = False
        self.is_passed_by = False
        self._watch = None

    @property
    def variable(self):
        """The latent weight, which the optimizer updates."""
        return self.ref.variable

    def __call__(self, training=False, count=None):
        """The effective weight, a tensor; or `count` of them, drawn independently."""
        value = tf.convert_to_tensor(self.variable.value)
        if count is not None:
            value = tf.broadcast_to(value, (count, *value.shape))
        if self.is_passed_by:
            return value
        for transform in self.transforms:
            value = self._applied(transform, value, training)
        if self._watch:
            self._watch(value)
        return value

    def _applied(self, transform, value, training):
        transformed = transform(value, training=training)
        if not self._may_wait(transform):
            return transformed
        # Not a branch: custom gradients cannot leave one.
        return tf.where(self.waiting.value, value, transformed)

    def _may_wait(self, transform):
        follows = transform is not self.transforms[0]
        return self.waiting is not None and transform.waits and follows

    @property
    def has_moments(self):
        """Whether its last transform draws from a normal distribution."""
        last = type(self.transforms[-1]) if self.transforms else WeightTransform
        return last.moments is not WeightTransform.moments

    def moments(self):
        """`(mean, variance)` of the effective weight while training."""
        *before, last = self.transforms
        value = tf.convert_to_tensor(self.variable.value)
        for transform in before:
            value = self._applied(transform, value, training=True)
        return last.moments(value)

    @property
    def is_looked_at(self):
        """Whether a caller relies on this very weight being used in calls."""
        return self.is_passed_by or self._watch is not None

    @property
    def is_waiting(self):
        """Whether some of its transforms are currently bypassed."""
        return self.waiting is not None and bool(self.waiting.numpy())

    def _waits(self, transform):
        return self.is_waiting and self._may_wait(transform)

    @contextlib.contextmanager
    def watched(self, *tapes):
        """Within it, tapes watch the effective weights; yields a list with one per call."""
        values = []

        def watch(value):
            for tape in tapes:
                tape.watch(value)
            values.append(value)

        if not self.transforms:
            watch(self.variable.value)
            yield values
            return

        self._watch = watch
        try:
            yield values
        finally:
            self._watch = None

    def bake(self, upto=None):
        """The effective weight as a NumPy array, after the transforms before `upto`."""
        value = self.variable.numpy()
        for transform in self.transforms:
            if transform is upto:
                break
            if not self._waits(transform):
                value = transform.bake(value)
        return value

    def start(self):
        """Starts the transforms from the current value of the variable."""
        value = self.variable.numpy()
        latent = self._latent(value, self.transforms)
        if latent is not value:
            self.variable.assign(latent)
        self.refresh()

    @staticmethod
    def _latent(value, transforms):
        for transform in reversed(transforms):
            value = transform.latent(value)
        return value

    def refresh(self, after=None):
        """Refreshes each transform (that follows `after`) with the values it now gets."""
        start = 0 if after is None else self.transforms.index(after) + 1
        for transform in self.transforms[start:]:
            if not self._waits(transform):
                transform.refresh(self.bake(upto=transform))

    def settle(self):
        """Reverts the changes of the latent weight that had no effect.

        While shared values replace it, the latent weight still follows its own
        gradient.
        """
        if self.waiting is None or self.is_waiting:
            return
        first = next(filter(self._may_wait, self.transforms))
        before = self.transforms[: self.transforms.index(first)]
        latent, seen = self.variable.numpy(), self.bake(upto=first)
        settled = first.settle(seen)
        moved = self._latent(settled, before)
        self.variable.assign(np.where(settled != seen, moved, latent))

    def hold(self):
        """Lets the weight, in its current state, bypass the transforms that wait."""
        if self.waiting is not None:
            self.settle()
            self.waiting.assign(True)

    def begin(self):
        """Starts the transforms that waited, from the current weight."""
        if not self.is_waiting:
            return
        self.waiting.assign(False)
        late = list(filter(self._may_wait, self.transforms))
        for transform in late:
            transform.reset()
        late[0].refresh(self.bake(upto=late[0]))
        self.refresh(after=late[0])

    def described(self):
        """Its transforms as text; those that are bypassed are marked."""
        return tuple(
            f"{transform!r} (waits)" if self._waits(transform) else repr(transform)
            for transform in self.transforms
        )

    def penalties(self):
        """The penalties of its transforms, a list of scalars."""
        found = [transform.penalty() for transform in self.transforms]
        return [penalty for penalty in found if penalty is not None]


class Compressed:
    """The common base of `CompressedLayer` and `CompressedModel`.

    The inner layer is called with each treated variable standing for its transformed
    value (`call_substituted`). Gradients flow to the variable through the transforms;
    updates of non-trainable state (batch-norm statistics, random seeds) and losses
    added inside are passed on; what a layer assigns to a treated weight changes the
    latent weight by the same difference. Penalties of transforms count once per weight,
    however often the layer is called: like Keras' regularizers, they belong to the
    variable.
    """

    is_compressed = True

    def _set_transforms(self, transforms):
        self._transforms = {
            int(index): list(t) for index, t in (transforms or {}).items()
        }
        self.treatments = []

    def _build_transforms(self):
        if self.treatments or not self._transforms:
            return
        refs = {ref.index: ref for ref in weight_refs(self.inner)}
        for index, transforms in self._transforms.items():
            ref = refs[index]
            layout = ref.layout
            for transform in transforms:
                transform.build(self, ref.variable, layout)
                if transform.shares_values:
                    layout = Layout(layout.shape, output_axes=())
            if any(transform.replaces_weight for transform in transforms):
                _retire(ref)
            self.treatments.append(Treatment(ref, transforms))
            _penalize(self.treatments[-1])
        # After all other variables, so that files without them can be recognized.
        for treatment in self.treatments:
            if not any(transform.waits for transform in treatment.transforms[1:]):
                continue
            treatment.waiting = self.add_weight(
                name=f"{treatment.variable.name}_waiting",
                shape=(),
                dtype="bool",
                initializer="zeros",
                trainable=False,
            )

    def load_own_variables(self, store):
        """Loads the state of the transforms.

        Files older than `waits` have no `waiting`: their transforms had all begun.
        """
        waiting = [t for t in self.treatments if t.waiting is not None]
        stored = {key: store[key] for key in store.keys()}  # noqa: SIM118
        if waiting and len(stored) == len(own_variables(self)) - len(waiting):
            for _ in waiting:
                stored[str(len(stored))] = np.zeros((), bool)
        super().load_own_variables(stored)

    def _call_inner(self, args, kwargs, training):
        return self._call_within(
            self, self.inner, lambda: self.inner(*args, **kwargs), training
        )

    def _call_within(self, outer, layer, call, training):
        """Runs `call` within a layer with transformed weights; `outer` gets the losses."""
        held = {id(variable) for variable in layer.variables}
        # The enclosing layer may compute in half precision.
        with uncast():
            values = {
                id(t.variable): t(training)
                for t in self.treatments
                if id(t.variable) in held
            }
        token = _calling.set(_calling.get() | {id(self)})
        try:
            done = substituted(layer, values, call)
        finally:
            _calling.reset(token)
        for variable, value in done.updates:
            if id(variable) in values:
                # The latent weight changes by as much as the effective one.
                value = variable.value + (value - values[id(variable)])
            variable.assign(value)
        for loss in done.losses:
            outer.add_loss(loss)
        return done.outputs

    def recreated(self):
        """A copy without the state, for `clone_layer`."""
        transforms = {
            index: [transform.clone() for transform in transforms]
            for index, transforms in self._transforms.items()
        }
        return type(self)(
            clone_layer(self.inner),
            transforms,
            name=self.name,
            trainable=self.trainable,
        )

    def _transform_config(self):
        return {
            str(index): [keras.saving.serialize_keras_object(t) for t in transforms]
            for index, transforms in self._transforms.items()
        }

    @staticmethod
    def _restore_config(config, name, custom_objects=None):
        config = dict(config)
        inner = keras.saving.deserialize_keras_object(config.pop(name), custom_objects)
        transforms = {
            int(index): [keras.saving.deserialize_keras_object(t) for t in transforms]
            for index, transforms in config.pop("transforms").items()
        }
        return inner, transforms, config

    def bake_into(self, layer):
        """Writes the effective weights into a plain copy of the inner layer."""
        values = [np.asarray(v.value) for v in self.inner.variables]
        for treatment in self.treatments:
            values[treatment.ref.index] = treatment.bake()
        for variable, value in zip(layer.variables, values, strict=True):
            variable.assign(value)


@keras.saving.register_keras_serializable("tfcompress")
class CompressedLayer(Compressed, keras.layers.Wrapper):
    """A layer that computes with transformed weights.

    `y = layer(x)` with each treated weight `w` replaced by `t_n(... t_1(w))`. Works for
    any layer, since the layer's own `call` is used. Normally created by `tfc.compress`,
    which knows the positions of the weights.

    Args:
        layer: the layer to wrap.
        transforms: `{position in layer.variables: [WeightTransform, ...]}`.

    Example:
        >>> layer = CompressedLayer(keras.layers.Dense(2), {0: [tfc.transforms.Mask()]})
        >>> layer(np.ones((1, 3))).shape
        TensorShape([1, 2])
    """

    @checked
    def __init__(
        self,
        layer: Instance(keras.Layer, "a Keras layer"),
        transforms: TRANSFORMS,
        **kwargs,
    ):
        # Transforms compute in the precision of the variables, so nothing is cast here:
        # the inner layer casts to its own compute dtype.
        kwargs = {"name": layer.name, "trainable": layer.trainable, **kwargs}
        kwargs.update(dtype="float32", autocast=False)
        super().__init__(layer, **kwargs)
        self.supports_masking = layer.supports_masking
        call_like(self, layer)
        self._set_transforms(transforms)

    @property
    def inner(self):
        """The wrapped layer."""
        return self.layer

    def build(self, input_shape=None):
        """Builds the inner layer if necessary, then the transforms."""
        super().build(input_shape)
        self._build_transforms()

    def get_build_config(self):
        """The build configuration of the inner layer, which determines all shapes."""
        return {"layer": self.layer.get_build_config()}

    def build_from_config(self, config):
        """Rebuilds the inner layer and the transforms."""
        if not self.layer.built and config["layer"]:
            self.layer.build_from_config(config["layer"])
        self.build()

    def compute_output_spec(self, *args, training=None, **kwargs):
        """The output spec of the inner layer.

        Keras would call it in a separate graph, in which no name may begin with _.
        """
        if "training" in self.layer.call_signature_parameters:
            kwargs["training"] = training
        return self.layer.compute_output_spec(*args, **kwargs)

    def call(self, *args, training=None, **kwargs):
        """Calls the inner layer with transformed weights and the given arguments."""
        call_drawn = how_drawn(self, args, kwargs) if training else None
        if call_drawn:
            return call_drawn(self, *args)
        return self._call_inner(args, kwargs, training)

    def compute_mask(self, *args, **kwargs):
        """The inner layer's mask."""
        return self.layer.compute_mask(*args, **kwargs)

    def get_config(self):
        """The inner layer and its transforms."""
        config = super().get_config()
        config.pop("dtype")
        return {**config, "transforms": self._transform_config()}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Restores the wrapper."""
        layer, transforms, rest = cls._restore_config(config, "layer", custom_objects)
        return cls(layer, transforms, **rest)


@keras.saving.register_keras_serializable("tfcompress")
class CompressedModel(Compressed, keras.Model):
    """A whole model, of any kind, that computes with transformed weights.

    Used for subclassed models, whose layers cannot be replaced. If their class
    customizes training (`train_step`, `compile`, `metrics` and so on), the compressed
    model trains in the same way: it is then an instance of that class as well, has the
    attributes of the model, and layers that the training code calls directly compute
    with transformed weights.

    Args:
        model: a built Keras model.
        transforms: `{position in model.variables: [WeightTransform, ...]}`.

    Example:
        >>> class Autoencoder(keras.Model):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.encoder = keras.layers.Dense(2)
        ...         self.decoder = keras.layers.Dense(4)
        ...
        ...     def call(self, x):
        ...         return self.decoder(self.encoder(x))
        ...
        ...     def train_step(self, data):
        ...         return super().train_step((data, data))
        >>> model = Autoencoder()
        >>> x = np.ones((8, 4), "float32")
        >>> y = model(x)
        >>> small = tfc.compress(model, {".*": "mask"})
        >>> small.compile("sgd", "mse")
        >>> log = small.fit(x, verbose=0)
        >>> isinstance(small, Autoencoder), type(tfc.strip(small)) is Autoencoder
        (True, True)
    """

    @checked
    def __init__(
        self,
        model: Instance(keras.Model, "a keras.Model"),
        transforms: TRANSFORMS,
        **kwargs,
    ):
        kwargs = {"name": model.name, "trainable": model.trainable, **kwargs}
        # Keras scales the loss of models of this precision.
        is_scaled = model.dtype_policy.name == "mixed_float16"
        kwargs.update(dtype="mixed_float16" if is_scaled else "float32", autocast=False)
        # The constructor of the model's own class comes first, and has run.
        keras.Model.__init__(self, **kwargs)
        self.model = model
        call_like(self, model)
        self._set_transforms(transforms)
        if is_built(model):
            self._build_transforms()
            self.built = True

    def _build_transforms(self):
        super()._build_transforms()
        # Custom training code may call them directly.
        for layer in sublayers(self.inner) if own_training(type(self)) else ():
            _Part(self, layer)

    @property
    def inner(self):
        """The wrapped model."""
        return self.model

    def get_build_config(self):
        """The build configuration of the inner model."""
        return {"model": self.model.get_build_config()}

    def build_from_config(self, config):
        """Rebuilds the inner model and the transforms."""
        if not self.model.built and config["model"]:
            self.model.build_from_config(config["model"])
        self._build_transforms()
        self.built = True

    def call(self, *args, training=None, **kwargs):
        """Calls the inner model with transformed weights and the given arguments."""
        return self._call_inner(args, kwargs, training)

    def get_config(self):
        """The inner model and its transforms."""
        return {
            "name": self.name,
            "trainable": self.trainable,
            "model": keras.saving.serialize_keras_object(self.model),
            "transforms": self._transform_config(),
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Restores the model."""
        model, transforms, rest = cls._restore_config(config, "model", custom_objects)
        return compressed_model(model, transforms, **rest)


class _Part(StandIn):
    """Calls a layer of a compressed model with transformed weights.

    In calls of the whole model they are already in place.
    """

    def __init__(self, compressed, layer):
        super().__init__(layer)
        self.compressed = compressed

    def __call__(self, *args, **kwargs):
        if id(self.compressed) in _calling.get():
            return self.call(*args, **kwargs)
        training = kwargs.get("training")
        return self.compressed._call_within(
            self.layer, self.layer, lambda: self.call(*args, **kwargs), training
        )


def compressed_model(model, transforms, **kwargs):
    """A `CompressedModel` that trains like the class of a model."""
    return _training_like(type(model))(model, transforms, **kwargs)


@functools.cache
def _training_like(kind):
    """The class of compressed models that train like a model class."""
    if issubclass(kind, keras.Function) or not own_training(kind):
        return CompressedModel
    attributes = {"__module__": __name__, "__getattr__": _attribute_of_inner}
    return type("CompressedModel", (CompressedModel, kind), attributes)


def _attribute_of_inner(self, name):
    inner = vars(self).get("model")
    if inner is None or name not in vars(inner):
        raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}.")
    return vars(inner)[name]


def _penalize(treatment):
    """Adds the penalties of the transforms to the variable's regularizer."""
    if all(type(t).penalty is WeightTransform.penalty for t in treatment.transforms):
        return
    regularizer = treatment.variable.regularizer

    def total(weight):
        own = [] if regularizer is None else [regularizer(weight)]
        return sum([*own, *treatment.penalties()], 0.0)

    treatment.variable.regularizer = total


def _retire(ref):
    """Excludes a weight that is never read from training and from files."""
    owner, retired = ref.owner, ref.variable
    retired.trainable = False
    save_all, load_all = owner.save_own_variables, owner.load_own_variables

    def everything():
        stored = {}
        save_all(stored)
        return stored

    def save(store):
        for key, value in everything().items():
            if value is not retired:
                store[key] = value

    def load(store):
        left_out = {k: v for k, v in everything().items() if v is retired}
        load_all({**left_out, **{key: store[key] for key in store.keys()}})  # noqa: SIM118

    owner.save_own_variables, owner.load_own_variables = save, load


def compressed_parts(model):
    """Every `CompressedLayer` and `CompressedModel` in a model, itself included."""
    layers = all_layers(model)
    return [layer for layer in layers if isinstance(layer, Compressed)]


@contextlib.contextmanager
def untransformed(model):
    """Within it, a compressed model computes with its latent weights."""
    found = [treatment for _, treatment in treatments(model)]
    for treatment in found:
        treatment.is_passed_by = True
    try:
        yield
    finally:
        for treatment in found:
            treatment.is_passed_by = False


def treatments(model):
    """`[(path, Treatment)]` of every treated weight, with paths as in `WeightRef`."""
    return [(ref.path, treatment) for ref, treatment in treated_refs(model)]


def treated_refs(model):
    """`[(WeightRef, Treatment)]`, the refs as seen from the model."""
    treated = {
        id(treatment.variable): treatment
        for part in compressed_parts(model)
        for treatment in part.treatments
    }
    return [
        (ref, treated[id(ref.variable)])
        for ref in weight_refs(model)
        if id(ref.variable) in treated
    ]
