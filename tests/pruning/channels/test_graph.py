"""Every kind of coupling: cutting zero channels must not change the outputs."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import tfcompress as tfc
from tests import models
from tfcompress.core.graph import as_graph, flatten
from tfcompress.core.macs import macs
from tfcompress.pruning.channels.graph import ChannelGraph
from tfcompress.pruning.channels.selection import Cost
from tfcompress.pruning.channels.surgery import cut

L = keras.layers
IMAGE = (8, 8, 3)
KINDS = {}


def kind(shape=IMAGE, is_exact=True, batch=2, dtype="float32"):
    """Registers a model: a function from its input to its output."""

    def register(function):
        def build():
            x = keras.Input(shape, dtype=dtype)
            return keras.Model(x, function(x), name=function.__name__)

        KINDS[function.__name__] = build, is_exact
        return function

    return register


def head(y):
    return L.Dense(5, name="head")(y)


def pooled(y):
    return head(L.GlobalAveragePooling2D()(y))


@kind()
def residual(x):
    y = L.Conv2D(6, 3, padding="same", name="a")(x)
    z = L.BatchNormalization()(L.Conv2D(6, 3, padding="same", name="b")(L.ReLU()(y)))
    return pooled(L.Add()([y, z]))


@kind()
def concatenation_flattened(x):
    y = L.Conv2D(4, 3, name="a")(x)
    z = L.Conv2D(6, 3, activation="relu", name="b")(x)
    return head(L.Flatten()(L.Concatenate()([y, z, y])))


@kind()
def squeeze_excite(x):
    y = L.Conv2D(8, 3, name="a")(x)
    gate = L.Reshape((1, 1, 8))(L.GlobalAveragePooling2D()(y))
    gate = L.Conv2D(8, 1, activation="sigmoid")(L.Conv2D(4, 1, activation="relu")(gate))
    return pooled(L.Multiply()([y, gate]))


@kind()
def spatial_gate(x):
    y = L.Conv2D(8, 3, name="a")(x)
    return pooled(y * L.Conv2D(1, 1, activation="sigmoid")(y))


@kind()
def depthwise(x):
    y = L.Conv2D(4, 3, name="a")(x)
    y = L.DepthwiseConv2D(3, depth_multiplier=2, activation="relu")(y)
    return pooled(L.Conv2D(6, 1)(y))


@kind()
def separable(x):
    y = L.SeparableConv2D(6, 3, depth_multiplier=2)(L.Conv2D(4, 3)(x))
    return pooled(L.SeparableConv2D(4, 3)(y))


@kind()
def grouped_inside(x):
    y = L.Conv2D(12, 3, name="a")(x)
    return pooled(L.Conv2D(8, 3, groups=2, name="b")(y))


@kind()
def grouped_whole(x):
    y = L.Conv2D(16, 3, name="a")(x)
    return pooled(L.Conv2D(16, 3, groups=8, name="b")(y))


@kind()
def transposed(x):
    y = L.Conv2D(6, 3, strides=2, padding="same")(x)
    y = L.Conv2DTranspose(4, 2, strides=2, activation="relu")(y)
    return L.Conv2D(2, 1, name="head")(L.Concatenate()([x, y]))


@kind(is_exact=False)
def normalised(x):
    y = L.LayerNormalization()(L.Conv2D(8, 3)(x))
    y = L.GroupNormalization(2)(L.Conv2D(8, 3)(y))
    y = L.GroupNormalization(8)(L.Conv2D(8, 1)(y))
    return pooled(L.RMSNormalization()(L.Conv2D(8, 1)(y)))


@kind()
def rearranged(x):
    y = L.Reshape((64, 6))(L.Conv2D(6, 3, padding="same")(x))
    y = L.Permute((2, 1))(y)
    y = ops.transpose(y, (0, 2, 1))
    return head(ops.mean(ops.reshape(y, (-1, 8, 8, 6)), axis=(1, 2)))


@kind()
def image_from_a_vector(x):
    y = L.Dense(4 * 4 * 6, name="a")(L.GlobalMaxPooling2D()(x))
    y = L.Reshape((4, 4, 6))(y)
    return pooled(L.Conv2D(6, 3, padding="same")(y))


@kind()
def shuffled(x):
    y = L.Conv2D(12, 1, name="a")(x)
    y = L.Reshape((8, 8, 3, 4))(y)
    y = L.Reshape((8, 8, 12))(L.Permute((1, 2, 4, 3))(y))
    return pooled(L.Conv2D(12, 1, groups=3, name="b")(y))


@kind()
def split_and_sliced(x):
    y = L.Conv2D(10, 1, name="a")(x)
    first, second, third = ops.split(y, [2, 6], axis=-1)
    z = L.Conv2D(4, 3, padding="same")(second) + y[..., 3:7] * first[:, :, :, :1]
    return pooled(L.Concatenate()([z, third]))


@kind()
def activated(x):
    y = L.PReLU()(L.Conv2D(4, 3)(x))
    y = L.PReLU(shared_axes=[1, 2])(L.Conv2D(4, 3)(y))
    y = ops.gelu(L.Dropout(0.5)(L.UpSampling2D()(y)))
    y = L.AveragePooling2D(2, padding="same")(L.ZeroPadding2D()(L.Cropping2D()(y)))
    return pooled(ops.maximum(y, ops.tanh(y)) / 2.0)


@keras.saving.register_keras_serializable("tests")
class Scale(L.Layer):
    """A custom layer that stores the number of channels."""

    def __init__(self, channels, **kwargs):
        super().__init__(**kwargs)
        self.channels = channels
        self.gamma = self.add_weight(
            name="gamma", shape=(channels,), initializer="ones"
        )

    def call(self, inputs):
        return inputs * self.gamma

    def get_config(self):
        return {**super().get_config(), "channels": self.channels}


@kind()
def padded_shortcut(x):
    y = L.Conv2D(4, 3, padding="same", name="a")(x)
    z = L.Conv2D(8, 3, strides=2, padding="same", name="b")(y)
    y = L.AveragePooling2D(1, strides=2)(y)
    return pooled(L.Add()([ops.pad(y, [[0, 0], [0, 0], [0, 0], [2, 2]]), z]))


@kind()
def layer_scale(x):
    y = L.Conv2D(6, 3, padding="same", name="a")(x)
    return pooled(L.Add()([y, Scale(6)(L.Conv2D(6, 1, activation="gelu")(y))]))


@kind(shape=(7,), dtype="int32")
def recurrent(x):
    y = L.LSTM(6, return_sequences=True)(L.Embedding(11, 8)(x))
    y = L.Bidirectional(L.GRU(4, return_sequences=True))(y)
    y, *state = L.GRU(4, return_sequences=True, return_state=True)(y)
    y = L.SimpleRNN(4, return_sequences=True)(y, initial_state=state)
    return head(L.Bidirectional(L.LSTM(4), merge_mode="sum")(y))


@kind(shape=(6, 8))
def attention(x):
    y = L.Dense(8, name="a")(x)
    y = y + L.MultiHeadAttention(4, 3)(y, y)
    z = L.Dense(12, activation="gelu", name="wide")(y)
    y = y + L.MultiHeadAttention(2, 3, output_shape=8)(L.Dense(8)(z), y, key=z)
    return head(L.GlobalAveragePooling1D()(y))


@kind(shape=(6, 8))
def attention_with_shared_keys(x):
    y = L.Dense(8, name="a")(x)
    y = y + L.GroupQueryAttention(3, 6, 3)(y, y, use_causal_mask=True)
    return head(L.GlobalAveragePooling1D()(y))


# Heads that ask nothing still answer with the values, which all of them share.
@kind(shape=(6, 8), is_exact=False)
def attention_with_one_head_of_keys(x):
    y = L.Dense(8, name="a")(x)
    y = y + L.GroupQueryAttention(2, 4, 1, use_bias=False)(y, y)
    return head(L.GlobalAveragePooling1D()(y))


@kind(shape=(6, 8))
def attention_by_hand(x):
    query, key, value = (
        ops.transpose(ops.reshape(L.Dense(12, name=n)(x), (-1, 6, 3, 4)), (0, 2, 1, 3))
        for n in "qkv"
    )
    scores = ops.softmax(ops.matmul(query, ops.transpose(key, (0, 1, 3, 2))))
    y = ops.einsum("bhij,bhjd->bihd", scores, value)
    return head(L.GlobalAveragePooling1D()(ops.reshape(y, (-1, 6, 12))))


@kind(shape=(6, 8))
def attention_with_queries_in_groups(x):
    """As many queries share a head of keys as there are such heads."""
    query, key, value = (
        L.EinsumDense("abc,cde->abde", (None, heads, 3), name=name)(x)
        for name, heads in (("q", 4), ("k", 2), ("v", 2))
    )
    query = ops.reshape(query, (-1, 6, 2, 2, 3))
    scores = ops.softmax(ops.einsum("btkgh,bskh->bkgts", query, key))
    y = ops.reshape(ops.einsum("bkgts,bskh->btkgh", scores, value), (-1, 6, 4, 3))
    y = L.EinsumDense("abde,def->abf", (None, 8), name="o")(y)
    return head(L.GlobalAveragePooling1D()(y))


@kind(shape=(6, 8))
def einsum(x):
    y = L.EinsumDense("abc,cde->abde", output_shape=(None, 4, 6), bias_axes="de")(x)
    y = L.EinsumDense("abde,def->abf", output_shape=(None, 8), bias_axes="f")(y)
    y = L.EinsumDense("...x,xy->...y", output_shape=6)(y)
    return head(L.GlobalAveragePooling1D()(y))


# A bias over tokens makes zero channels nonzero again.
@kind(shape=(6, 8), is_exact=False)
def token_mixing(x):
    y = L.Dense(10)(x)
    z = L.Permute((2, 1))(y)
    z = L.Permute((2, 1))(L.Dense(6)(L.Dense(12, activation="gelu")(z)))
    return head(L.GlobalAveragePooling1D()(y + z))


@kind()
def shared_layers(x):
    convolution = L.Conv2D(6, 3, padding="same", activation="relu", name="a")
    y = L.Conv2D(6, 1, name="b")(x)
    return pooled(convolution(convolution(y)))


@kind()
def nested_models(x):
    block = keras.Sequential(
        [keras.Input((8, 8, 6)), L.Conv2D(4, 3, padding="same"), L.Conv2D(6, 1)]
    )
    y = L.Conv2D(6, 1, name="a")(x)
    return pooled(L.Add()([y, block(y)]))


@kind(shape=(None, None, 3))
def any_image_size(x):
    y = L.Conv2D(6, 3, padding="same", activation="relu")(x)
    y = L.Concatenate()([y, L.UpSampling2D()(L.MaxPooling2D()(y))])
    return L.Conv2D(2, 1, name="head")(y)


@kind(shape=(3, 8, 8))
def channels_first(x):
    # Only followed and cut: TensorFlow supports channels-first convolutions only on GPUs.
    y = L.BatchNormalization(axis=1)(L.ZeroPadding2D(data_format="channels_first")(x))
    y = L.Permute((2, 3, 1))(y)
    return pooled(L.Conv2D(6, 3)(y))


def two_ports():
    a, b = keras.Input(IMAGE, name="left"), keras.Input((4,), name="right")
    y = L.GlobalAveragePooling2D()(L.Conv2D(6, 3, name="a")(a))
    y = L.Add()([y, L.Dense(6, name="b")(b)])
    z = L.Dense(8, activation="relu", name="c")(y)
    return keras.Model(
        [a, b], [head(z), L.Dense(2, name="second")(y)], name="two_ports"
    )


KINDS["two_ports"] = two_ports, True
every_kind = pytest.mark.parametrize(("build", "is_exact"), KINDS.values(), ids=KINDS)


def random_inputs(model, count=3):
    generator = np.random.default_rng(0)
    arrays = []
    for tensor in model.inputs:
        shape = (count, *(size or 8 for size in tensor.shape[1:]))
        is_float = keras.backend.is_float_dtype(tensor.dtype)
        array = (
            generator.normal(size=shape)
            if is_float
            else generator.integers(0, 11, shape)
        )
        arrays.append(array.astype(tensor.dtype))
    return arrays if len(arrays) > 1 else arrays[0]


def outputs(model, x):
    flat = keras.tree.flatten(model(x, training=False))
    return np.concatenate([np.ravel(y) for y in flat])


def randomised(model):
    generator = np.random.default_rng(1)
    for weight in model.weights:
        if keras.backend.is_float_dtype(weight.dtype):
            low = 0.5 if "variance" in weight.name else -0.5
            weight.assign(generator.uniform(low, 1.0, weight.shape))
    return model


def half(graph):
    """Every second unit of those that may be cut."""
    keep = np.ones(graph.num_units, bool)
    for group in graph.groups:
        if not group.whole:
            keep[group.units[1::2]] = False
    return keep


@every_kind
def test_cutting_zero_channels_changes_nothing(build, is_exact):
    model = randomised(build())
    flat = flatten(model)
    graph = ChannelGraph(flat)
    keep = half(graph)
    assert not keep.all()
    for slot in graph.trace.slots.values():
        if slot.role == "input":
            continue
        shape = [-1 if a == slot.axis else 1 for a in range(len(slot.variable.shape))]
        kept = keep[graph.units(slot.ids)].reshape(shape)
        slot.variable.assign(slot.variable.numpy() * kept)
    small = cut(graph, keep)
    assert small.count_params() < 0.8 * model.count_params()
    x = random_inputs(model)
    expected, found = outputs(flat, x), outputs(small, x)
    assert np.isfinite(found).all()
    if is_exact:
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@every_kind
def test_cutting_nothing_gives_the_same_bits(build, is_exact):
    model = randomised(build())
    same = tfc.prune_channels(model, ratio=0)
    x = random_inputs(model)
    np.testing.assert_array_equal(outputs(same, x), outputs(model, x))
    assert same.count_params() == model.count_params()


@every_kind
def test_half_trains_saves_and_costs_what_was_said(build, is_exact, tmp_path):
    model = build()
    graph = ChannelGraph(flatten(model))
    keep, cost = half(graph), Cost(graph)
    small = cut(graph, keep)
    assert small.count_params() == cost.parameters(keep)
    assert sum(macs(small).values()) == pytest.approx(cost.macs(keep))
    x = random_inputs(small)
    small.compile("sgd", "mse", run_eagerly=True)
    targets = [np.zeros(y.shape) for y in keras.tree.flatten(small(x))]
    loss = small.train_on_batch(x, targets if len(targets) > 1 else targets[0])
    assert np.isfinite(loss).all()
    small.save(tmp_path / "small.keras")
    restored = keras.models.load_model(tmp_path / "small.keras")
    np.testing.assert_array_equal(outputs(restored, x), outputs(small, x))


def groups(build):
    return tfc.channel_groups(KINDS[build][0]() if isinstance(build, str) else build)


def test_a_residual_stage_is_one_group():
    group = groups("residual")["b"]
    assert group.size == 6
    assert group.layers("output") == ["a", "b"]
    assert group.layers("input") == ["b", "head"]
    assert not group.whole


def test_inputs_and_outputs_stay():
    whole = {group.name: group.whole for group in groups("residual") if group.whole}
    assert whole == {"a": "comes from outside the model", "head": "leaves the model"}


def test_flattened_images_have_many_elements_a_unit():
    group = groups("concatenation_flattened")["a"]
    (reads,) = [m for m in group.members if m.role == "input"]
    # Both copies of a at all 6 x 6 places.
    assert (group.size, reads.layer, reads.per_unit) == (4, "head", 72)


def test_queries_leave_with_the_keys_that_they_share():
    heads = [g for g in groups("attention_with_queries_in_groups") if g.size == 2]
    assert [(g.whole, g.layers("output")) for g in heads] == [(None, ["q", "k", "v"])]


def test_grouped_convolutions_are_cut_alike_in_each_group_or_by_groups():
    assert groups("grouped_inside")["a"].size == 6
    assert groups("grouped_inside")["b"].size == 4
    assert groups("grouped_whole")["a"].size == 8
    assert groups("grouped_whole")["b"].channels_per_unit == 2


def test_heads_and_wide_layers_can_be_cut():
    found = groups("attention")
    assert {group.size for group in found if not group.whole} == {4, 12, 8, 2}
    assert groups("attention_by_hand")["q"].size == 4


def test_layers_that_mix_channels_are_left_whole_with_the_reason():
    @keras.saving.register_keras_serializable("tests")
    class Mixing(L.Layer):
        def call(self, inputs):
            return ops.cumsum(inputs, axis=-1)

    x = keras.Input((4,))
    y = Mixing(name="mixing")(L.Dense(6, name="a")(x))
    found = groups(keras.Model(x, head(y)))
    assert found["a"].whole == "mixing (Mixing) mixes channels"
    assert "Not followed: mixing (Mixing) mixes channels." in str(found)


@pytest.mark.parametrize("activation", ["softmax", L.Softmax(), L.PReLU()])
def test_an_activation_that_mixes_channels_keeps_them(activation):
    x = keras.Input((4,))
    y = L.Dense(6, activation=activation, name="a")(x)
    whole = groups(keras.Model(x, head(y)))["a"].whole
    assert whole == "the activation of a mixes them"


@keras.saving.register_keras_serializable("tests")
class Reversed(L.Dense):
    def call(self, inputs):
        return super().call(inputs)[..., ::-1]


def test_a_subclass_with_its_own_call_is_not_taken_for_its_parent():
    x = keras.Input((4,))
    y = Reversed(6, name="reversed")(L.Dense(6, name="a")(x))
    found = groups(keras.Model(x, head(y)))
    assert found["a"].whole == "reversed (Reversed) mixes channels"
    assert found.unfollowed


def test_prints_layers_axes_and_numbers():
    text = str(groups("residual"))
    assert "a[3], b[3]" in text
    assert "leaves the model" in text


def test_subclassed_models_of_keras_calls_are_followed():
    found = groups(models.subclassed())
    assert found["hidden"].size == 6
    assert found["hidden"].layers("input") == ["head"]


@keras.saving.register_keras_serializable("tests")
class WithTensorFlow(models.Subclassed):
    def call(self, inputs, training=None):
        hidden = tf.nn.relu(self.hidden(inputs))
        return self.head(hidden)


def test_the_first_call_that_cannot_be_followed_is_named():
    model = WithTensorFlow(name="untraceable")
    model(np.ones((1, 8), "float32"))
    with pytest.raises(
        ValueError, match=r"tf\.nn\.relu.*test_graph\.py:\d+.*keras\.ops"
    ):
        tfc.channel_groups(model)


def test_as_graph_leaves_the_model_alone():
    model = models.subclassed()
    as_graph(model, "follow")
    assert not model.hidden._inbound_nodes
