"""The pruning engine, and the functions that use it."""

import warnings

import keras
import numpy as np
import pytest

import tfcompress as tfc
from tests import models
from tfcompress.callbacks import ChannelPruning, Pruning
from tfcompress.core.compressed import treatments
from tfcompress.criteria import Criterion
from tfcompress.pruning.prune import Engine, masked_weights
from tfcompress.schedules import Polynomial
from tfcompress.transforms import Hashed, Mask, Uniform

L = keras.layers
pytestmark = pytest.mark.usefixtures("uncompiled")

EIGHT = np.array([[3.0, -1.0], [8.0, -4.0], [2.0, 7.0], [-6.0, 5.0]])


def dense(values, name="d"):
    layer = L.Dense(np.shape(values)[1], use_bias=False, name=name)
    model = keras.Sequential([keras.Input((len(values),)), layer])
    layer.kernel.assign(values)
    return model


def kernel(model, name="d"):
    return tfc.strip(model).get_layer(name).kernel.numpy()


@pytest.mark.parametrize("rules", [{}, {".*": "mask"}], ids=["plain", "masks"])
@pytest.mark.parametrize("sparsity", [0.0, 0.125, 0.3, 0.5, 0.9])
def test_exactly_the_smallest_go_and_the_model_is_not_changed(rules, sparsity):
    model = dense(EIGHT)
    model = tfc.compress(model, rules) if rules else model
    small = tfc.prune(model, sparsity)
    expected = np.where(np.abs(EIGHT) > int(8 * sparsity + 0.5), EIGHT, 0)
    np.testing.assert_array_equal(kernel(small), expected)
    np.testing.assert_array_equal(kernel(model), EIGHT)
    assert type(small.layers[-1]) is type(model.layers[-1])


@pytest.mark.parametrize("build", models.ALL, ids=lambda build: build.__name__)
def test_models_of_every_kind(build):
    small = tfc.prune(build(), 0.5, scope="global")
    assert tfc.report(small).sparsity == pytest.approx(0.5, abs=0.01)


def test_what_a_floor_keeps_beyond_the_sparsity_is_said():
    model = keras.Sequential([keras.Input((4,)), L.Dense(3, name="a"), L.Dense(2)])
    with pytest.warns(
        UserWarning, match=r"2 elements stay.*sparsity=0.99 allows 0.*a/ker"
    ):
        small = tfc.prune(model, 0.99, scope="global")
    assert sum(np.count_nonzero(layer.kernel) for layer in small.layers) == 2


def test_layer_that_is_all_but_cut_off_is_named():
    model = keras.Sequential(
        [keras.Input((20,)), L.Dense(20, name="weak"), L.Dense(20, name="strong")]
    )
    weak, strong = model.layers
    weak.kernel.assign(np.full((20, 20), 0.01))
    strong.kernel.assign(np.ones((20, 20)))
    with pytest.warns(UserWarning, match=r"Global.*one group.*\['weak/kernel'\]"):
        small = tfc.prune(model, 0.9, scope="global")
    assert [np.count_nonzero(layer.kernel) for layer in small.layers] == [1, 79]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small = tfc.prune(model, 0.9, scope=tfc.scopes.Global(min_density=0.01))
    assert [np.count_nonzero(layer.kernel) for layer in small.layers] == [4, 76]


def test_rules_cover_what_they_name():
    model = models.sequential()
    small = tfc.prune(model, {"conv": 0.5, L.Dense: 0.25, "head": 0.75})
    report = tfc.report(small)
    assert report["conv/kernel"].sparsity == pytest.approx(0.5)
    assert report["head/kernel"].sparsity == pytest.approx(0.75, abs=0.01)
    assert report["depthwise/kernel"].sparsity == 0
    with pytest.raises(ValueError, match="Did you mean 'head'"):
        tfc.prune(model, {"hed": 0.5})


def test_hashed_weights_are_scored_by_their_values():
    model = tfc.compress(models.small(), {"hidden": [Hashed(), Mask()]})
    ((_, treatment),) = treatments(model)
    # The latent weight is retired; only the buckets matter.
    treatment.variable.assign(np.ones(treatment.variable.shape))
    small = tfc.prune(model, 0.5)
    before = np.abs(treatment.bake())
    after = np.abs(kernel(small, "hidden"))
    assert before[after == 0].max() <= before[after > 0].min()
    assert (after == 0).mean() == 0.5


def test_without_masks_the_model_is_stripped():
    model = tfc.compress(models.small(), {"hidden": Hashed(1 / 4)})
    small = tfc.prune(model, {"hidden": 0.5})
    assert not any("tfcompress" in type(a).__module__ for a in small._flatten_layers())
    before, after = kernel(model, "hidden"), small.get_layer("hidden").kernel.numpy()
    np.testing.assert_array_equal(after[after != 0], before[after != 0])
    assert (after == 0).mean() == 0.5


def test_quantized_weights_are_scored_by_their_grid():
    values = np.array([[0.4, 0.6, 2.0, 1.2]])
    model = tfc.compress(dense(values), {"d": [Uniform(2, per_channel=False), Mask()]})
    # On the grid they are 0, 0, 2 and 2: in a tie the earlier ones stay.
    np.testing.assert_array_equal(kernel(tfc.prune(model, 0.25)), [[0, 0, 2, 2]])
    np.testing.assert_array_equal(kernel(tfc.prune(model, 0.75)), [[0, 0, 2, 0]])


class PerOutput(Criterion):
    """Later outputs matter more."""

    def __call__(self, weight, signals):
        return np.arange(weight.shape[-1])


@pytest.mark.parametrize(
    "layer",
    [
        L.Conv2D(4, 2),
        L.Conv2DTranspose(4, 2),
        L.DepthwiseConv2D(2, depth_multiplier=2),
        L.Dense(4),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_scores_of_outputs_fit_every_layer(layer):
    layer = type(layer).from_config({**layer.get_config(), "name": "layer"})
    model = keras.Sequential([keras.Input((5, 5, 2)), layer])
    small = tfc.prune(model, 0.5, criterion=PerOutput())
    out = np.asarray(small(np.ones((1, 5, 5, 2)))) - np.asarray(small.layers[-1].bias)
    assert np.any(out != 0, axis=(0, 1, 2)).tolist() == [False, False, True, True]


class Wrong(Criterion):
    """Scores with the wrong shape."""

    def __call__(self, weight, signals):
        return np.ones(3)


def test_scores_that_do_not_fit():
    with pytest.raises(ValueError, match=r"d/kernel.*\(3,\).*\(4, 2\)"):
        tfc.prune(dense(EIGHT), 0.5, criterion=Wrong())


class Peak(Criterion):
    """A group is as good as its best element."""

    def __call__(self, weight, signals):
        return np.abs(weight)

    def reduce(self, scores, axes):
        return np.max(scores, axis=axes)


def test_a_criterion_says_what_a_group_scores():
    values = [[9.0, 6.0], [0.0, 6.0]]
    np.testing.assert_array_equal(
        kernel(tfc.prune(dense(values), 0.5, pattern="filter")), [[0, 6], [0, 6]]
    )
    small = tfc.prune(dense(values), 0.5, Peak(), pattern="filter")
    np.testing.assert_array_equal(kernel(small), [[9, 0], [0, 0]])
    small = tfc.prune(dense(EIGHT), 0.5, Peak(), pattern={"block": {"inputs": 3}})
    # Blocks of three inputs and a remainder of one: peaks 8, 7, 6, 5.
    np.testing.assert_array_equal(kernel(small) != 0, [[1, 1], [1, 1], [1, 1], [0, 0]])


def test_a_criterion_says_what_a_channel_scores():
    model = dense([[9.0, 6.0], [0.0, 6.0]], "first")
    model.add(L.Dense(1, name="second"))
    small = tfc.prune_channels(model, 0.5, criterion="l1")
    assert small.layers[1].kernel.numpy().tolist() == [[6], [6]]
    small = tfc.prune_channels(model, 0.5, criterion=Peak())
    assert small.layers[1].kernel.numpy().tolist() == [[9], [0]]


class Doubles(Criterion):
    """Repairs the remaining weights by doubling them."""

    def __call__(self, weight, signals):
        return np.abs(weight)

    def adjust(self, weight, keep, signals):
        return np.where(keep, 2 * weight, weight)


@pytest.mark.parametrize("rules", [{}, {".*": "mask"}], ids=["plain", "masks"])
def test_a_criterion_repairs_what_stays(rules):
    model = tfc.compress(dense(EIGHT), rules) if rules else dense(EIGHT)
    small = tfc.prune(model, 0.5, criterion=Doubles())
    expected = np.where(np.abs(EIGHT) > 4, 2 * EIGHT, 0)
    np.testing.assert_array_equal(kernel(small), expected)


def test_a_criterion_repairs_what_stays_of_channels():
    model = keras.Sequential(
        [keras.Input((2,)), L.Dense(2, name="first"), L.Dense(1, name="second")]
    )
    model.layers[0].set_weights([np.array([[9.0, 6.0], [0.0, 6.0]]), np.ones(2)])
    small = tfc.prune_channels(model, 0.5, criterion=Doubles())
    assert small.layers[1].kernel.numpy().tolist() == [[12], [12]]
    # The layer that reads the channels produces none that can be cut.
    second = model.layers[1].kernel.numpy()
    np.testing.assert_array_equal(small.layers[2].kernel, second[1:])

    masked = tfc.compress(model, {"first": "mask", "first/bias": "mask"})
    pruning = ChannelPruning(0.5, criterion=Doubles())
    pruning.set_model(masked)
    pruning.update(0)
    np.testing.assert_array_equal(kernel(masked, "first"), [[0, 12], [0, 12]])
    # Biases are not scored, and so not repaired.
    np.testing.assert_array_equal(tfc.strip(masked).layers[0].bias, [0, 1])


def test_nothing_is_repaired_before_another_transform():
    model = tfc.compress(dense(EIGHT), {"d": [Uniform(4), Mask()]})
    with pytest.raises(ValueError, match="Put the mask first"):
        tfc.prune(model, 0.5, criterion=Doubles())


def test_a_repair_that_fails_changes_no_weight():
    model = dense(EIGHT, "first")
    model.add(L.Dense(2, name="second"))
    rules = {"first": "mask", "second": [Uniform(4), Mask()]}
    model = tfc.compress(model, rules)
    before = model.get_weights()
    pruning = Pruning(0.5, criterion=Doubles())
    pruning.set_model(model)
    with pytest.raises(ValueError, match="Put the mask first"):
        pruning.prune(0.5)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_the_optimizer_forgets_weights_that_come_back():
    model = tfc.compress(dense(EIGHT), {".*": "mask"})
    model.compile("adam", "mse")
    model.fit(np.ones((4, 4)), np.zeros((4, 2)), verbose=0)
    pruning = Pruning(0.5)
    pruning.set_model(model)
    pruning.prune(0.5)
    ((_, treatment),) = treatments(model)
    kept = treatment.transforms[0].mask.numpy()
    before = [v.numpy() for v in model.optimizer.variables if v.shape == kept.shape]
    assert all((slot != 0).all() for slot in before)
    treatment.variable.assign(-EIGHT[::-1])
    pruning.prune(0.5)
    returned = treatment.transforms[0].mask.numpy() & ~kept
    assert returned.any()
    slots = [v.numpy() for v in model.optimizer.variables if v.shape == kept.shape]
    for old, new in zip(before, slots, strict=True):
        np.testing.assert_array_equal(new, np.where(returned, 0, old))


def test_each_rule_has_a_schedule_of_its_own():
    model = models.compile(tfc.compress(models.small(), {".*": "mask"}))
    rising = Polynomial(final_sparsity=0.75, begin_step=2, end_step=6, frequency=2)
    pruning = Pruning({"hidden": 0.5, "head": rising})
    x, y = models.inputs(model, 32), models.classes(32)
    model.fit(x, y, 16, epochs=1, callbacks=[pruning], verbose=0)
    first = {row.name: row.sparsity for row in tfc.report(model).weights}
    assert first["hidden/kernel"] == 0.5
    assert first["head/kernel"] == 0.0
    model.fit(x, y, 8, epochs=2, callbacks=[pruning], verbose=0)
    last = {row.name: row.sparsity for row in tfc.report(model).weights}
    assert last["hidden/kernel"] == 0.5
    assert last["head/kernel"] == pytest.approx(0.75, abs=0.02)
    with pytest.raises(ValueError, match="Did you mean 'hidden'"):
        Pruning({"hiden": 0.5}).set_model(model)


def test_a_schedule_by_name_is_no_rule():
    arguments = {"final_sparsity": 0.5, "begin_step": 0, "end_step": 9}
    assert Pruning({"polynomial": arguments}).schedule == Polynomial(**arguments)


def test_groups_of_channels_by_rule():
    model = keras.Sequential(
        [keras.Input((4,)), L.Dense(8, name="a"), L.Dense(8, name="b"), L.Dense(2)]
    )
    model = tfc.compress(model, {".*": "mask", ".*/bias": "mask"})
    pruning = ChannelPruning({"a": 0.5, "b": 0.25})
    pruning.set_model(model)
    pruning.update(0)
    assert [layer.units for layer in tfc.shrink(model).layers[1:]] == [4, 6, 2]


def test_a_later_fit_catches_up_with_its_schedule():
    model = models.compile(tfc.compress(models.small(), {".*": "mask"}))
    x, y = models.inputs(model, 32), models.classes(32)
    model.fit(x, y, callbacks=[Pruning(0.5)], verbose=0)
    model.fit(x, y, callbacks=[Pruning(0.9)], verbose=0)
    assert tfc.report(model).sparsity == pytest.approx(0.9, abs=0.01)


def test_dense_weights_that_were_restored_are_pruned_again():
    model = models.compile(tfc.compress(models.small(), {".*": "mask"}))
    x, y = models.inputs(model, 32), models.classes(32)
    restored = model.get_weights()
    model.fit(x, y, callbacks=[Pruning(0.5)], verbose=0)
    model.set_weights(restored)
    pruning = Pruning(Polynomial(final_sparsity=0.5, begin_step=0, end_step=1))
    model.fit(x, y, callbacks=[pruning], verbose=0)
    assert tfc.report(model).sparsity == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("rules", [{"a": "mask"}, {"a": "mask", "a/bias": "mask"}])
def test_channels_stay_the_same_when_a_training_goes_on(rules):
    model = keras.Sequential([keras.Input((4,)), L.Dense(8, name="a"), L.Dense(5)])
    model = models.compile(tfc.compress(model, rules))
    x, y = models.inputs(model, 32), models.classes(32)
    model.fit(x, y, callbacks=[ChannelPruning(0.5)], verbose=0)
    masks = [t.transforms[0].mask.numpy() for _, t in treatments(model)]
    # The callback would now choose the other half.
    model.layers[0].inner.kernel.assign(np.where(masks[0], 0.1, 9.0))
    pruning = ChannelPruning(0.5)
    model.fit(x, y, callbacks=[pruning], verbose=0)
    for before, (_, treatment) in zip(masks, treatments(model), strict=True):
        np.testing.assert_array_equal(treatment.transforms[0].mask.numpy(), before)
    assert pruning.sparsity == 0.5


def test_short_schedules_act_often_enough():
    updates = [s for s in range(61) if Polynomial(
        final_sparsity=0.9, begin_step=0, end_step=60).due(s - 1, s)]  # fmt: skip
    assert updates == list(range(0, 61, 3))
    long = Polynomial(final_sparsity=0.9, begin_step=0, end_step=10_000)
    assert long.interval == 100
    assert Polynomial(final_sparsity=0.9, begin_step=0, end_step=5).interval == 1


@pytest.mark.parametrize("sparsity", [1.0, -0.1, "half", None])
def test_sparsity_out_of_range(sparsity):
    with pytest.raises(ValueError, match=r"sparsity\): got .*\[0, 1\)"):
        tfc.prune(dense(EIGHT), sparsity)


# What a user writes: 15 lines, used everywhere.
class Taylor(Criterion):
    """`|w| E_n |1/M Σ_m a dL/da|`: large weights of feature maps that matter."""

    needs = frozenset({"activation_gradient"})

    def __call__(self, weight, signals):
        return np.abs(weight) * signals["activation_gradient"]


def every_layer():
    """A network with Conv2D, Conv2DTranspose, DepthwiseConv2D, Dense, LSTM, sharing."""
    x = keras.Input((6, 6, 3), name="image")
    y = L.Conv2D(6, 3, activation="relu", name="conv")(x)
    shared = L.Conv2D(6, 3, padding="same", activation="relu", name="shared")
    y = shared(shared(y))
    y = L.Conv2DTranspose(4, 2, activation="relu", name="transposed")(y)
    y = L.DepthwiseConv2D(3, name="depthwise")(y)
    y = L.LSTM(6, name="lstm")(L.Reshape((3, 12))(y))
    y = L.Dense(8, activation="relu", name="dense")(y)
    return keras.Model(x, L.Dense(5, name="head")(y), name="every_layer")


def lessons(model):
    x, y = models.inputs(model, 16), models.classes(16)
    return [(x[:8], y[:8]), (x[8:], y[8:])]


class TestACriterionOfAnOutsider:
    @pytest.mark.parametrize("name", ["taylor", "Taylor", Taylor], ids=str)
    def test_in_prune(self, name):
        model = models.compile(every_layer())
        small = tfc.prune(model, 0.5, criterion=name, data=lessons(model))
        by_size = tfc.prune(model, 0.5)
        report, other = tfc.report(small), tfc.report(by_size)
        for row in report.weights:
            if row.macs is not None:
                assert row.sparsity == pytest.approx(0.5, abs=0.05)
        assert [r.sparsity for r in report.weights if r.macs is not None] == [
            r.sparsity for r in other.weights if r.macs is not None
        ]
        zeros = [
            np.mean((a.numpy() == 0) == (b.numpy() == 0))
            for a, b in zip(small.weights, by_size.weights, strict=True)
            if len(a.shape) > 1
        ]
        assert min(zeros) < 1

    def test_in_the_callbacks(self):
        model = models.compile(tfc.compress(every_layer(), {".*": "mask"}))
        pruning = Pruning(0.5, criterion="taylor", data=lessons(model))
        x, y = models.inputs(model, 16), models.classes(16)
        model.fit(x, y, callbacks=[pruning], verbose=0)
        assert tfc.report(model).sparsity == pytest.approx(0.5, abs=0.01)

        model = models.compile(
            tfc.compress(every_layer(), {".*": "mask", ".*/bias": "mask"})
        )
        pruning = ChannelPruning(0.5, criterion="taylor", data=lessons(model))
        model.fit(x, y, callbacks=[pruning], verbose=0)
        small = tfc.shrink(model)
        assert models.difference(model, small, x) <= 1e-5
        assert small.get_layer("conv").filters == 3
        assert small.get_layer("dense").units == 4

    def test_in_prune_channels(self):
        model = models.compile(every_layer())
        small = tfc.prune_channels(model, 0.5, criterion="taylor", data=lessons(model))
        assert small.get_layer("conv").filters == 3
        assert small.get_layer("transposed").filters == 2
        assert small.get_layer("lstm").units == 3
        assert small.get_layer("dense").units == 4


def test_what_is_gone_does_not_return_where_it_may_not():
    model = keras.Sequential([keras.Input((4,)), L.Dense(1, use_bias=False)])
    model.layers[0].kernel.assign([[4.0], [3.0], [2.0], [1.0]])
    model = tfc.compress(model, {".*": "mask"})
    (weight,) = masked_weights(model)
    weight.mask.mask.assign([[False], [True], [True], [True]])
    for may_return, expected in ((False, [3, 2]), (True, [4, 3])):
        engine = Engine("magnitude", may_return=may_return)
        engine.prune(model, [(0.5, [weight])])
        kernel = tfc.strip(model).layers[0].kernel.numpy()
        assert kernel[kernel > 0].tolist() == expected


def three_kernels():
    """Of 160, 320 and 80 weights."""
    sizes = {"a": 20, "b": 16, "head": 5}
    hidden = [L.Dense(units, name=name) for name, units in sizes.items()]
    return keras.Sequential([keras.Input((8,)), *hidden])


def test_a_count_of_weights_that_stay():
    model = three_kernels()
    for scope in ("global", "erdos_renyi"):
        small = tfc.prune(model, num_kept=99, scope=scope)
        kernels = [layer.kernel for layer in small.layers if hasattr(layer, "kernel")]
        assert sum(map(np.count_nonzero, kernels)) == 99
    small = tfc.prune(model, num_kept={"a": 17, "head": 80})
    assert np.count_nonzero(small.get_layer("a").kernel) == 17
    assert np.count_nonzero(small.get_layer("b").kernel) == 320
    for wrong in (561, 2):
        with pytest.raises(
            ValueError, match=rf"num_kept\): got {wrong}, .* from 3.* to 560"
        ):
            tfc.prune(model, num_kept=wrong)
    for arguments in ({}, {"sparsity": 0.5, "num_kept": 5}):
        with pytest.raises(ValueError, match="expected one of them"):
            tfc.prune(model, **arguments)


def test_a_schedule_ends_at_a_count():
    model = tfc.compress(three_kernels(), {".*": "mask"})
    schedule = tfc.schedules.Polynomial(
        final_sparsity=0.9, begin_step=0, end_step=10, power=1
    )
    pruning = tfc.callbacks.Pruning(schedule, scope="global", num_kept=160)
    pruning.set_model(model)
    for step, kept in ((5, 360), (10, 160)):
        pruning.update(step)
        assert sum(np.count_nonzero(w.kept()) for w in masked_weights(model)) == kept
    for schedule in ({"a": 0.5}, 0):
        with pytest.raises(ValueError, match="single schedule for all weights"):
            tfc.callbacks.Pruning(schedule, num_kept=9).set_model(model)
