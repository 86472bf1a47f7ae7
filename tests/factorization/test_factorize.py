import math

import keras
import numpy as np
import pytest
import tensorly
from tensorly.backend.numpy_backend import NumpyBackend

import tfcompress as tfc
from tests import models
from tfcompress.core.walk import path_of, sublayers
from tfcompress.rewrites import (
    CP,
    SVD,
    DepthwiseSeparable,
    FoldBatchNorm,
    GlobalAverageHead,
    SpatialSVD,
    TensorTrain,
    Tucker,
    apply,
    factorize,
    plan_factorization,
)

L = keras.layers
OF_CONVOLUTIONS = (SpatialSVD, Tucker, CP, TensorTrain, DepthwiseSeparable)


def one_layer(layer, shape):
    x = keras.Input(shape)
    return keras.Model(x, layer(x), name="one")


def relative_difference(model, other):
    x = models.inputs(model)
    return models.difference(model, other, x) / np.abs(model(x)).max()


def set_kernel(layer, kernel):
    layer.kernel.assign(np.reshape(kernel, layer.kernel.shape))


@pytest.mark.parametrize("cls", OF_CONVOLUTIONS, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"strides": 2, "padding": "same"},
        {"strides": (1, 2), "use_bias": False},
        {"dilation_rate": (2, 1), "padding": "same", "activation": "relu"},
        {"kernel_size": (5, 2), "padding": "same"},
        {"data_format": "channels_first", "strides": 2, "padding": "same"},
    ],
    ids=str,
)
def test_full_rank_of_a_convolution_is_the_convolution(cls, arguments):
    layer = L.Conv2D(**{"filters": 6, "kernel_size": 3, "name": "c", **arguments})
    is_first = layer.data_format == "channels_first"
    model = one_layer(layer, (4, 10, 9) if is_first else (10, 9, 4))
    if layer.use_bias:
        layer.bias.assign(np.arange(6))
    small = apply(model, cls(rank=1.0))
    assert len(small.layers) > 2
    assert small.output.shape == model.output.shape
    assert relative_difference(model, small) <= 1e-4


@pytest.mark.parametrize(
    ("rewrite", "layer", "shape"),
    [
        (SVD(1.0), L.Dense(5, activation="softmax"), (7,)),
        (SVD(1.0), L.Dense(5, use_bias=False), (3, 4, 7)),
        (SVD(1.0), L.Conv2D(5, 1, strides=2, padding="same"), (7, 7, 4)),
        (SVD(1.0), L.Conv2D(5, 1, data_format="channels_first"), (4, 7, 7)),
        (SVD(1.0), L.Conv1D(5, 1, strides=2, padding="causal"), (7, 4)),
        (SVD(1.0), L.Conv3D(5, 1), (3, 4, 5, 4)),
        (SVD(1.0), L.EinsumDense("abc,cd->abd", (3, 5), "relu", "d"), (3, 7)),
        (SVD(1.0), L.EinsumDense("abc,cde->abde", (3, 2, 4), bias_axes="de"), (3, 7)),
        (SVD(1.0), L.EinsumDense("abcd,dce->abe", (3, 5), bias_axes="e"), (3, 4, 2)),
        (SVD(1.0), L.EinsumDense("abc,cd->adb", (5, 3)), (3, 7)),
        (Tucker(1.0), L.Conv1D(5, 3, padding="causal", dilation_rate=2), (9, 4)),
        (Tucker(1.0), L.Conv3D(5, 3, strides=(1, 2, 1)), (5, 6, 5, 2)),
        (TensorTrain(1.0), L.Conv1D(5, 3, padding="causal"), (9, 4)),
        (TensorTrain(1.0), L.Conv3D(5, (3, 2, 3), padding="same"), (5, 6, 5, 2)),
        (TensorTrain(1.0), L.Dense(10, activation="softmax"), (12,)),
        (TensorTrain(1.0, num_modes=3), L.Dense(30, use_bias=False), (24,)),
        (TensorTrain(1.0, num_modes=4), L.Dense(7, activation="tanh"), (48,)),
        (CP(1.0), L.Conv1D(5, 3, strides=2, padding="same"), (9, 4)),
        (DepthwiseSeparable(1.0), L.Conv1D(5, 3, dilation_rate=2), (9, 4)),
    ],
    ids=lambda value: f"{type(value).__name__}" if not isinstance(value, tuple) else "",
)
def test_full_rank_of_other_layers_is_the_layer(rewrite, layer, shape):
    model = one_layer(type(layer).from_config(layer.get_config()), shape)
    for variable in model.variables:
        variable.assign(np.random.default_rng(0).normal(size=variable.shape))
    small = apply(model, rewrite)
    assert len(small.layers) > 2
    assert small.output.shape == model.output.shape
    assert relative_difference(model, small) <= 1e-4


@pytest.mark.parametrize("cls", OF_CONVOLUTIONS, ids=lambda cls: cls.__name__)
def test_a_product_of_vectors_is_recovered_at_rank_one(cls):
    model = one_layer(L.Conv2D(6, 3, name="c"), (8, 8, 4))
    generator = np.random.default_rng(0)
    vectors = [generator.normal(size=size) for size in (3, 3, 4, 6)]
    set_kernel(model.get_layer("c"), np.einsum("h,w,i,o->hwio", *vectors))
    assert plan_factorization(model, cls(1))["c"].error <= 1e-6
    assert relative_difference(model, apply(model, cls(1))) <= 1e-5


@pytest.mark.parametrize("rewrite", [SVD(1), TensorTrain(1)], ids=repr)
def test_a_kronecker_product_of_vectors_is_recovered_at_rank_one(rewrite):
    model = one_layer(L.Dense(6, name="d"), (8,))
    rows, columns = np.arange(1.0, 9.0), np.array([1.0, 2.0, -1.0])
    # [a, b] x columns: a product over the modes 2 x 3 as well as of rows and columns.
    set_kernel(
        model.get_layer("d"),
        np.outer(np.kron([1.0, 2.0], rows[:4]), np.kron(columns, [1.0, -2.0])),
    )
    assert rewrite.build((1,), model.get_layer("d"))[1] <= 1e-6
    assert relative_difference(model, apply(model, rewrite)) <= 1e-5


def test_svd_by_hand():
    model = one_layer(L.Dense(3, name="d"), (4,))
    set_kernel(model.get_layer("d"), np.eye(4, 3) * [3.0, 2.0, 1.0])
    row = plan_factorization(model, SVD(1))["d"]
    assert row.error == pytest.approx(np.sqrt((4 + 1) / (9 + 4 + 1)))
    assert (row.macs_before, row.macs_after) == (12, 7)
    assert (row.parameters_before, row.parameters_after) == (15, 10)
    small = apply(model, SVD(1))
    first, last = (layer.kernel.numpy() for layer in small.layers[1:])
    np.testing.assert_allclose(np.abs(first[:, 0]), [3**0.5, 0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(first @ last, np.diag([3, 0, 0, 0])[:, :3], atol=1e-6)


def test_depthwise_separable_by_hand():
    model = one_layer(L.Conv1D(2, 2, use_bias=False, name="c"), (4, 2))
    kernel = np.zeros((2, 2, 2))
    kernel[:, 0, :] = [[2.0, 0.0], [0.0, 1.0]]  # loses 1 of 4 + 1
    kernel[:, 1, :] = [[1.0, 2.0], [2.0, 4.0]]  # of rank 1: loses nothing of 25
    set_kernel(model.get_layer("c"), kernel)
    _, error = DepthwiseSeparable(1).build((1,), model.get_layer("c"))
    assert error == pytest.approx(np.sqrt(1 / 30))


def test_global_average_head_by_hand():
    x = keras.Input((1, 2, 1))
    model = keras.Model(x, L.Dense(1, name="head")(L.Flatten()(x)))
    set_kernel(model.get_layer("head"), [3.0, 1.0])
    model.get_layer("head").bias.assign([5.0])
    small = factorize(model, "global_average_head", verbose=0)
    # Both positions get the mean 2: the error is sqrt(1 + 1) of sqrt(9 + 1).
    plan = plan_factorization(model, GlobalAverageHead())
    assert plan["head"].error == pytest.approx(np.sqrt(2 / 10))
    assert [layer.name for layer in small.layers][1:] == ["head_pool", "head"]
    image = np.array([[[[10.0], [20.0]]]], "float32")
    assert small(image).numpy().item() == pytest.approx(15 * 4 + 5)


@pytest.mark.parametrize("shape", [(6, 3), (4, 5, 3), (2, 3, 4, 3)])
def test_global_average_head_of_maps_of_any_rank(shape):
    x = keras.Input(shape)
    model = keras.Model(x, L.Dense(2, name="head")(L.Flatten()(x)))
    kernel = np.random.default_rng(0).normal(size=(3, 2))
    set_kernel(model.get_layer("head"), np.tile(kernel, (np.prod(shape[:-1]), 1)))
    assert relative_difference(model, apply(model, GlobalAverageHead())) <= 1e-5


def test_what_an_average_cannot_replace_stays():
    x = keras.Input((8,))
    y = L.Dense(16, name="first")(x)
    y = L.Flatten(name="flat")(L.Dense(16, name="second")(y))
    shared = L.Flatten(name="shared")(L.Reshape((2, 4, 2), name="map")(y))
    y = L.Add(name="sum")([L.Dense(4, name="a")(shared), L.Dense(4, name="b")(shared)])
    z = L.Flatten(data_format="channels_first", name="turned")(
        L.Reshape((2, 2, 1), name="image")(y)
    )
    model = keras.Model(x, L.Dense(2, name="c")(z))
    plan = plan_factorization(model, "global_average_head")
    reasons = {row.name: row.skipped for row in plan.layers}
    assert "after InputLayer" in reasons["first"]
    assert "after Dense" in reasons["second"]
    assert "no layer before it" in reasons["a"]
    assert "no layer before it" in reasons["b"]
    assert "channels first" in reasons["c"]


def convolutional():
    x = keras.Input((16, 16, 3), name="image")
    y = L.Conv2D(16, 3, padding="same", activation="relu", name="conv1")(x)
    y = L.Conv2D(24, 3, strides=2, padding="same", activation="relu", name="conv2")(y)
    y = L.Conv2D(24, 1, activation="relu", name="conv3")(y)
    y = L.Dense(32, activation="relu", name="fc")(L.Flatten(name="flat")(y))
    return keras.Model(x, L.Dense(5, name="head")(y), name="convolutional")


@pytest.mark.parametrize(
    "rewrite",
    [
        SVD(0.25),
        SpatialSVD(0.25),
        Tucker((3, 8)),
        CP(12, num_iterations=3),
        TensorTrain(4),
        DepthwiseSeparable(2),
        GlobalAverageHead(),
        SpatialSVD("evbmf"),
        Tucker({"energy": {"energy": 0.7}}),
        TensorTrain({"target_macs": {"ratio": 0.4}}),
        SVD({"target_macs": {"ratio": 0.5}}),
    ],
    ids=repr,
)
def test_macs_and_parameters_are_those_of_the_new_model(rewrite):
    model = convolutional()
    plan = plan_factorization(model, rewrite)
    small = factorize(model, rewrite, verbose=0)
    assert plan.macs_before == tfc.report(model).macs
    assert plan.macs_after == tfc.report(small).macs < plan.macs_before
    assert plan.parameters_before == model.count_params()
    assert plan.parameters_after == small.count_params() < plan.parameters_before
    for row in plan.layers:
        assert row.macs_after <= row.macs_before
        if row.skipped is None and isinstance(
            rewrite.rank, tfc.rewrites.ranks.TargetMacs
        ):
            assert row.macs_after <= rewrite.rank.ratio * row.macs_before


def test_macs_of_each_method_by_hand():
    model = one_layer(L.Conv2D(8, 3, strides=2, padding="same", name="c"), (6, 6, 4))
    assert plan_factorization(model, SpatialSVD(2))["c"].macs_before == 9 * 4 * 8 * 9
    expected = {
        # Column: 3x6 positions; row: 3x3.
        SpatialSVD(2): 3 * 4 * 2 * 18 + 3 * 2 * 8 * 9,
        Tucker((2, 3)): 4 * 2 * 36 + (9 * 2 * 3 + 3 * 8) * 9,
        CP(2): 4 * 2 * 36 + 3 * 2 * 18 + 3 * 2 * 9 + 2 * 8 * 9,
        TensorTrain((2, 3, 2)): 4 * 2 * 36 + 3 * 2 * 3 * 18 + (3 * 3 * 2 + 2 * 8) * 9,
        DepthwiseSeparable(1): 4 * (9 + 8) * 9,
    }
    for rewrite, macs in expected.items():
        assert plan_factorization(model, rewrite)["c"].macs_after == macs


def test_skipped_layers_say_why():
    x = keras.Input((8, 8, 4))
    y = L.Conv2D(8, 3, groups=2, name="grouped")(x)
    y = L.Conv2D(8, 1, name="pointwise")(y)
    y = L.DepthwiseConv2D(3, name="depthwise")(y)
    y = L.Conv2D(8, (1, 3), name="flat")(y)
    y = L.Conv2D(2, 2, name="tiny")(y)
    y = L.Conv2D(8, 3, padding="same", kernel_initializer="zeros", name="zeros")(y)
    model = keras.Model(x, L.Dense(3, name="dense")(y))
    reasons = {
        row.name: row.skipped
        for row in plan_factorization(model, SpatialSVD(1.0)).layers
    }
    assert reasons["grouped"] == "convolution in 2 groups"
    assert reasons["pointwise"] == reasons["flat"].replace("1x3", "1x1")
    assert reasons["depthwise"] == "DepthwiseConv2D, not Conv2D"
    assert "would need" in reasons["tiny"] and "lower rank" in reasons["tiny"]
    assert reasons["zeros"] == "a kernel of zeros"
    assert reasons["dense"] == "Dense, not Conv2D"
    plan = plan_factorization(model, SVD({"target_macs": {"ratio": 0.1}}))
    assert "even rank 1 needs" in plan["dense"].skipped
    text = str(plan)
    assert "0 layers factorised, 7 kept" in text
    assert "kernel 3x3, not 1x1" in text
    assert plan.macs_after == plan.macs_before
    assert models.difference(
        model, factorize(model, SVD(1.0), verbose=0), models.inputs(model)
    ) <= 1e-6  # fmt: skip


def test_verbose_prints_the_plan(capsys):
    factorize(convolutional(), SVD(0.1), "fc|head")
    printed = capsys.readouterr().out
    assert "fc" in printed and "SVD(rank=Fraction(fraction=0.1))" in printed
    assert "conv1" not in printed
    factorize(convolutional(), SVD(0.1), verbose=0)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (".*", ["conv3", "fc", "head"]),
        ("fc", ["fc"]),
        (L.Conv2D, ["conv3"]),
        (lambda layer: getattr(layer, "units", 0) == 32, ["fc"]),
        (["head", L.Conv2D], ["conv3", "head"]),
    ],
)
def test_where(where, expected):
    plan = plan_factorization(convolutional(), SVD(1), where)
    assert [row.name for row in plan.layers if row.skipped is None] == expected


def test_a_rewrite_for_each_pattern_and_later_ones_win():
    rules = {"conv.*": Tucker(4), "conv3": SVD(2), "fc": "global_average_head"}
    plan = plan_factorization(convolutional(), rules)
    rewrites = {row.name: type(row.rewrite) for row in plan.layers}
    assert rewrites == {
        "conv1": Tucker, "conv2": Tucker, "conv3": SVD, "fc": GlobalAverageHead
    }  # fmt: skip
    assert all(row.skipped is None for row in plan.layers)
    small = factorize(convolutional(), rules, where="conv[12]|fc", verbose=0)
    assert [layer.name for layer in small.layers][1:] == [
        "conv1_in", "conv1_core", "conv1", "conv2_in", "conv2_core", "conv2",
        "conv3", "fc_pool", "fc", "head",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rewrite", "where", "message"),
    [
        ("svd", "convv1", r"'convv1' matches no weight.*Did you mean 'conv1'"),
        ({"svd2": {"rank": 1}}, ".*", "Unknown layer rewrite"),
        ("tuckr", ".*", r"Unknown layer rewrite 'tuckr'.*Did you mean 'tucker'"),
        ({"fcc": "svd"}, ".*", r"'fcc' matches no weight"),
        (FoldBatchNorm(), ".*", r"does not factorise.*tfc\.rewrites\.apply"),
        (Tucker((1, 2, 3)), ".*", r"has 3 ranks.*needs 2"),
        ({"svd": {"rank": 0}}, ".*", "expected a positive integer"),
        ({"svd": {"rank": 1.5}}, ".*", r"expected a number in \(0, 1\]"),
        ({"svd": {"ranks": 3}}, ".*", "unknown: ranks"),
    ],
)
def test_errors_say_what_to_do(rewrite, where, message):
    with pytest.raises(ValueError, match=message):
        factorize(convolutional(), rewrite, where, verbose=0)


@pytest.mark.parametrize("make", [lambda n: CP(1, n), lambda n: TensorTrain(1, n)])
@pytest.mark.parametrize("number", [0, 2.0])
def test_counts_out_of_range(make, number):
    with pytest.raises(ValueError, match="expected a"):
        make(number)


def test_nan_is_named():
    model = convolutional()
    model.get_layer("conv3").kernel.assign(np.full((1, 1, 24, 24), np.nan))
    with pytest.raises(ValueError, match=r"conv3/kernel has 576 NaN"):
        factorize(model, verbose=0)


def test_a_plan_names_near_layers():
    with pytest.raises(KeyError, match="conv3"):
        plan_factorization(convolutional())["conv33"]


def test_what_is_no_model():
    with pytest.raises(TypeError, match=r"keras\.Model"):
        factorize("model.keras")


def test_shared_layers_stay_shared():
    x = keras.Input((8, 8, 4))
    shared = L.Conv2D(4, 3, padding="same", name="shared")
    model = keras.Model(x, shared(L.MaxPooling2D(name="pool")(shared(x))))
    rewrite = SpatialSVD(3)
    small = factorize(model, rewrite, verbose=0)
    assert len(small.weights) == 3
    row = plan_factorization(model, rewrite)["shared"]
    # 64 positions, then 16.
    assert (row.macs_before, row.macs_after) == (144 * 80, 72 * 80)
    assert tfc.report(small).macs == row.macs_after
    assert relative_difference(model, apply(model, SpatialSVD(1.0))) <= 1e-4


def test_nested_models_are_written_out():
    plan = plan_factorization(models.nested(), SVD(1))
    assert [row.name for row in plan.layers] == ["shared", "inside", "head"]
    assert all(row.skipped is None for row in plan.layers)
    model = models.nested()
    assert plan_factorization(model, SVD(1), "inner/.*").layers[0].name == "inside"
    small = factorize(model, SVD(2), verbose=0)
    assert {"shared_in", "shared", "inside_in"} <= {a.name for a in small.layers}
    assert relative_difference(model, apply(model, SVD(1.0))) <= 1e-4


@pytest.mark.parametrize("build", models.ALL, ids=lambda build: build.__name__)
def test_every_kind_of_model_and_nothing_changes_it(build):
    model = build()
    before = [np.array(weight) for weight in model.weights]
    small = factorize(model, SVD(1), verbose=0)
    assert small.count_params() < model.count_params()
    x = models.inputs(model)
    assert small(x).shape == model(x).shape
    for old, new in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, new)


def test_compressed_layers_stay_and_stripped_ones_do_not():
    model = tfc.compress(convolutional(), {"fc": tfc.transforms.Codebook(4)})
    plan = plan_factorization(model, SVD(2))
    assert "tfc.strip" in plan["fc"].skipped
    assert plan["fc"].layer == "Dense"
    assert plan["head"].skipped is None
    assert plan_factorization(tfc.strip(model), SVD(2))["fc"].skipped is None


def test_layers_with_the_new_names_already():
    model = factorize(convolutional(), SVD(12), "fc", verbose=0)
    small = factorize(model, SVD(6), "fc", verbose=0)
    names = [layer.name for layer in small.layers]
    assert len(set(names)) == len(names)
    assert names[-4:] == ["fc_in", "fc_in_2", "fc", "head"]


def test_what_the_new_layers_take_over():
    layer = L.Conv2D(
        8, 3, name="c", activation="relu", kernel_regularizer="l2", trainable=False,
        bias_regularizer="l1", kernel_constraint="non_neg", bias_constraint="non_neg",
        activity_regularizer="l1", dtype="mixed_float16",
        kernel_initializer=keras.initializers.Constant(np.full((3, 3, 4, 8), 0.5)),
    )  # fmt: skip
    model = one_layer(layer, (8, 8, 4))
    layer.kernel.assign(np.random.default_rng(0).normal(size=(3, 3, 4, 8)))
    for rewrite in (
        SpatialSVD(2),
        Tucker(2),
        CP(2),
        TensorTrain(2),
        DepthwiseSeparable(),
    ):
        *first, last = apply(model, rewrite).layers[1:]
        assert last.name == "c"
        assert last.activation is keras.activations.relu
        assert last.activity_regularizer is not None
        assert last.bias_regularizer is not None
        assert last.bias_constraint is not None
        for new in (*first, last):
            assert new.dtype_policy.name == "mixed_float16"
            assert not new.trainable
            depthwise = getattr(new, "depthwise_regularizer", None)
            assert (depthwise or new.kernel_regularizer) is not None
            assert getattr(new, "kernel_constraint", None) is None
        for new in first:
            assert not new.use_bias
            assert new.activation is keras.activations.linear
            assert new.name.startswith("c_")


def test_what_the_layers_of_a_dense_train_take_over():
    layer = L.Dense(
        12, name="d", activation="softmax", kernel_regularizer="l2", trainable=False,
        bias_regularizer="l1", bias_constraint="non_neg", activity_regularizer="l1",
    )  # fmt: skip
    small = apply(one_layer(layer, (12,)), TensorTrain(2))
    names = ["d_modes", "d_core1", "d", "d_flat", "d_activation"]
    assert [a.name for a in small.layers[1:]] == names
    core, last, activation = (small.get_layer(names[i]) for i in (1, 2, 4))
    assert core.kernel_regularizer is not None and last.bias_regularizer is not None
    assert last.bias_constraint is not None
    assert not core.trainable and not last.trainable
    assert activation.activity_regularizer is not None
    assert activation.activation is keras.activations.softmax


def test_a_subclass_may_compute_something_else():
    class Doubled(L.Dense):
        def call(self, inputs):
            return 2 * super().call(inputs)

    model = one_layer(Doubled(8, name="d"), (8,))
    assert "Doubled, not Dense" in plan_factorization(model, SVD(1))["d"].skipped


def test_einsums_by_hand():
    layer = L.EinsumDense("abc,cde->abde", (None, 2, 4), name="query")
    model = one_layer(layer, (5, 6))
    plan = plan_factorization(model, SVD(1))["query"]
    assert (plan.macs_before, plan.macs_after) == (5 * 6 * 8, 5 * (6 + 8))
    values = np.linalg.svd(layer.kernel.numpy().reshape(6, 8), compute_uv=False)
    lost = np.sqrt(np.sum(values[1:] ** 2) / np.sum(values**2))
    assert plan.error == pytest.approx(lost, rel=1e-5)
    small = factorize(model, SVD(1), verbose=0)
    assert [made.equation for made in small.layers[1:]] == [
        "abc,cf->abf",
        "abf,fde->abde",
    ]
    assert tfc.report(small).macs == plan.macs_after


@pytest.mark.parametrize("equation", ["abc,bcd->abd", "abc,cd->ad"])
def test_einsums_that_are_no_matrix_product(equation):
    shape = (5, 4) if equation.endswith("abd") else (4,)
    model = one_layer(L.EinsumDense(equation, shape, name="e"), (5, 6))
    assert plan_factorization(model)["e"].skipped == f"{equation} is no matrix product"


def test_einsums_with_an_ellipsis_say_what_to_do():
    model = one_layer(L.EinsumDense("...c,cd->...d", 4, name="e"), (5, 6))
    assert plan_factorization(model)["e"].skipped.endswith("ellipsis: name its axes")


class Attention(L.Layer):
    """The projections of attention as language models have them."""

    def build(self, shape):
        arguments = {
            "query": ("bqm,muh->bquh", (None, 4, 8)),
            "back": ("bquh,uhm->bqm", (None, shape[-1])),
        }
        for name, (equation, output_shape) in arguments.items():
            layer = L.EinsumDense(equation, output_shape, name=name)
            layer.build(shape)
            setattr(self, name, layer)
            shape = (*shape[:-1], 4, 8)

    def call(self, x):
        return x + self.back(keras.ops.tanh(self.query(x)))


def test_einsums_inside_of_other_layers():
    x = keras.Input((6, 32))
    model = keras.Model(x, Attention(name="attention")(x))
    for name in ("query", "back"):
        inner = getattr(model.get_layer("attention"), name)
        # Of rank 8, so that nothing is lost.
        left, right = np.random.default_rng(0).normal(size=(2, 8, 32))
        set_kernel(inner, left.T @ right / 16)
    small = factorize(model, SVD(8), verbose=0)
    assert small.count_params() == model.count_params() / 2 == 2 * 2 * 32 * 8
    assert relative_difference(model, small) <= 1e-5


class Block(L.Layer):
    """Attention and a feed-forward part, each with a shortcut."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.attention = L.MultiHeadAttention(4, 8, name="attention")
        self.wide = L.Dense(64, activation="relu", name="wide")
        self.narrow = L.Dense(32, name="narrow")

    def build(self, shape):
        self.attention.build(shape, shape)
        self.wide.build(shape)
        self.narrow.build((*shape[:-1], 64))
        self.built = True

    def call(self, x):
        x = x + self.attention(x, x)
        return x + self.narrow(self.wide(x))


def low_rank(layer):
    """Makes the rank of a kernel 4, so that nothing is lost."""
    shape = layer.kernel.shape
    inputs = 32 if shape[0] == 32 else shape[0] * shape[1]
    left, right = np.random.default_rng(0), np.random.default_rng(1)
    matrix = left.normal(size=(inputs, 4)) @ right.normal(
        size=(4, math.prod(shape) // inputs)
    )
    layer.kernel.assign(matrix.reshape(shape) / 16)


def transformer():
    """Two blocks on words, of which 0 is padding."""
    x = keras.Input((6,), dtype="int32")
    y = L.Embedding(9, 32, mask_zero=True)(x)
    for number in range(2):
        y = Block(name=f"block{number}")(y)
    return keras.Model(x, L.Dense(3, name="head")(y))


def test_projections_of_attention():
    model = transformer()
    for name in ("query", "attention_output"):
        inside = sublayers(model.get_layer("block1").attention)
        low_rank(next(layer for layer in inside if layer.name == name))
    rules = {".*": SVD(30), "block1/attention/(query|attention_output)": SVD(4)}
    plan = plan_factorization(model, rules)
    assert plan["block1/attention/query"].parameters_after == 32 * 4 * 2 + 32
    assert plan["block0/attention/query"].skipped.startswith("would need")
    small = factorize(model, rules, verbose=0)
    x = np.array([[1, 2, 3, 0, 0, 0], [4, 5, 6, 7, 8, 1], [0] * 6])
    np.testing.assert_allclose(small(x), model(x), atol=1e-5)
    assert small.count_params() == model.count_params() - 2 * (32 * 32 - 2 * 32 * 4)
    # Attention of which nothing is replaced stays in one layer.
    names = [path_of(layer.name) for layer in small.layers]
    assert "block0/attention" in names and "block1/attention" not in names
    assert tfc.report(small).macs == tfc.report(model).macs - 2 * 6 * (1024 - 256)


def test_shared_attention():
    x = keras.Input((6, 32))
    attention = L.GroupQueryAttention(8, 4, 2, name="attention")
    y = attention(x, x, use_causal_mask=True)
    model = keras.Model(x, attention(y, x))
    for inside in sublayers(attention):
        if inside.weights:
            low_rank(inside)
    small = factorize(model, SVD(4), verbose=0)
    assert relative_difference(model, small) <= 1e-5
    assert small.count_params() < 0.5 * model.count_params()


def test_quantized_by_keras():
    model = one_layer(L.Dense(8, name="d"), (8,))
    model.quantize("int8")
    assert not SVD(1).matches(model.get_layer("d"))


def test_lora_weights_are_not_lost():
    model = one_layer(L.Dense(8, name="d"), (8,))
    model.get_layer("d").enable_lora(2)
    assert not SVD(1).matches(model.get_layer("d"))


class BackendOfAUser(NumpyBackend, backend_name="of_a_user"):
    """Fails where it is used.

    With TensorFlow's, `+` and `where` of all tensors of this process would change.
    """

    @staticmethod
    def tensor(*args, **kwargs):
        raise AssertionError("the backend of a user computes for us")


def test_the_backend_of_tensorly_stays_and_results_repeat():
    model = one_layer(L.Conv2D(6, 3, name="c"), (8, 8, 4))
    assert tensorly.get_backend() == "numpy"
    for rewrite in (CP(3), Tucker(2), TensorTrain(3)):
        kernels = [apply(model, rewrite).get_weights()]
        assert tensorly.get_backend() == "numpy"
        with tensorly.backend_context(BackendOfAUser()):
            kernels.append(apply(model, rewrite).get_weights())
            assert tensorly.get_backend() == "of_a_user"
        for first, second in zip(*kernels, strict=True):
            np.testing.assert_array_equal(first, second)
    assert tensorly.get_backend() == "numpy"


def test_pruned_quantized_and_exported_after_it(tmp_path):
    model = convolutional()
    rules = {"conv2": SpatialSVD(0.3), "conv3": SVD(6), "fc": TensorTrain(4),
             "conv1": DepthwiseSeparable(1)}  # fmt: skip
    small = factorize(model, rules, verbose=0)
    small = tfc.compress(
        small, {".*": [tfc.transforms.Mask(), tfc.transforms.Uniform(8)]}
    )
    small = tfc.quantize_activations(small)
    x = models.inputs(model, 64)
    # Compiling a step takes longer than running two steps.
    models.compile(small, run_eagerly=True).fit(x, models.classes(64), verbose=0)
    path = tmp_path / "small.tflite"
    result = tfc.export_tflite(small, path, "int8", samples=x)
    assert result.float_operations == {}
    with tfc.Interpreter(path) as interpreter:
        outputs = interpreter.run(x)
    expected = tfc.strip(small).predict(x, verbose=0)
    assert np.mean(outputs.argmax(axis=1) == expected.argmax(axis=1)) >= 0.9


def test_post_training_int8_after_it(tmp_path):
    model = convolutional()
    small = factorize(model, {"conv.*": Tucker(0.5), "fc": SVD(8)}, verbose=0)
    x = models.inputs(model, 64)
    result = tfc.export_tflite(small, tmp_path / "small.tflite", "int8", samples=x)
    assert result.float_operations == {}
