"""Copies of layers and models that were written without copying in mind."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcompress as tfc
from tfcompress.core.cloning import clone_layer, rebuild
from tfcompress.core.compressed import treatments

L = keras.layers
X = np.random.default_rng(0).normal(size=(16, 8)).astype("float32")


class Plain(keras.Model):
    """No configuration, and no arguments to recreate it."""

    def __init__(self):
        super().__init__()
        self.blocks = [L.Dense(8, activation="relu"), L.BatchNormalization()]
        self.by_name = {"head": L.Dense(3)}

    def call(self, x):
        for block in self.blocks:
            x = block(x)
        return self.by_name["head"](x)


class Late(L.Layer):
    """Inner layers have no weights before the first call."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.inside = L.Dense(units)

    def call(self, x):
        return self.inside(x)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


class Options(L.Layer):
    def __init__(self, **options):
        super().__init__()
        self.options = options
        self.inside = L.Dense(4)

    def call(self, x):
        return self.inside(x) * self.options["scale"]


class Raises(Late):
    def get_config(self):
        raise NotImplementedError("never")


class Nameless(L.Layer):
    def __init__(self):
        super().__init__()
        self.inside = L.Dense(4)

    def call(self, x):
        return self.inside(x)


class Given(L.Layer):
    """It is given layers."""

    def __init__(self, *layers):
        super().__init__()
        self.given = layers

    def call(self, x):
        for layer in self.given:
            x = layer(x)
        return x


class Forgets(L.Layer):
    """Its configuration lacks what its outputs depend on."""

    def __init__(self, scale=1.0, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale

    def call(self, x):
        return x * self.scale

    def get_config(self):
        return super().get_config()


class Transposed(L.Layer):
    """Computes with the kernel of another layer."""

    def __init__(self, of, **kwargs):
        super().__init__(**kwargs)
        self.of = of

    def call(self, x):
        return keras.ops.matmul(x, keras.ops.transpose(self.of.kernel))

    def get_config(self):
        of = keras.saving.serialize_keras_object(self.of)
        return {**super().get_config(), "of": of}

    @classmethod
    def from_config(cls, config):
        of = keras.saving.deserialize_keras_object(config.pop("of"))
        return cls(of, **config)


def functional(*layers):
    inputs = keras.Input((8,))
    x = inputs
    for layer in layers:
        x = layer(x)
    return keras.Model(inputs, L.Dense(3, name="head")(x))


def plain():
    model = Plain()
    model(X)
    return model


def given():
    inner = keras.Sequential([keras.Input((8,)), L.Dense(8), L.ReLU()])
    return functional(Given(inner, L.Dense(4)))


MODELS = {
    "subclassed": plain,
    "late": lambda: functional(Late(4)),
    "options": lambda: functional(Options(scale=2.0)),
    "raises": lambda: functional(Raises(4)),
    "nameless": lambda: functional(Nameless(), Nameless()),
    "given": given,
}
COPIES = {
    "strip": tfc.strip,
    "compress": lambda model: tfc.compress(model, {".*": "mask"}),
    "both": lambda model: tfc.strip(tfc.compress(model, {".*": "mask"})),
    "prune_channels": lambda model: tfc.prune_channels(model, 0.0),
    "ranges": lambda model: tfc.quantize_activations(
        model, ranges="min_max", samples=X, bits=16
    ),
}


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("build", MODELS.values(), ids=MODELS)
def test_copies_compute_the_same(build, copied):
    model = build()
    expected = np.asarray(model(X))
    copy = copied(model)
    np.testing.assert_allclose(copy(X), expected, atol=5e-4)
    for weight in copy.variables:
        if "float" in weight.dtype:
            weight.assign(weight + 1.0)
    np.testing.assert_array_equal(model(X), expected)


def test_names_that_a_lambda_knows_are_known_to_copies():
    model = functional(L.Lambda(lambda x: keras.ops.tanh(x) + X.shape[1]))
    np.testing.assert_array_equal(tfc.strip(model)(X), model(X))
    assert tfc.prune_channels(model, 0.0)(X).shape == (16, 3)


def test_sizes_that_a_call_asks_for_may_be_unknown():
    class Reshapes(Plain):
        def call(self, x):
            pairs = keras.ops.reshape(x, (keras.ops.shape(x)[0], -1, 2))
            return super().call(keras.ops.reshape(pairs, (-1, 8)))

    model = Reshapes()
    model(X)
    np.testing.assert_allclose(tfc.prune_channels(model, 0.0)(X), model(X), atol=1e-6)


def test_calls_may_make_single_numbers():
    class Scaled(Plain):
        def call(self, x):
            return super().call(x) / (1.0 + keras.ops.exp(keras.ops.mean(x)))

    model = Scaled()
    model(X)
    np.testing.assert_allclose(tfc.prune_channels(model, 0.0)(X), model(X), atol=1e-6)


def test_names_and_paths_stay():
    keras.utils.clear_session()
    model = functional(Nameless(), Nameless())
    copy = tfc.strip(model)
    assert [a.name for a in copy.layers] == [a.name for a in model.layers]
    paths = [path for path, _ in treatments(tfc.compress(model, {".*": "mask"}))]
    assert paths == [
        "nameless/dense/kernel",
        "nameless_1/dense_1/kernel",
        "head/kernel",
    ]


def test_what_is_frozen_inside_stays_frozen():
    layer = Late(4)
    model = functional(layer)
    layer.inside.trainable = False
    copy = rebuild(model)
    assert len(copy.trainable_variables) == len(model.trainable_variables) == 2


def test_layers_inside_keep_their_precision():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        layer = Nameless()
    finally:
        keras.config.set_dtype_policy("float32")
    layer(X)
    assert clone_layer(layer).inside.compute_dtype == "float16"


def test_a_copy_that_computes_something_else_is_refused():
    model = functional(L.Dense(4, name="fine"), Forgets(3.0, name="forgetful"))
    with pytest.raises(
        ValueError, match="'forgetful' .Forgets. is the first to differ"
    ):
        tfc.strip(model)


def test_functions_that_lead_back_to_the_original_are_refused():
    layer = Options(scale=2.0, act=None)
    model = functional(layer)
    layer.options["act"] = lambda x: layer.inside(x)
    with pytest.raises(ValueError, match="it has the function '<lambda>'"):
        tfc.strip(model)


def test_random_outputs_are_no_difference():
    class Noise(L.Layer):
        def call(self, x):
            return x + keras.random.normal(keras.ops.shape(x))

    assert tfc.strip(functional(Noise())).count_params() == 27


@pytest.mark.parametrize("is_first", [True, False])
def test_tied_weights_stay_tied(is_first):
    dense = L.Dense(8, use_bias=False, name="dense")
    dense.build((None, 8))
    layers = [dense, Transposed(dense, name="transposed")]
    model = functional(*layers if is_first else layers[::-1])
    copy = tfc.strip(model)
    assert copy.count_params() == model.count_params() == 64 + 27
    copied = copy.get_layer("dense"), copy.get_layer("transposed")
    assert copied[1].of is copied[0]


def test_tied_weights_have_one_mask():
    dense = L.Dense(8, use_bias=False, name="dense")
    model = functional(dense, Transposed(dense, name="transposed"))
    pruned = tfc.prune(tfc.compress(model, {"dense": "mask"}), {"dense": 0.5})
    assert [path for path, _ in treatments(pruned)] == ["dense/kernel"]
    stripped = tfc.strip(pruned)
    kernel = stripped.get_layer("dense").kernel
    assert np.mean(kernel.numpy() == 0) == 0.5
    assert stripped.get_layer("transposed").of.kernel is kernel
    np.testing.assert_allclose(stripped(X), pruned(X), atol=1e-6)


@pytest.mark.parametrize(
    "changed",
    [
        lambda model: tfc.prune_channels(model, 0.5),
        lambda model: tfc.factorize(model, {"prev|dense": "svd"}, verbose=0),
        tfc.post_training.equalize,
    ],
    ids=["prune_channels", "factorize", "equalize"],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_changes_layers_leaves_tied_ones(changed):
    dense = L.Dense(8, use_bias=False, name="dense")
    dense.build((None, 16))
    prev = L.Dense(16, activation="relu", name="prev")
    model = functional(prev, dense, Transposed(dense, name="transposed"))
    copy = changed(model)
    assert copy.get_layer("transposed").of is copy.get_layer("dense")
    np.testing.assert_array_equal(copy.get_layer("dense").kernel, dense.kernel)


class Unserializable(keras.regularizers.Regularizer):
    def __call__(self, weights):
        return keras.ops.sum(weights**2)


def test_layers_that_cannot_be_made_smaller_stay_whole():
    own = L.Dense(8, kernel_regularizer=Unserializable(), name="own")
    model = functional(L.Dense(8, name="first"), own, L.Dense(8, name="last"))
    small = tfc.prune_channels(model, 0.5)
    assert [layer.units for layer in small.layers[1:]] == [8, 8, 4, 3]


def test_tied_layers_that_stay_whole_are_named():
    dense = L.Dense(8, use_bias=False, name="dense")
    model = functional(L.Dense(8, name="prev"), dense, Transposed(dense))
    with pytest.warns(UserWarning, match="1 layer unchanged: 'dense'.*shares weights"):
        tfc.factorize(model, "svd", verbose=0)


class Autoencoder(keras.Model):
    """Trains by calling its parts, with its own loss and metric."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = L.Dense(4), L.Dense(8)
        self.tracker = keras.metrics.Mean(name="own")

    @property
    def metrics(self):
        return [self.tracker]

    def compile(self, rate):
        super().compile(keras.optimizers.SGD(rate))

    def call(self, x):
        return self.decoder(self.encoder(x))

    def loss_of(self, x):
        return keras.ops.mean((self.decoder(self.encoder(x)) - x) ** 2)

    def train_step(self, x):
        with tf.GradientTape() as tape:
            loss = self.loss_of(x)
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        self.tracker.update_state(loss)
        return {"own": self.tracker.result()}


def autoencoder():
    model = Autoencoder()
    model(X)
    return model


def test_a_compressed_model_trains_as_its_class_does():
    model = autoencoder()
    small = tfc.compress(model, {".*": ["mask", tfc.transforms.LearnedStep(4)]})
    small.compile(rate=0.1)
    steps = [w for w in small.trainable_variables if "step" in w.name]
    before = [step.numpy() for step in steps]
    pruning = tfc.callbacks.Pruning(0.5)
    log = small.fit(X, epochs=2, verbose=0, callbacks=[pruning]).history
    assert log["own"][1] < log["own"][0]
    assert steps and all(np.any(a != b) for a, b in zip(before, steps, strict=True))
    # Parts that are called directly compute with transformed weights.
    whole = np.asarray(small(X))
    np.testing.assert_allclose(small.decoder(small.encoder(X)), whole, atol=1e-6)
    stripped = tfc.strip(small)
    assert type(stripped) is Autoencoder
    np.testing.assert_allclose(stripped(X), whole, atol=1e-6)
    np.testing.assert_allclose(stripped.loss_of(X), small.loss_of(X), rtol=1e-5)


def test_gradients_of_parts_pass_through_the_transforms():
    small = tfc.compress(autoencoder(), {".*": "mask"})
    (_, encoder), _ = treatments(small)
    encoder.transforms[0].mask.assign(np.eye(8, 4))
    with tf.GradientTape() as tape:
        loss = small.loss_of(X)
    gradient = tape.gradient(loss, encoder.variable.value).numpy()
    assert not gradient[np.eye(8, 4) == 0].any() and gradient[0, 0] != 0


class Adversarial(keras.Model):
    """Has no `call`, two optimizers, and parts that are given to it."""

    def __init__(self, critic, maker):
        super().__init__()
        self.critic, self.maker = critic, maker

    def compile(self, critic_optimizer, maker_optimizer):
        super().compile()
        self.critic_optimizer = critic_optimizer
        self.maker_optimizer = maker_optimizer

    def train_step(self, x):
        for part, optimizer, sign in (
            (self.critic, self.critic_optimizer, -1.0),
            (self.maker, self.maker_optimizer, 1.0),
        ):
            with tf.GradientTape() as tape:
                loss = sign * keras.ops.mean(
                    self.critic(x) - self.critic(self.maker(x))
                )
            variables = part.trainable_variables
            optimizer.apply(tape.gradient(loss, variables), variables)
        return {"loss": loss}


def test_models_without_a_call_are_compressed():
    critic = keras.Sequential([keras.Input((8,)), L.Dense(4), L.Dense(1)])
    maker = keras.Sequential([keras.Input((8,)), L.Dense(8)])
    small = tfc.compress(Adversarial(critic, maker), {".*": "mask"})
    assert small.critic is not critic
    small.compile(keras.optimizers.SGD(0.01), keras.optimizers.SGD(0.01))
    small.fit(X, verbose=0, callbacks=[tfc.callbacks.Pruning(0.5)])
    stripped = tfc.strip(small)
    assert type(stripped) is Adversarial
    assert np.mean(stripped.maker.layers[0].kernel.numpy() == 0) == 0.5


class OwnGraph(keras.Model):
    """Functional, with custom constructor arguments."""

    def __init__(self, width, **kwargs):
        inputs = keras.Input((8,))
        encoder = L.Dense(width, name="encoder")
        hidden = encoder(inputs)
        super().__init__(inputs, L.Dense(8, name="decoder")(hidden), **kwargs)
        self.width = width
        self.encoder = encoder
        self.half = keras.Model(inputs, hidden)
        self.tracker = keras.metrics.Mean(name="own")

    def get_config(self):
        return {"width": self.width}

    def train_step(self, x):
        with tf.GradientTape() as tape:
            loss = keras.ops.mean((self(x) - x) ** 2 + self.half(x)[:, :1] ** 2)
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        self.tracker.update_state(loss)
        return {"own": self.tracker.result()}


@pytest.mark.parametrize(
    "copied",
    [
        lambda model: tfc.compress(model, {".*": "mask"}),
        lambda model: tfc.strip(tfc.compress(model, {".*": "mask"})),
        lambda model: tfc.prune_channels(model, 0.5),
        tfc.quantize_activations,
    ],
)
def test_a_graph_trains_as_its_class_does_and_is_saved_as_a_graph(copied, tmp_path):
    copy = copied(OwnGraph(4))
    assert isinstance(copy, OwnGraph)
    assert copy.encoder is copy.get_layer("encoder")
    np.testing.assert_allclose(copy.half(X), copy.encoder(X), atol=1e-6)
    copy.compile("sgd")
    log = copy.fit(X, epochs=2, verbose=0).history
    assert log["own"][1] < log["own"][0]
    copy.save(tmp_path / "model.keras")
    loaded = tfc.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(X), copy(X), atol=1e-6)


@pytest.mark.parametrize(
    "copied",
    [
        lambda model: tfc.prune_channels(model, 0.5),
        tfc.quantize_activations,
        lambda model: tfc.factorize(model, tfc.rewrites.SVD(rank=1), verbose=0),
        lambda model: tfc.rewrites.apply(model, "fold_batch_norm"),
    ],
)
def test_what_cannot_train_as_the_class_does_says_so(copied):
    with pytest.warns(
        UserWarning, match=r"compile, train_step, metrics of Autoencoder"
    ):
        assert not isinstance(copied(autoencoder()), Autoencoder)


def test_a_graph_of_tied_layers_says_so_too():
    class Own(keras.Model):
        def train_step(self, data):
            return super().train_step(data)

    inputs, dense = keras.Input((8,)), L.Dense(8, use_bias=False)
    model = Own(inputs, Transposed(dense)(dense(inputs)))
    with pytest.warns(UserWarning, match="train_step of Own are left out"):
        tfc.compress(model, {"dense.*": "mask"})


def test_nothing_is_said_where_nothing_is_lost():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        tfc.strip(tfc.compress(autoencoder(), {".*": "mask"}))
        tfc.prune_channels(plain(), 0.5)


def test_losses_that_a_call_adds_are_kept():
    class Sparse(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = L.Dense(4)

        def call(self, x):
            y = self.dense(x)
            self.add_loss(keras.ops.mean(keras.ops.abs(y)))
            return y

    model = Sparse()
    model(X)
    small = tfc.compress(model, {".*": "mask"})
    model(X), small(X)
    np.testing.assert_allclose(small.losses, model.losses, rtol=1e-6)


def test_outputs_of_nested_models_may_stay_unused():
    class Mean(keras.Model):
        def __init__(self):
            super().__init__()
            inputs = keras.Input((8,))
            outputs = [L.Dense(16, name="mean")(inputs), L.Dense(16)(inputs)]
            self.encoder = keras.Model(inputs, outputs)
            self.head = L.Dense(3, name="head")

        def call(self, x):
            return self.head(self.encoder(x)[0])

    model = Mean()
    model(X)
    small = tfc.factorize(model, tfc.rewrites.SVD(rank=3), verbose=0)
    assert {a.name for a in small.layers} >= {"mean_in", "mean"}
