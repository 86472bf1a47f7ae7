import itertools
import tracemalloc

import keras
import numpy as np
import pytest

from tfcompress.core import matrices
from tfcompress.quantization.post_training import GPTQ, AdaRound, Inputs, Nearest
from tfcompress.quantization.post_training.inputs import measure
from tfcompress.quantization.post_training.scales import channel_scales

L = keras.layers


def correlated(groups, size, noise=0.0, seed=0):
    """Statistics of random rows, with noise for the quantized model."""
    generator = np.random.default_rng(seed)
    mixing = generator.normal(size=(groups, size, size))
    x = generator.normal(size=(groups, 400, size)) @ mixing
    z = x + noise * generator.normal(size=x.shape)
    return Inputs(
        x.mean(axis=1),
        z.mean(axis=1),
        z.swapaxes(1, 2) @ z / 400,
        z.swapaxes(1, 2) @ x / 400,
    )


def loss(weight, rounded, inputs):
    """`E‖zᵀ W̃ - xᵀ W‖²` for each output, up to a constant."""
    return np.sum(
        rounded * (inputs.moments @ rounded - 2 * inputs.cross @ weight), axis=1
    )


@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize("method", [GPTQ(), AdaRound(300)], ids=["GPTQ", "AdaRound"])
def test_outputs_are_nearer_than_with_the_nearest_weights(method, noise):
    inputs = correlated(3, 20, noise)
    weight = np.random.default_rng(1).normal(size=(3, 20, 8))
    scale = channel_scales(weight, 7)
    codes = method(weight, scale, 7, inputs)
    np.testing.assert_array_equal(codes, np.rint(codes))
    # Each output reaches its last level, so that the exporter recovers the grid.
    assert (np.abs(codes).max(axis=1) == 7).all()
    nearest = Nearest()(weight, scale, 7) * scale
    least = loss(weight, np.linalg.solve(inputs.moments, inputs.cross @ weight), inputs)
    lost = (loss(weight, w, inputs) - least for w in (codes * scale, nearest))
    assert np.mean(next(lost)) < 0.6 * np.mean(next(lost))


def test_ada_round_finds_nearly_the_best_of_all_choices():
    inputs = correlated(1, 8)
    weight = np.random.default_rng(2).normal(size=(1, 8, 4))
    scale = channel_scales(weight, 3)
    found = loss(weight, AdaRound(600)(weight, scale, 3, inputs) * scale, inputs)
    floor = np.floor(weight / scale)
    ups = [np.reshape(bits, (1, 8, 1)) for bits in itertools.product((0, 1), repeat=8)]
    all_losses = np.stack(
        [loss(weight, np.clip(floor + up, -3, 3) * scale, inputs) for up in ups]
    )
    # It beats 98 % of the choices, on average over the outputs.
    assert np.mean(all_losses < found) < 0.02


def test_gptq_does_not_depend_on_the_size_of_blocks():
    inputs = correlated(2, 9, 0.2)
    weight = np.random.default_rng(3).normal(size=(2, 9, 5))
    scale = channel_scales(weight, 7)
    one, other = (GPTQ(block_size=b)(weight, scale, 7, inputs) for b in (4, 128))
    np.testing.assert_array_equal(one, other)


def test_inputs_that_do_not_matter_are_rounded_to_the_nearest():
    # Independent inputs cannot compensate for each other.
    eye = np.eye(6)[None]
    inputs = Inputs(np.zeros((1, 6)), np.zeros((1, 6)), eye, eye)
    weight = np.random.default_rng(4).normal(size=(1, 6, 3))
    scale = channel_scales(weight, 7)
    expected = Nearest()(weight, scale, 7)
    np.testing.assert_array_equal(GPTQ()(weight, scale, 7, inputs), expected)
    np.testing.assert_array_equal(AdaRound(300)(weight, scale, 7, inputs), expected)
    nothing = Inputs(inputs.mean, inputs.mean, 0 * eye, 0 * eye)
    np.testing.assert_array_equal(GPTQ()(weight, scale, 7, nothing), expected)


@pytest.mark.parametrize(
    "layer",
    [
        L.Dense(5),
        L.Conv1D(4, 3, strides=2, padding="same"),
        L.Conv2D(6, (3, 2), strides=2, padding="same", groups=2),
        L.Conv2D(4, 3, dilation_rate=2),
        L.DepthwiseConv2D(3, depth_multiplier=2, padding="same"),
        L.EinsumDense("...x,xy->...y", output_shape=(7, 6, 5)),
        # As for queries and joined heads in attention, with sums in another order.
        L.EinsumDense("abcd,def->abcef", output_shape=(None, 6, 3, 5)),
        L.EinsumDense("abcd,cde->abe", output_shape=(None, 5)),
        L.EinsumDense("abcd,dec->abe", output_shape=(None, 5)),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_rows_times_matrix_is_what_the_layer_computes(layer):
    shape = (2, 9, 4) if isinstance(layer, L.Conv1D) else (2, 7, 6, 4)
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    y = layer(x).numpy()
    matrix = matrices.to_matrix(layer, layer.kernel.numpy())
    found = matrices.rows(layer, keras.ops.convert_to_tensor(x)).numpy() @ matrix
    found = found.transpose(1, 0, 2).reshape(y.shape)
    np.testing.assert_allclose(found, y, atol=1e-5)
    kernel = matrices.from_matrix(layer, matrix)
    np.testing.assert_array_equal(kernel, layer.kernel)


@pytest.mark.parametrize(
    ("equation", "bias_axes", "has_rows", "has_bias"),
    [
        ("abc,cde->abde", "de", True, True),
        # One number for several outputs corrects none of them.
        ("abc,cde->abde", "e", True, False),
        ("abc,cd->abd", None, True, False),
        # One matrix for each b, and a sum over b that the kernel does not see.
        ("abc,bcd->abd", None, False, False),
        ("abc,cd->ad", None, False, False),
    ],
)
def test_what_an_einsum_multiplies(equation, bias_axes, has_rows, has_bias):
    shape = {"abde": (3, 2, 5), "abd": (3, 5), "ad": (5,)}[equation.split("->")[1]]
    layer = L.EinsumDense(equation, output_shape=shape, bias_axes=bias_axes)
    layer.build((None, 3, 4))
    assert matrices.has_matrix(layer) == has_rows
    if has_rows:
        assert (matrices.bias_of(layer) is not None) == has_bias


@pytest.mark.parametrize(
    "make",
    [lambda: GPTQ(damping=0), lambda: GPTQ(block_size=0), lambda: AdaRound(0)],
)
def test_bad_arguments(make):
    with pytest.raises(ValueError, match="got 0, expected a positive"):
        make()


def test_features_that_hardly_change_keep_their_variance():
    generator = np.random.default_rng(0)
    exact = np.float32(1000 + 0.1 * generator.normal(size=(4, 64, 6)))
    noisy = np.float32(exact + 0.05 * generator.normal(size=exact.shape))
    layer = L.Dense(3)
    layer.build((None, 6))
    batches = [list(map(keras.ops.convert_to_tensor, a)) for a in (exact, noisy)]
    x, z = (a.reshape(-1, 6).astype(np.float64) for a in (exact, noisy))
    centered = measure(layer, *batches, needs_moments=True, centered=True)
    for found, a, b in ((centered.moments, z, z), (centered.cross, z, x)):
        expected = (a - a.mean(0)).T @ (b - b.mean(0)) / len(a)
        np.testing.assert_allclose(found[0], expected, atol=1e-7)
    whole = measure(layer, *batches, needs_moments=True)
    np.testing.assert_allclose(whole.moments[0], z.T @ z / len(z), rtol=1e-12)
    np.testing.assert_allclose(whole.cross[0], z.T @ x / len(z), rtol=1e-12)
    np.testing.assert_allclose(whole.mean[0], z.mean(0), rtol=1e-12)
    again = whole.centered()
    np.testing.assert_allclose(again.moments, centered.moments, atol=1e-8)
    np.testing.assert_allclose(again.cross, centered.cross, atol=1e-8)
    weight = generator.normal(size=(1, 6, 3))
    codes = GPTQ()(weight, channel_scales(weight, 7), 7, centered)
    assert np.isfinite(codes).all()


def test_more_damping_where_there_is_no_factor():
    # The smallest eigenvalue is -0.02, and damping starts at 0.01 of the mean, 1.
    moments = np.array([[[1.0, 1.02], [1.02, 1.0]]])
    inputs = Inputs(np.zeros((1, 2)), np.zeros((1, 2)), moments, moments)
    weight, scale = np.array([[[0.4], [0.4]]]), np.ones((1, 1, 1))
    np.testing.assert_array_equal(GPTQ()(weight, scale, 7, inputs).ravel(), [0, 1])
    broken = Inputs(inputs.mean, inputs.mean, moments * np.nan, moments)
    with pytest.raises(ValueError, match="finite inputs"):
        GPTQ()(weight, scale, 7, broken)


def test_gptq_is_the_best_choice_one_by_one():
    inputs = correlated(2, 5, 0.2)
    weight = np.random.default_rng(3).normal(size=(2, 5, 4))
    scale = channel_scales(weight, 7)
    found = GPTQ(damping=1e-9)(weight, scale, 7, inputs) * scale
    for i in range(4):
        # The best weights from i on, given the rounded ones before.
        moments, target = inputs.moments, inputs.cross @ weight
        right = target[:, i:] - moments[:, i:, :i] @ found[:, :i]
        best = np.linalg.solve(moments[:, i:, i:], right)[:, 0] / scale[:, 0]
        free = np.abs(weight[:, i]) < 7 * scale[:, 0] * (1 - 1e-6)
        expected = np.clip(np.rint(best), -7, 7) * scale[:, 0]
        np.testing.assert_allclose(found[:, i][free], expected[free])


def test_gptq_holds_few_matrices():
    size = 600
    inputs = correlated(1, size)
    weight = np.random.default_rng(1).normal(size=(1, size, 8))
    scale = channel_scales(weight, 7)
    tracemalloc.start()
    GPTQ()(weight, scale, 7, inputs)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.5 * inputs.moments.nbytes
