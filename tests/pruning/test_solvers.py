"""Solvers that correct the remaining weights, checked by hand and by brute force."""

import itertools

import keras
import numpy as np
import pytest

import tfcompress as tfc
from tests import models
from tfcompress.core.grid import integer_grid
from tfcompress.post_training import Inputs
from tfcompress.pruning.solvers import obs
from tfcompress.pruning.solvers.rounding import round_kept
from tfcompress.solvers import OBS, Magnitude, MatrixPattern, SparseGPT

L = keras.layers
SMALL = 1e-9


def inputs_of(moments, cross=None):
    moments = np.asarray(moments, float)[None]
    return Inputs(None, None, moments, moments if cross is None else cross[None])


def correlated(size, seed=0):
    """Second moments of random rows."""
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(4 * size, size)) @ generator.normal(size=(size, size))
    return rows.T @ rows / len(rows)


def each_weight(weight):
    return MatrixPattern(tfc.patterns.Weight(), weight.shape[1:])


def error(moments, weight, pruned):
    """`E‖zᵀ W̃ - zᵀ W‖²` of each output."""
    lost = (pruned - weight)[0]
    return np.sum(lost * (moments @ lost), axis=0)


def best_on(moments, weight, keep):
    """Least squares on a support, output by output."""
    best = np.zeros_like(weight)
    for o in range(weight.shape[2]):
        s = np.flatnonzero(keep[0, :, o])
        right = (moments @ weight[0, :, o])[s]
        best[0, s, o] = np.linalg.solve(moments[np.ix_(s, s)], right)
    return best


def test_two_inputs_by_hand():
    # H⁻¹ has 1 / (1 - 0.81) on its diagonal: w² * 0.19 is lost, 0.9 w goes to the other.
    weight, moments = np.array([[[1.0], [-2.0]]]), [[1.0, 0.9], [0.9, 1.0]]
    pattern, inputs = each_weight(weight), inputs_of(moments)
    # Once the first is removed, the other, now -1.1, is all that is left: it costs 1.1².
    scores = OBS(SMALL).scores(weight, pattern, inputs)
    np.testing.assert_allclose(scores.ravel(), [0.19, 1.21], rtol=1e-6)
    for solver in (OBS(SMALL), SparseGPT(SMALL)):
        pruned = solver(weight, 1, pattern, inputs)
        np.testing.assert_allclose(pruned.ravel(), [0.0, -1.1], rtol=1e-6)


@pytest.mark.parametrize("solver", [OBS(SMALL), SparseGPT(SMALL)])
def test_inputs_that_hang_together_in_no_way_are_ranked_by_their_norm(solver):
    weight = np.array([[[3.0, 1.0], [2.0, -5.0], [1.0, 4.0], [0.5, 0.1]]])
    norms = np.array([0.1, 1.0, 4.0, 10.0])
    pruned = solver(weight, 5, each_weight(weight), inputs_of(np.diag(norms**2)))
    sizes = np.abs(weight) * norms[:, None]
    expected = np.where(tfc.core.nouns.top(sizes, 5), weight, 0)
    np.testing.assert_allclose(pruned, expected, rtol=1e-6)


@pytest.mark.parametrize("num_kept", [1, 9, 20, 31, 32])
def test_obs_leaves_the_least_squares_solution_on_what_stays(num_kept):
    moments = correlated(8)
    weight = np.random.default_rng(1).normal(size=(1, 8, 4))
    pattern, inputs = each_weight(weight), inputs_of(moments)
    pruned = OBS(SMALL)(weight, num_kept, pattern, inputs)
    assert np.count_nonzero(pruned) == num_kept
    expected = best_on(moments, weight, pruned != 0)
    np.testing.assert_allclose(pruned, expected, rtol=1e-4, atol=1e-6)


def test_what_the_steps_cost_is_what_is_lost():
    moments = correlated(8)
    weight = np.random.default_rng(1).normal(size=(1, 8, 1))
    pattern, inputs = each_weight(weight), inputs_of(moments)
    scores = np.sort(OBS(SMALL).scores(weight, pattern, inputs).ravel())
    lost = [
        error(moments, weight, OBS(SMALL)(weight, 8 - i, pattern, inputs)).item()
        for i in range(9)
    ]
    steps = np.diff(lost)
    # A step that costs less than the previous one counts as much as that.
    np.testing.assert_allclose(scores, np.maximum.accumulate(steps), rtol=1e-4)


@pytest.mark.parametrize(
    "pattern", ["weight", {"block": {"inputs": 3}}, "n_of_m"], ids=str
)
def test_each_step_takes_out_what_is_missed_least(pattern, monkeypatch):
    monkeypatch.setattr(obs, "_BLOCK", 2)
    size = 8
    moments = correlated(size)
    weight = np.random.default_rng(2).normal(size=(1, size, 1))
    pattern = MatrixPattern(tfc.patterns.get(pattern), (size, 1))
    scores = OBS(SMALL).scores(weight, pattern, inputs_of(moments))
    labels, keep, lost = pattern.labels[0, :, 0], np.ones((1, size, 1), bool), 0.0
    runs = np.arange(size) // 4
    left = set(range(scores.size))
    for group in np.argsort(scores.ravel())[: np.isfinite(scores).sum()]:
        costs = {}
        for one in left:
            if pattern.quota and np.count_nonzero(
                keep[0, runs == runs[one], 0]
            ) <= 2:  # fmt: skip
                continue
            without = keep & (labels != one)[None, :, None]
            solution = best_on(moments, weight, without)
            costs[one] = error(moments, weight, solution).item()
        assert min(costs, key=costs.get) == group
        assert scores.ravel()[group] >= costs[group] - lost - 1e-6
        lost = costs[group]
        left.remove(group)
        keep[0, labels == group] = False
    assert len(left) == (4 if pattern.quota else 0)


def test_groups_of_several_outputs_go_together():
    moments = correlated(8)
    weight = np.random.default_rng(3).normal(size=(1, 8, 4))
    pattern = MatrixPattern(tfc.patterns.Block(2, 2), (8, 4))
    scores = OBS(SMALL).scores(weight, pattern, inputs_of(moments))
    inverse = np.linalg.inv(moments)
    first = [
        [
            sum(
                weight[0, i : i + 2, o]
                @ np.linalg.solve(
                    inverse[i : i + 2, i : i + 2], weight[0, i : i + 2, o]
                )
                for o in (j, j + 1)
            )
            for j in (0, 2)
        ]
        for i in (0, 2, 4, 6)
    ]
    # The first to be removed of each pair of outputs costs as much as initially.
    np.testing.assert_allclose(scores.min(axis=0), np.min(first, axis=0), rtol=1e-5)


def naive_sparse_gpt(weight, moments, num_kept, block_size):
    """Algorithm 1 of the paper, with an inverse for each input."""
    weight, size = weight[0].copy(), len(moments)
    keep, kept = np.zeros(weight.shape, bool), 0
    for i in range(size):
        inverse = np.linalg.inv(moments[i:, i:])
        if i % block_size == 0:
            width = min(block_size, size - i)
            diagonal = np.array(
                [np.linalg.inv(moments[j:, j:])[0, 0] for j in range(i, i + width)]
            )
            share = int(np.floor(num_kept * (i + width) / size + 0.5)) - kept
            scores = weight[i : i + width] ** 2 / diagonal[:, None]
            keep[i : i + width] = tfc.core.nouns.top(scores, share)
            kept += share
        gone = np.where(keep[i], 0.0, weight[i])
        weight[i:] -= inverse[:, :1] * gone / inverse[0, 0]
    return np.where(keep, weight, 0.0)


@pytest.mark.parametrize("block_size", [3, 128])
def test_sparse_gpt_is_the_algorithm_of_the_paper(block_size):
    moments = correlated(8)
    weight = np.random.default_rng(4).normal(size=(1, 8, 5))
    solver = SparseGPT(SMALL, block_size)
    pruned = solver(weight, 17, each_weight(weight), inputs_of(moments))
    expected = naive_sparse_gpt(weight, moments, 17, block_size)
    np.testing.assert_allclose(pruned[0], expected, rtol=1e-4, atol=1e-6)


def test_errors_of_earlier_layers_are_made_good_and_dead_inputs_go_first():
    # The exact model feeds 2 z where the pruned one feeds z; the last input is dead.
    moments = np.diag([1.0, 1.0, 0.0])
    weight = np.array([[[1.0], [3.0], [9.0]]])
    inputs = inputs_of(moments, 2 * moments)
    for solver in (OBS(SMALL), SparseGPT(SMALL)):
        pruned = solver(weight, 2, each_weight(weight), inputs)
        np.testing.assert_allclose(pruned.ravel(), [2.0, 6.0, 0.0], rtol=1e-6)


def test_inputs_that_are_not_finite_are_refused():
    weight = np.ones((1, 2, 1))
    with pytest.raises(ValueError, match="need finite inputs"):
        OBS()(weight, 1, each_weight(weight), inputs_of([[np.inf, 0], [0, 1]]))


def network():
    x = keras.Input((6, 6, 4), name="image")
    y = L.Conv2D(8, 3, use_bias=False, name="conv")(x)
    y = L.ReLU()(L.BatchNormalization(name="norm")(y))
    y = L.ReLU()(L.DepthwiseConv2D(3, name="depthwise")(y))
    y = L.GlobalAveragePooling2D()(L.Conv2D(16, 1, name="pointwise")(y))
    model = keras.Model(x, L.Dense(5, name="head")(y))
    generator = np.random.default_rng(0)
    x = generator.normal(size=(96, 6, 6, 2)) @ generator.normal(size=(2, 4))
    x = (x + 0.3 * generator.normal(size=x.shape) + 0.5).astype("float32")
    model(x, training=True)
    return model, x


def kernels(model):
    names = ("conv", "depthwise", "pointwise", "head")
    return {name: model.get_layer(name).kernel.numpy() for name in names}


def distance(model, other, x):
    return float(np.mean((model(x) - other(x)) ** 2))


@pytest.fixture(scope="module")
def trained():
    return network()


@pytest.mark.parametrize("scope", ["local", "global"])
def test_solvers_lose_less_than_magnitudes_and_leave_the_model_alone(trained, scope):
    model, x = trained
    before = [w.numpy() for w in model.weights]
    lost = {}
    for solver in ("magnitude", "sparse_gpt", "obs"):
        small = tfc.prune_weights(model, 0.5, x, solver, scope=scope)
        assert tfc.report(small).sparsity == pytest.approx(0.5, abs=0.01)
        assert not any("tfcompress" in type(a).__module__ for a in small.operations)
        lost[solver] = distance(model, small, x)
    assert lost["obs"] < 0.5 * lost["magnitude"]
    assert lost["sparse_gpt"] < lost["magnitude"]
    for old, weight in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, weight)


@pytest.mark.parametrize("solver", ["magnitude", "sparse_gpt", "obs"])
def test_two_of_four_along_the_channels_and_blocks_are_exact(trained, solver):
    model, x = trained
    small = tfc.prune_weights(model, {"conv|pointwise": 0.5}, x, solver, "n_of_m")
    for name, kernel in kernels(small).items():
        if name in ("depthwise", "head"):
            np.testing.assert_array_equal(kernel, kernels(model)[name])
        else:
            runs = kernel.reshape(-1, 4, kernel.shape[-1])
            np.testing.assert_array_equal(np.count_nonzero(runs, axis=1), 2)
    block = tfc.patterns.Block(4, 2)
    small = tfc.prune_weights(model, {"conv|pointwise": 0.75}, x, solver, block)
    for name in ("conv", "pointwise"):
        blocks = block.pool((kernels(small)[name] != 0).astype(float))
        assert np.mean(blocks > 0) == 0.25


def test_nothing_to_remove_changes_nothing(trained):
    model, x = trained
    assert models.difference(model, tfc.prune_weights(model, 0, x), x) <= 1e-5


def test_statistics_of_batch_norms_and_means_of_biases_follow(trained):
    model, x = trained
    small = tfc.prune_weights(model, 0.6, x)
    left = tfc.prune_weights(model, 0.6, x, recalibrate=False, correct_bias=False)
    for name in ("norm", "head"):
        means = [
            np.mean(keras.Model(m.inputs, m.get_layer(name).output)(x), axis=0)
            for m in (model, small, left)
        ]
        means = [mean.reshape(-1, mean.shape[-1]).mean(axis=0) for mean in means]
        np.testing.assert_allclose(means[1], means[0], atol=1e-4)
        assert np.abs(means[2] - means[0]).max() > 1e-3


@pytest.mark.parametrize("build", models.ALL, ids=lambda build: build.__name__)
@pytest.mark.filterwarnings("ignore:prune_weights left")
def test_every_kind_of_model_is_pruned(build):
    model = build()
    small = tfc.prune_weights(model, 0.5, models.inputs(model, 16), "sparse_gpt")
    pruned = [w for w in small.weights if w.name.endswith("kernel")]
    assert any(np.mean(w.numpy() == 0) == 0.5 for w in pruned)


def test_what_is_left_whole_is_said():
    model = models.residual()
    with pytest.warns(UserWarning, match=r"left 2 layers whole: 'separable'"):
        tfc.prune_weights(model, 0.5, models.inputs(model, 8), "magnitude")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sparsity": 0.5}, r"samples\): got None.*x\[:1000\]"),
        ({"sparsity": 1.0, "solver": "magnitude"}, "sparsity"),
        ({"sparsity": {"nothing": 0.5}, "solver": "magnitude"}, "matches no weight"),
        ({"sparsity": 0.5, "solver": "magnitude", "bits": 9}, "bits"),
        ({"sparsity": 0.5, "solver": "brain"}, "Unknown solver"),
    ],
)
def test_what_does_not_fit_is_refused(trained, arguments, message):
    with pytest.raises(ValueError, match=message):
        tfc.prune_weights(trained[0], **arguments)


def test_magnitude_without_samples_is_tfc_prune(trained):
    model, x = trained
    small = tfc.prune_weights(model, 0.5, solver="magnitude", scope="global")
    other = tfc.prune(model, 0.5, scope="global")
    assert models.difference(small, other, x) == 0


def test_what_stays_is_rounded_by_what_stays():
    moments = correlated(24)
    weight = np.random.default_rng(5).normal(size=(1, 24, 6))
    inputs = inputs_of(moments)
    pruned = OBS()(weight, 72, each_weight(weight), inputs)
    rounded = {
        rounding: round_kept(
            pruned, weight, 4, tfc.post_training.get(rounding), "max", inputs
        )
        for rounding in ("nearest", "gptq")
    }
    scale = np.abs(pruned).max(axis=1, keepdims=True) / 7
    nearest = np.rint(pruned / scale) * scale
    np.testing.assert_allclose(rounded["nearest"], nearest, atol=1e-12)
    lost = [error(moments, pruned, r).sum() for r in rounded.values()]
    assert lost[1] < 0.8 * lost[0]
    for kernel in rounded.values():
        assert not kernel[pruned == 0].any()
        np.testing.assert_allclose(kernel / scale, np.rint(kernel / scale), atol=1e-9)


@pytest.mark.parametrize("solver", ["magnitude", "obs"])
def test_bits_in_the_same_pass_keep_zeros(trained, solver):
    model, x = trained
    both = tfc.prune_weights(model, 0.5, x, solver, bits=3)
    for name, kernel in kernels(both).items():
        assert np.mean(kernel == 0) >= 0.5
        outputs = kernel.reshape(-1, 8 if name == "depthwise" else kernel.shape[-1])
        levels = integer_grid(outputs)[1]
        assert (levels <= (127 if name == "depthwise" else 3)).all()


def test_bits_without_zeros_are_those_of_quantize_weights():
    model = keras.Sequential([keras.Input((6,)), L.Dense(4), L.ReLU(), L.Dense(3)])
    x = models.inputs(model, 64)
    same = tfc.prune_weights(model, 0, x, bits=4)
    expected = tfc.quantize_weights(model, 4, x, "gptq")
    assert models.difference(same, expected, x) <= 1e-5
    floats = tfc.prune_weights(model, 0.5, solver="magnitude", bits={"dense.*": 3})
    assert all(
        len(np.unique(w)) <= 7 * w.shape[1] for w in floats.weights if w.ndim == 2
    )


def test_files_hold_exactly_the_weights_that_are_left(trained, tmp_path):
    model, x = trained
    small = tfc.prune_weights(model, 0.75, x, bits=4, scope="global")
    tfc.export_tflite(small, tmp_path / "m.tflite", "int8", samples=x)
    with tfc.Interpreter(tmp_path / "m.tflite") as interpreter:
        np.testing.assert_allclose(interpreter.run(x), small(x), atol=0.05)
        tensors = interpreter._interpreter.get_tensor_details()
        stored = {
            tuple(tensor["shape"]): interpreter._interpreter.get_tensor(tensor["index"])
            for tensor in tensors
            if len(tensor["quantization_parameters"]["scales"]) > 1
        }
    for name, shape in {"conv": (8, 3, 3, 4), "pointwise": (16, 1, 1, 8)}.items():
        kernel = np.moveaxis(kernels(small)[name], -1, 0)
        np.testing.assert_array_equal(np.sign(stored[shape]), np.sign(kernel))
        assert np.mean(kernel == 0) > 0.4


@pytest.mark.parametrize(
    ("pattern", "shape", "groups"),
    [
        ("kernel", (3, 3, 4, 5), 1),
        ("filter", (3, 3, 4, 5), 1),
        ({"strided": {"stride": 2}}, (3, 3, 4, 5), 1),
        ({"block": {"inputs": 5, "outputs": 3}}, (3, 3, 4, 5), 1),
        ("weight", (3, 3, 4), 4),
        ("n_of_m", (3, 3, 4), 4),
    ],
    ids=str,
)
def test_patterns_of_every_kind_are_kept(pattern, shape, groups):
    pattern = MatrixPattern(tfc.patterns.get(pattern), shape, groups)
    generator = np.random.default_rng(0)
    weight = pattern.to_matrix(generator.normal(size=shape))
    moments = np.stack([correlated(weight.shape[1], seed) for seed in range(groups)])
    inputs = Inputs(None, None, moments, moments)
    for solver, share in itertools.product(
        (OBS(), SparseGPT(), Magnitude()), (0.3, 0.6)
    ):
        num_kept = round(share * pattern.unscored.size)
        pruned = solver(weight, num_kept, pattern, inputs)
        alive = pattern.pool((pruned != 0).astype(float))
        assert set(np.unique(alive)) <= {0.0, 1.0}
        if "NOfM" not in repr(pattern.pattern) and "Strided" not in repr(
            pattern.pattern
        ):
            assert np.count_nonzero(alive) == num_kept
