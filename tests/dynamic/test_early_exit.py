"""Networks with early exits: exits, loss, thresholds, files of stages."""

import json

import keras
import numpy as np
import pytest
from keras import layers

import tfcompress as tfc
from tfcompress.dynamic.stages import cumulative_macs
from tfcompress.dynamic.thresholds import all_plans, solve_thresholds
from tfcompress.tflite.metadata import metadata, set_metadata
from tfcompress.tflite.read import read, write

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 8, 8, 3)).astype("float32")
Y = RNG.integers(0, 4, 64)

pytestmark = pytest.mark.usefixtures("uncompiled")


def network(softmax=False):
    """A residual network that ends with pooling and a dense layer."""
    x = keras.Input((8, 8, 3), name="image")
    y = a = layers.Conv2D(6, 3, padding="same", activation="relu", name="a")(x)
    y = layers.Conv2D(6, 3, padding="same", use_bias=False, name="b")(y)
    y = layers.ReLU(name="c")(layers.Add()([a, layers.BatchNormalization()(y)]))
    y = layers.MaxPooling2D(name="pool")(y)
    y = layers.Flatten()(layers.Conv2D(8, 3, name="d")(y))
    y = layers.Dense(4, "softmax" if softmax else None, name="end")(y)
    return keras.Model(x, y, name="network")


@pytest.fixture(scope="module")
def exits():
    keras.utils.set_random_seed(0)
    made = tfc.dynamic.EarlyExit(network(), at=["a", "pool"])
    for variable in made.network.weights:
        if "moving" not in variable.path:
            variable.assign(variable + 0.1 * RNG.normal(size=variable.shape))
    return made


def cross_entropy(**options):
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True, **options)


class TestExits:
    def test_the_last_is_the_model_itself(self):
        model = network()
        exits = tfc.dynamic.EarlyExit(model, at=["a", "pool"])
        outputs = exits.predict(X, verbose=0)
        assert list(outputs) == ["exit_1", "exit_2", "exit_3"]
        np.testing.assert_array_equal(outputs["exit_3"], model.predict(X, verbose=0))

    def test_default_heads_average_positions_and_end_like_the_model(self):
        exits = tfc.dynamic.EarlyExit(network(softmax=True), at=["a"])
        answers = exits.predict(X, verbose=0)["exit_1"]
        np.testing.assert_allclose(answers.sum(-1), 1, atol=1e-6)
        kernels = [w for w in exits.network.weights if tuple(w.shape) == (6, 4)]
        assert len(kernels) == 1

    def test_macs_by_hand(self):
        exits = tfc.dynamic.EarlyExit(network(), at=["a", "pool"])
        a, b, d = 64 * 27 * 6, 64 * 54 * 6, 4 * 54 * 8
        first = a + 6 * 4
        second = first + b + 6 * 4
        assert exits.macs == [first, second, second + d + 32 * 4]
        assert cumulative_macs(exits.network) == exits.macs

    def test_macs_of_nested_and_compressed_layers_count(self):
        inner = keras.Sequential([keras.Input((4,)), layers.Dense(8)])
        x = keras.Input((4,))
        y = inner(x)
        nested = keras.Model(x, [layers.Dense(2)(y), layers.Dense(2)(y)])
        assert cumulative_macs(nested) == [32 + 16, 32 + 16 + 16]
        small = tfc.compress(network(), {".*": "mask"})
        plain = tfc.dynamic.EarlyExit(network(), at=["a", "pool"])
        assert tfc.dynamic.EarlyExit(small, at=["a", "pool"]).macs == plain.macs

    def test_loss_is_the_weighted_sum(self):
        exits = tfc.dynamic.EarlyExit(
            network(), at=["a", "pool"], weights=[1, 0.5, 0.25]
        )
        exits.compile("sgd", cross_entropy())
        outputs = exits.predict(X, verbose=0)
        expected = sum(
            weight * float(cross_entropy()(Y, outputs[name]))
            for name, weight in zip(outputs, [1, 0.5, 0.25], strict=True)
        )
        assert exits.evaluate(X, Y, verbose=0, return_dict=True)["loss"] == (
            pytest.approx(expected, rel=1e-5)
        )

    def test_weights_of_samples_count_for_the_distillation(self):
        exits = tfc.dynamic.EarlyExit(network(), at=["a"], distillation="kl")
        exits.compile("sgd", cross_entropy())
        weights = np.repeat(np.float32([2, 0]), 4)

        def loss(x, y, weights=None):
            return float(exits.compute_loss(x, y, exits(x), weights))

        expected = pytest.approx(loss(X[:4], Y[:4]), rel=1e-5)
        assert loss(X[:8], Y[:8], weights) == expected

    def test_early_weights_fall_by_a_constant_factor(self):
        exits = tfc.dynamic.EarlyExit(network(), at=["a", "pool"])
        weights = [*exits.weights_of_loss.values()]
        np.testing.assert_allclose(weights, [1, 0.3**0.5, 0.3])

    def test_exits_get_metrics_of_their_own(self, exits):
        exits.compile(
            "sgd", cross_entropy(), [keras.metrics.SparseCategoricalAccuracy()]
        )
        found = exits.evaluate(X, Y, verbose=0, return_dict=True)
        outputs = exits.predict(X, verbose=0)
        for name, answers in outputs.items():
            right = np.mean(answers.argmax(-1) == Y)
            assert found[f"{name}_sparse_categorical_accuracy"] == pytest.approx(right)

    def test_distillation_does_not_move_what_only_the_last_exit_has(self):
        keras.utils.set_random_seed(0)
        exits = tfc.dynamic.EarlyExit(
            network(), at=["a"], weights=[1.0, 0.0], distillation="kl"
        )
        exits.compile(keras.optimizers.SGD(0.1), cross_entropy())
        before = exits.network.get_layer("end").kernel.numpy()
        first = exits.network.get_layer("a").kernel.numpy()
        exits.fit(X, Y, verbose=0)
        np.testing.assert_array_equal(exits.network.get_layer("end").kernel, before)
        assert not np.array_equal(exits.network.get_layer("a").kernel, first)

    def test_frozen_models_stay_what_they_are(self):
        model = network()
        exits = tfc.dynamic.EarlyExit(model, at=["pool"], freeze=True)
        exits.compile(keras.optimizers.SGD(0.1), cross_entropy())
        exits.fit(X, Y, verbose=0)
        np.testing.assert_array_equal(
            exits.predict(X, verbose=0)["exit_2"], model.predict(X, verbose=0)
        )

    def test_heads_first_then_everything(self, tmp_path):
        model = network()
        model.get_layer("a").trainable = False
        exits = tfc.dynamic.EarlyExit(model, at=["pool"], freeze=True)
        exits.save(tmp_path / "exits.keras")
        for trained in (exits, keras.models.load_model(tmp_path / "exits.keras")):
            heads = len(trained.trainable_variables)
            trained.unfreeze()
            others = len(trained.trainable_variables) - heads
            assert others == len(model.trainable_variables)
            trained.compile(keras.optimizers.SGD(0.1), cross_entropy())
            trained.fit(X, Y, verbose=0)
            after = trained.network.get_layer("a").kernel
            np.testing.assert_array_equal(after, model.get_layer("a").kernel)
            answers = trained.predict(X, verbose=0)["exit_2"]
            assert np.abs(answers - model.predict(X, verbose=0)).max() > 1e-3

    def test_exits_learn(self):
        keras.utils.set_random_seed(0)
        labels = (X[:, :4, :4].mean((1, 2)) @ np.eye(3, 4)).argmax(-1)
        exits = tfc.dynamic.EarlyExit(network(), at=["a"], heads=_flat_head)
        exits.compile(keras.optimizers.Adam(3e-2), cross_entropy(), ["accuracy"])
        exits.fit(X, labels, batch_size=64, epochs=15, verbose=0)
        found = exits.evaluate(X, labels, verbose=0, return_dict=True)
        assert min(found["exit_1_accuracy"], found["exit_2_accuracy"]) > 0.9

    def test_saving_keeps_exits_and_training(self, tmp_path):
        exits = tfc.dynamic.EarlyExit(network(), at=["a"], distillation="kl")
        exits.compile("adam", cross_entropy(), ["accuracy"])
        exits.fit(X, Y, verbose=0)
        exits.save(tmp_path / "exits.keras")
        restored = keras.models.load_model(tmp_path / "exits.keras")
        assert restored.macs == exits.macs
        assert restored.evaluate(X, Y, verbose=0) == exits.evaluate(X, Y, verbose=0)
        restored.fit(X, Y, verbose=0)

    def test_compressed_models_stay_compressed(self):
        small = tfc.compress(network(), {"b": tfc.transforms.Uniform(4)})
        exits = tfc.dynamic.EarlyExit(small, at=["a"])
        plain = tfc.strip(exits.network)
        assert len(np.unique(plain.get_layer("b").kernel)) <= 15 * 6


def _flat_head(tensor):
    return layers.Dense(4)(layers.Flatten()(tensor))


def test_heads_may_be_called_like_layers_of_the_model():
    x = keras.Input((4,))
    y = layers.Dense(4, name="dense")(layers.ReLU(name="re_lu")(x))
    model = keras.Model(x, layers.Dense(4, name="end")(y))

    def head(tensor):
        tensor = layers.ReLU(name="re_lu")(layers.Dense(4, name="dense")(tensor))
        return layers.Dense(4, name="end")(tensor)

    exits = tfc.dynamic.EarlyExit(model, ["dense"], head)
    names = [operation.name for operation in exits.network.operations]
    assert len(set(names)) == len(names)
    assert exits.network.get_layer("end") is not exits.network.get_layer("end_1")


class TestBadInput:
    @pytest.mark.parametrize(
        ("at", "message"),
        [
            (["nothing"], "has no layer 'nothing'"),
            (["image", "end"], "nothing with weights follows 'end'"),
            (["pool", "a"], "do not follow each other"),
            (["a", "a"], "do not follow each other"),
        ],
    )
    def test_places(self, at, message):
        with pytest.raises(ValueError, match=message):
            tfc.dynamic.EarlyExit(network(), at)

    def test_a_layer_beside_the_main_path(self):
        model = network()
        aside = layers.Dense(2, name="aside")(model.get_layer("pool").output)
        both = keras.Model(model.input, [model.output, aside])
        with pytest.raises(ValueError, match="has 2 outputs: expected one"):
            tfc.dynamic.EarlyExit(both, at=["a"])

    def test_a_head_of_another_shape(self):
        with pytest.raises(ValueError, match=r"returns the shape \(None, 5\)"):
            tfc.dynamic.EarlyExit(
                network(), ["pool"], lambda x: layers.Dense(5)(layers.Flatten()(x))
            )

    def test_no_exits(self):
        with pytest.raises(ValueError, match="expected several of equal shape"):
            tfc.dynamic.EarlyExit(network())

    def test_state(self):
        x = keras.Input(batch_shape=(1, 5, 3))
        y = layers.GRU(4, stateful=True, return_sequences=True, name="a")(x)
        model = keras.Model(x, layers.Dense(2)(layers.GRU(4)(y)))
        with pytest.raises(ValueError, match="keeps state between calls"):
            tfc.dynamic.EarlyExit(model, ["a"], lambda y: layers.Dense(2)(y[:, -1]))

    @pytest.mark.parametrize("given", [{"heads": _flat_head}, {"freeze": True}])
    def test_settings_of_exits_that_are_not_added(self, exits, given):
        with pytest.raises(ValueError, match="only apply to added exits"):
            tfc.dynamic.EarlyExit(exits.network, **given)

    def test_budgets(self, exits):
        with pytest.raises(ValueError, match="if all samples leave at the first exit"):
            exits.calibrate(X, macs=0.1)
        with pytest.raises(ValueError, match="needs labels"):
            exits.calibrate(X, accuracy_drop=0.1)
        with pytest.raises(ValueError, match="either a budget"):
            exits.calibrate(X)


class TestThresholds:
    # Confidence of three exits in four samples.
    SURE = np.array([[0.9, 0.8, 0.7, 0.6], [0.6, 0.9, 0.8, 0.7], [0.9] * 4])

    @property
    def probabilities(self):
        return np.stack([self.SURE, 1 - self.SURE], axis=-1)

    def test_half_leaves_at_the_first_exit(self):
        plans = all_plans(
            self.probabilities,
            np.array([1.0, 2.0, 3.0]),
            [0, 0, 0, 0],
            tfc.dynamic.exit_rules.Confidence(),
        )
        by_shares = {plan.shares: plan for plan in plans}
        plan = by_shares[(0.5, 0.25, 0.25)]
        # Half way between a sample that leaves and one that does not: 0.8 and 0.7.
        np.testing.assert_allclose(plan.thresholds, (0.75, 0.75))
        assert plan.macs == 0.5 * 1 + 0.25 * 2 + 0.25 * 3
        assert (1.0, 0.0, 0.0) in by_shares
        assert (0.0, 0.0, 1.0) in by_shares
        np.testing.assert_array_equal(plan.exits(self.probabilities), [0, 0, 1, 2])

    def test_budget_is_kept_and_used(self):
        # With q = 1 the shares are 1/4, 1/4 and 1/2, which cost 2.25.
        plan = solve_thresholds(self.probabilities, [1, 2, 3], budget=2.0)
        assert (plan.shares, plan.macs) == ((0.5, 0.25, 0.25), 1.75)
        plan = solve_thresholds(self.probabilities, [1, 2, 3], budget=2.25 / 3)
        assert plan.macs == 2.25

    def test_all_plans_make_a_policy(self, exits):
        plans = exits.plans((X, Y))
        assert plans[0].shares == (1.0, 0.0, 0.0)
        assert plans[-1].shares == (0.0, 0.0, 1.0)
        points = [
            tfc.dynamic.OperatingPoint({"thresholds": p.thresholds}, p.macs, p.accuracy)
            for p in plans
        ]
        chosen = tfc.dynamic.Policy(points).choose(macs=0.8 * exits.macs[-1])
        best = max(p.accuracy for p in plans if p.macs <= 0.8 * exits.macs[-1])
        assert chosen.accuracy == best

    def test_ties_leave_together_and_are_counted(self):
        probabilities = np.tile([[[0.9, 0.1]]], (2, 4, 1))
        plan = solve_thresholds(probabilities, [1, 3], budget=2.0)
        assert (plan.shares, plan.macs) == ((1.0, 0.0), 1.0)

    def test_accuracy_is_kept_at_the_lowest_price(self):
        # The first exit is right where it is confident, the last always.
        first = [[0.9, 0.1], [0.2, 0.8], [0.55, 0.45], [0.6, 0.4]]
        last = [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0]]
        plan = solve_thresholds(
            np.array([first, last]), [1, 4], [0, 1, 1, 0], accuracy_drop=0.0
        )
        assert (plan.accuracy, plan.shares) == (1.0, (0.75, 0.25))
        np.testing.assert_allclose(plan.thresholds, (0.575,))

    def test_rules(self):
        rules = tfc.dynamic.exit_rules
        even, sure = np.full((1, 1, 4), 0.25), np.eye(4)[None, :1]
        assert rules.Entropy()(even)[0, 0] == pytest.approx(0)
        assert rules.Entropy()(sure)[0, 0] == pytest.approx(1)
        # H = 0.025 nats of ten classes, the threshold of BranchyNet.
        p = np.full((1, 1, 10), (1 - 0.9969) / 9)
        p[..., 0] = 0.9969
        nats = -(p * np.log(p)).sum()
        assert rules.Entropy()(p)[0, 0] == pytest.approx(1 - nats / np.log(10))
        plan = solve_thresholds(
            np.eye(3)[[[0, 1], [0, 2], [1, 2]]], [1, 2, 3], budget=2.5, rule="patience"
        )
        assert plan.thresholds[1] == 0.5


class TestFiles:
    @pytest.mark.parametrize("precision", ["float32", "float16", "dynamic", "int8"])
    def test_all_leave_where_they_should(self, exits, tmp_path, precision):
        plan = exits.calibrate(X, macs=0.8)
        path = tmp_path / "cascade.tflite"
        result = tfc.dynamic.export_cascade(exits, plan, path, precision, X)
        cascade = tfc.runtime.Cascade(path)
        answers = cascade.run(X)
        everywhere = cascade.answers(X)
        np.testing.assert_array_equal(
            answers.outputs, everywhere[answers.exits, np.arange(len(X))]
        )
        shares = [np.mean(answers.exits == i) for i in range(3)]
        np.testing.assert_allclose(shares, plan.shares, atol=0.05)
        noise = {"float32": 1e-5, "float16": 0.01, "dynamic": 0.05, "int8": 0.1}
        expected = np.stack([*exits.predict(X, verbose=0).values()])
        assert np.std(everywhere - expected) < noise[precision] * np.std(expected)
        assert result.size_bytes == path.stat().st_size

    def test_file_is_hardly_larger_and_computes_nothing_twice(self, exits, tmp_path):
        plan = exits.calibrate(X, macs=0.8)
        whole = tfc.export_tflite(exits.network, tmp_path / "whole.tflite")
        staged = tfc.dynamic.export_cascade(exits, plan, tmp_path / "staged.tflite")
        assert staged.size_bytes < 1.05 * whole.size_bytes + 1024
        file = read((tmp_path / "staged.tflite").read_bytes())
        assert sum(len(g.operators) for g in file.subgraphs) == sum(
            whole.operations.values()
        )
        assert [s.signatureKey for s in file.signatureDefs] == [
            b"exit_1", b"exit_2", b"exit_3",
        ]  # fmt: skip

    def test_encoded_weights(self, exits, tmp_path):
        shared = tfc.compress(exits.network, {".*": tfc.transforms.Codebook(8)})
        exits = tfc.dynamic.EarlyExit(tfc.strip(shared))
        plan = exits.calibrate(X, macs=0.8)
        path = tmp_path / "encoded.tflite"
        result = tfc.dynamic.export_cascade(exits, plan, path, codec="auto")
        assert any(constant.encoding for constant in result.constants)
        answers = tfc.runtime.Cascade(path).answers(X)
        expected = np.stack([*exits.predict(X, verbose=0).values()])
        np.testing.assert_allclose(answers, expected, atol=1e-4)

    def test_thresholds_are_in_the_metadata(self, exits, tmp_path):
        plan = exits.calibrate(X, macs=0.8, rule="entropy")
        path = tmp_path / "cascade.tflite"
        tfc.dynamic.export_cascade(exits, plan, path)
        about = metadata(path.read_bytes(), "tfc.cascade")
        assert about["rule"] == "entropy"
        assert about["thresholds"] == list(plan.thresholds)
        assert about["macs"] == exits.macs
        json.dumps(about, allow_nan=False)

    def test_other_thresholds(self, exits, tmp_path):
        path = tmp_path / "cascade.tflite"
        tfc.dynamic.export_cascade(exits, exits.calibrate(X, macs=0.8), path)
        assert set(tfc.runtime.Cascade(path, thresholds=[0, 0]).run(X).exits) == {0}
        assert set(tfc.runtime.Cascade(path, thresholds=[2, 2]).run(X).exits) == {2}
        with pytest.raises(ValueError, match="expected one threshold per exit"):
            tfc.runtime.Cascade(path, thresholds=[0.5])

    @pytest.mark.parametrize(
        ("key", "value"),
        [("stages", 3), ("thresholds", ["x"]), ("outputs", None), ("rule", "nothing")],
    )
    def test_damaged_metadata(self, exits, tmp_path, key, value):
        path = tmp_path / "cascade.tflite"
        tfc.dynamic.export_cascade(exits, exits.calibrate(X, macs=0.8), path)
        file = read(path.read_bytes())
        about = {**metadata(path.read_bytes(), "tfc.cascade"), key: value}
        set_metadata(file, "tfc.cascade", about)
        with pytest.raises(ValueError, match=r"describe a cascade|Unknown exit rule"):
            tfc.runtime.Cascade(write(file))

    def test_ordinary_files_are_no_cascades(self, tmp_path):
        tfc.export_tflite(network(), tmp_path / "plain.tflite")
        with pytest.raises(ValueError, match="is not a cascade"):
            tfc.runtime.Cascade(tmp_path / "plain.tflite")

    def test_integers_need_samples(self, exits, tmp_path):
        plan = exits.calibrate(X, macs=0.8)
        with pytest.raises(ValueError, match="chosen again: pass samples"):
            tfc.dynamic.export_cascade(exits, plan, tmp_path / "a.tflite", "int8")
        assert not list(tmp_path.iterdir())
