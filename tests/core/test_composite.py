import keras
import numpy as np
import pytest

import tfcompress as tfc
from tests import composites
from tfcompress.core.composite import OwnVariables, is_composite
from tfcompress.core.compressed import treatments
from tfcompress.core.graph import flatten, flattened
from tfcompress.core.walk import weight_refs

L = keras.layers
ops = keras.ops


@pytest.fixture(scope="module")
def bert():
    return composites.bert()


@pytest.fixture(scope="module")
def flat(bert):
    return flattened(bert)


def paths(model):
    return [ref.path for ref in weight_refs(model)]


def test_nothing_is_closed_and_paths_stay(bert, flat):
    assert flat.closed == {}
    assert not any(map(is_composite, flat.model.layers))
    assert sorted(paths(flat.model)) == sorted(paths(bert))


def test_outputs_with_masks_are_the_same(bert, flat):
    words = np.array([[1, 2, 3, 4, 5, 6], [7, 8, 9, 0, 0, 0]])
    mask = np.array([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]])
    np.testing.assert_allclose(
        flat.model([words, mask]), bert([words, mask]), rtol=1e-5, atol=1e-6
    )


def test_own_variables_train_and_are_saved(flat, tmp_path):
    own = flat.model.get_layer("block_0")
    assert isinstance(own, OwnVariables)
    assert [variable.name for variable in own.trainable_variables] == ["scale"]
    flat.model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    inputs = [np.ones((2, 6)), np.ones((2, 6))]
    np.testing.assert_array_equal(loaded(inputs), flat.model(inputs))


def test_rules_name_layers_inside_as_before(bert, flat):
    rules = {"block_0/.*": "mask", "block_1/wide": "mask"}
    covered = [
        sorted(path for path, _ in treatments(tfc.compress(model, rules)))
        for model in (bert, flat.model)
    ]
    assert covered[0] == covered[1]
    assert "block_1/wide/kernel" in covered[0]
    assert "block_1/thin/kernel" not in covered[0]


def test_blocks_that_return_none_and_ask_for_the_batch_size():
    llama = composites.llama()
    flat = flattened(llama)
    assert flat.closed == {}
    assert sorted(paths(flat.model)) == sorted(paths(llama))
    words = np.arange(18).reshape(3, 6)
    np.testing.assert_allclose(flat.model(words), llama(words), rtol=1e-5, atol=1e-6)


def test_a_shared_layer_stays_shared():
    block, x = composites.Encoder(name="block"), keras.Input((6, 16))
    flat = flatten(keras.Model(x, block(block(x))))
    assert len(flat.weights) == len(block.weights)
    kinds = [type(operation).__name__ for operation in flat.operations]
    assert kinds.count("OwnVariables") == 1


class Wrong(L.Layer):
    def __init__(self, call, **kwargs):
        super().__init__(**kwargs)
        self.dense = L.Dense(4, name="dense")
        self.inner_call = call

    def build(self, shape):
        self.dense.build(shape)

    def call(self, x):
        return self.inner_call(self.dense, x)

    def compute_output_shape(self, shape):
        return shape

    def get_config(self):
        return {**super().get_config(), "call": self.inner_call}


def by_value(dense, x):
    return dense(x) if float(ops.sum(x)) > 0 else x


def tied(dense, x):
    return ops.matmul(dense(x), ops.transpose(dense.kernel))


def in_part(dense, x):
    return dense(x) * dense.kernel[0]


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (by_value, "float(ops.sum(x))"),
        (tied, "ops.transpose"),
        (in_part, "uses a variable"),
    ],
)
def test_what_is_in_the_way_is_said(call, reason):
    x = keras.Input((4,))
    model = keras.Model(x, Wrong(call, name="wrong")(x))
    flat = flattened(model)
    assert reason in flat.closed["wrong"]
    assert paths(flat.model) == paths(model)
    with pytest.warns(UserWarning, match=r"did not look into 1 layer: 'wrong'") as said:
        tfc.channel_groups(model)
    assert reason in str(said[0].message)


def test_what_only_training_does_is_not_lost():
    class Noisy(Wrong):
        def call(self, x, training=None):
            return self.dense(x) * 2.0 if training else self.dense(x)

    x = keras.Input((4,))
    model = keras.Model(x, Noisy(None, name="noisy")(x))
    assert "in training" in flattened(model).closed["noisy"]


def test_ranges_go_inside(bert):
    names = {layer.name for layer in tfc.quantize_activations(bert).layers}
    assert "block_0>wide_range" in names


def test_own_weights_of_a_subclassed_model_train():
    class Scaled(keras.Model):
        def build(self, shape):
            self.dense = L.Dense(2)
            self.dense.build(shape)
            self.gain = self.add_weight(name="gain", shape=(2,), initializer="ones")

        def call(self, x):
            return self.dense(x) * self.gain

    model = Scaled()
    x = np.ones((3, 4), "float32")
    model(x)
    small = tfc.prune_channels(model, 0)
    assert [w.name for w in small.trainable_weights] == ["kernel", "bias", "gain"]
    np.testing.assert_allclose(small(x), model(x), rtol=1e-6)
