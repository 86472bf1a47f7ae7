"""What a treated weight does besides passing through its transforms."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcompress as tfc
from tests import models
from tfcompress.core.compressed import CompressedLayer, treatments
from tfcompress.core.nouns import WeightTransform
from tfcompress.core.substituted import call_substituted
from tfcompress.core.walk import weight_refs
from tfcompress.transforms import Codebook, Mask, Uniform

L = keras.layers


class Shift(WeightTransform):
    """Adds a trained number, with a penalty of 1."""

    def build(self, layer, weight, layout):
        self.shift = layer.add_weight(shape=(), initializer="zeros", name="shift")

    def __call__(self, weight, training=False):
        return weight + self.shift

    def penalty(self):
        return 1.0 + 2.0 * self.shift


def shared(rules, **kwargs):
    layer = L.Dense(1, use_bias=False, name="d", **kwargs)
    x = keras.Input((1,))
    model = keras.Model(x, layer(layer(layer(x))))
    layer.kernel.assign([[3.0]])
    return tfc.compress(model, rules)


def test_a_penalty_counts_once_per_weight_however_often_it_is_used():
    model = shared({"d": Shift()})
    model.compile("sgd", lambda y, p: 0.0 * p)
    assert model.evaluate(np.ones((2, 1)), np.ones((2, 1)), verbose=0) == 1.0
    assert float(sum(model.losses)) == 1.0
    model.fit(np.ones((2, 1)), np.ones((2, 1)), verbose=0)
    # The gradient of the penalty is 2, and the rate 0.01.
    assert float(treatments(model)[0][1].transforms[0].shift) == pytest.approx(-0.02)


def test_the_regularizer_of_a_layer_stays_beside_penalties():
    model = shared({"d": Shift()}, kernel_regularizer=keras.regularizers.L2(0.5))
    assert float(sum(model.losses)) == 0.5 * 9 + 1


def test_substituted_values_are_used_and_nothing_is_assigned():
    norm = L.BatchNormalization()
    norm.build((None, 2))
    x = np.array([[1.0, 2.0], [3.0, 4.0]], "float32")
    before = [v.numpy() for v in norm.variables]
    values = {id(norm.gamma): tf.constant([2.0, 0.0])}
    done = call_substituted(norm, values, x, training=True)
    np.testing.assert_allclose(done.outputs[:, 1], [0.0, 0.0])
    assert {v.name for v, _ in done.updates} == {"moving_mean", "moving_variance"}
    for old, variable in zip(before, norm.variables, strict=True):
        np.testing.assert_array_equal(old, variable.numpy())


def waiting(values=((1.0,), (1.2,), (5.0,), (5.4,))):
    return models.dense_treatment(values, Mask(), Codebook(2), Uniform(8))


def test_held_transforms_are_passed_by_until_they_begin():
    treatment = waiting()
    assert len(np.unique(treatment.bake())) == 2
    treatment.hold()
    for value in (treatment.bake(), treatment().numpy()):
        # Uniform does not wait.
        np.testing.assert_allclose(value.ravel(), [1.0, 1.2, 5.0, 5.4], atol=0.03)
        assert len(np.unique(value)) == 4
    treatment.transforms[0].mask.assign([[False], [False], [True], [True]])
    treatment.begin()
    # Both values are used for the remaining weights.
    np.testing.assert_allclose(treatment.bake().ravel(), [0, 0, 5.0, 5.4], atol=0.03)
    treatment.begin()
    treatment.hold()
    treatment.hold()


def test_gradients_go_where_the_weight_goes():
    treatment = waiting()
    values = treatment.transforms[1].values
    upstream = np.array([[1.0], [2.0], [4.0], [8.0]], "float32")
    treatment.hold()
    latent, shared_values = models.gradients(treatment, upstream, values)
    np.testing.assert_array_equal(latent, upstream)
    np.testing.assert_array_equal(shared_values, [0, 0])
    treatment.begin()
    latent, shared_values = models.gradients(treatment, upstream, values)
    np.testing.assert_array_equal(shared_values, [3, 12])


def test_latent_weights_take_the_values_that_stood_for_them():
    treatment = waiting()
    before = treatment.variable.numpy()
    treatment.settle()
    # Nothing has been trained yet.
    np.testing.assert_array_equal(treatment.variable.numpy(), before)
    # The mean of the first cluster stays 1.1, the other values change.
    treatment.variable.assign([[1.3], [0.9], [-7.0], [40.0]])
    treatment.settle()
    np.testing.assert_allclose(
        treatment.variable.numpy().ravel(), [1.3, 0.9, 5.2, 5.2], rtol=1e-5
    )


def test_masks_that_change_late_do_not_lose_the_values_in_use():
    model = tfc.compress(models.small(), {"hidden": [Mask(), Codebook(4)]})
    ((_, treatment),) = treatments(model)
    mask, codebook = treatment.transforms
    codebook.values.assign([-2.0, -1.0, 1.0, 2.0])
    generator = np.random.default_rng(0)
    treatment.variable.assign(generator.normal(0, 9, treatment.variable.shape))
    pruning = tfc.callbacks.Pruning(tfc.schedules.Constant(0.5, frequency=1))
    pruning.set_model(model)
    pruning.update(1)
    assert mask.mask.numpy().mean() == 0.5
    assert set(np.unique(treatment.bake())) <= {-2.0, -1.0, 0.0, 1.0, 2.0}


def test_what_a_learned_mask_closes_stays_zero_behind_shared_values():
    class Gate(WeightTransform):
        """Lets large weights through."""

        def build(self, layer, weight, layout):
            self.limit = layer.add_weight(shape=(), initializer="zeros", name="limit")

        def __call__(self, weight, training=False):
            return tf.where(tf.abs(weight) > self.limit, weight, 0.0)

    treatment = models.dense_treatment([[1.0], [2.0], [3.0]], Gate(), Codebook(3))
    np.testing.assert_array_equal(treatment.bake().ravel(), [1, 2, 3])
    treatment.transforms[0].limit.assign(2.5)
    for value in (treatment.bake(), treatment().numpy()):
        np.testing.assert_array_equal(value.ravel(), [0, 0, 3])
    upstream = np.ones((3, 1), "float32")
    _, values = models.gradients(treatment, upstream, treatment.transforms[1].values)
    np.testing.assert_array_equal(values, [0, 0, 1])


def masked_and_shared():
    return tfc.compress(models.small(), {".*": [Mask(), Codebook(3)]})


@pytest.mark.parametrize("is_held", [True, False])
def test_files_know_what_waits(is_held, tmp_path):
    model = masked_and_shared()
    if is_held:
        for _, treatment in treatments(model):
            treatment.hold()
    x = models.inputs(model)
    model.save(tmp_path / "m.keras")
    model.save_weights(tmp_path / "m.weights.h5")
    other = masked_and_shared()
    other.load_weights(tmp_path / "m.weights.h5")
    for restored in (keras.models.load_model(tmp_path / "m.keras"), other):
        assert models.difference(model, restored, x) == 0
        for _, treatment in treatments(restored):
            assert bool(treatment.waiting.numpy()) == is_held


def test_files_from_before_transforms_could_wait_load():
    model = masked_and_shared()
    (layer, _) = (a for a in model.layers if isinstance(a, CompressedLayer))
    store = {}
    layer.save_own_variables(store)
    (waiting,) = [t.waiting for t in layer.treatments]
    assert store.pop(str(len(store) - 1)) is waiting
    waiting.assign(True)
    layer.load_own_variables(store)
    assert not waiting.numpy()


def test_shared_values_begin_when_the_schedule_is_over_or_the_training():
    for end_step, begins in ((4, True), (400, False)):
        model = models.compile(masked_and_shared())
        seen = []

        class Watch(keras.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None, model=model, seen=seen):
                seen.append(bool(treatments(model)[0][1].waiting.numpy()))

        schedule = tfc.schedules.Polynomial(
            final_sparsity=0.5, begin_step=0, end_step=end_step, frequency=2
        )
        x, y = models.inputs(model, 64), models.classes(64)
        callbacks = [tfc.callbacks.Pruning(schedule), Watch()]
        model.fit(x, y, 8, verbose=0, callbacks=callbacks)
        # Weights recover for a third of the rest: step 4 + (8 - 4) // 3.
        assert seen == ([True] * 4 + [False] * 4 if begins else [True] * 8)
        kernels = [t.bake() for _, t in treatments(model)]
        assert all(len(np.unique(k[k != 0])) <= 3 for k in kernels)


@pytest.mark.parametrize("build", models.ALL, ids=lambda build: build.__name__)
def test_names_and_order_of_weights_do_not_depend_on_what_holds_the_model(build):
    model = tfc.compress(build(), {".*": "mask"})
    names = [path for path, _ in treatments(model)]
    report = [row.name for row in tfc.report(model).weights if row.transforms]
    assert names == report
    distiller = tfc.distillation.Distiller(model, build())
    assert [path for path, _ in treatments(distiller)] == names
    assert [path for path, _ in treatments(keras.Sequential([model]))] == [
        f"{model.name}/{path}" for path in names
    ]


def test_equal_names_get_numbers():
    twins = [keras.Sequential([L.Dense(4, name="d")], name="twin") for _ in range(2)]
    model = keras.Sequential([keras.Input((4,)), L.Dense(4, name="d")])

    @keras.saving.register_keras_serializable("tests")
    class Holds(L.Layer):
        def build(self, shape):
            self.parts = twins
            for part in self.parts:
                part.build(shape)

        def call(self, x):
            for part in self.parts:
                x = part(x)
            return x

    model.add(Holds(name="holds"))
    paths = [ref.path for ref in weight_refs(model) if ref.is_kernel]
    assert paths == ["d/kernel", "holds/twin/d/kernel", "holds/twin/d/kernel_2"]
