import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcompress as tfc
from tfcompress.core.compressed import treatments
from tfcompress.transforms import Codebook
from tfcompress.transforms.codebook import cluster


def shared(values, num_clusters):
    layer = keras.layers.Dense(1, use_bias=False)
    model = keras.Sequential([keras.Input((len(values),)), layer])
    layer.kernel.assign(np.reshape(values, (-1, 1)))
    ((_, treatment),) = treatments(tfc.compress(model, {".*": Codebook(num_clusters)}))
    return treatment


def test_clusters_by_hand():
    treatment = shared([1.0, 1.2, 0.0, -5.0, 5.0, -5.4], 3)
    np.testing.assert_allclose(
        np.ravel(treatment()), [1.1, 1.1, 0.0, -5.2, 5.0, -5.2], rtol=1e-6
    )


def test_gradient_is_the_sum_over_the_cluster():
    treatment = shared([1.0, 1.2, 0.0, -5.0, -5.4], 2)
    values = treatment.transforms[0].values
    upstream = np.array([[1.0], [2.0], [4.0], [8.0], [16.0]], "float32")
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(treatment() * upstream)
    shared_gradient, latent_gradient = tape.gradient(
        loss, [values.value, treatment.variable.value]
    )
    np.testing.assert_array_equal(shared_gradient, [24.0, 3.0])
    np.testing.assert_array_equal(latent_gradient, upstream)


def test_few_distinct_values_are_reproduced_exactly():
    values = np.random.default_rng(0).choice([-3.0, 0.0, 0.25, 7.5], 100)
    np.testing.assert_array_equal(
        np.ravel(shared(values, 16)()), values.astype("float32")
    )


def test_assignments_stay_while_values_train_until_refresh():
    treatment = shared([1.0, 1.2, -5.0, -5.4], 2)
    codebook = treatment.transforms[0]
    before = codebook.assignments.numpy().copy()
    treatment.variable.assign([[9.0], [-9.0], [9.0], [-9.0]])
    np.testing.assert_array_equal(codebook.assignments.numpy(), before)
    treatment.refresh()
    np.testing.assert_array_equal(np.ravel(treatment()), [9.0, -9.0, 9.0, -9.0])


def test_clustering_is_a_local_optimum_no_worse_than_its_start():
    points = np.random.default_rng(0).normal(size=5000)
    values, assignments = cluster(points, 16)
    assert (np.diff(values) > 0).all()
    np.testing.assert_array_equal(
        assignments, np.abs(points[:, None] - values).argmin(axis=1)
    )
    means = [points[assignments == k].mean() for k in range(16)]
    np.testing.assert_allclose(values, means, atol=1e-9)
    start = np.linspace(points.min(), points.max(), 16)
    error = np.square(points - values[assignments]).sum()
    assert error < np.square(points[:, None] - start).min(axis=1).sum()


@pytest.mark.parametrize("points", [[], [2.0], [2.0, 2.0]])
def test_clusters_of_little(points):
    values, assignments = cluster(np.array(points), 4)
    assert len(values) == 4
    np.testing.assert_array_equal(values[assignments], points)


@pytest.mark.parametrize("count", [0, 65536, 1.5])
def test_count_out_of_range(count):
    with pytest.raises(ValueError, match="from 1 to 65535"):
        Codebook(count)


@pytest.mark.parametrize("initialization", ["linear", "density", "k-means++"])
def test_every_start_finds_clusters_that_are_apart(initialization):
    generator = np.random.default_rng(0)
    centres = np.array([-3.0, -1.0, 2.0, 5.0])
    points = np.repeat(centres, 500) + generator.normal(0, 0.01, 2000)
    values, assignments = cluster(points, 4, initialization)
    np.testing.assert_allclose(values, centres, atol=0.01)
    np.testing.assert_array_equal(assignments, np.repeat(np.arange(4), 500))
    again, _ = cluster(points, 4, initialization)
    np.testing.assert_array_equal(again, values)


def test_starts_by_hand():
    points = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 100.0])
    linear, _ = cluster(points, 4, num_iterations=0)
    np.testing.assert_allclose(linear, np.linspace(0, 100, 4))
    density, _ = cluster(points, 4, "density", num_iterations=0)
    np.testing.assert_array_equal(density, [1.0, 3.0, 5.0, 100.0])
    drawn, _ = cluster(points, 4, "k-means++", num_iterations=0)
    assert len(set(drawn)) == 4
    # The far point accounts for nearly all of the squared distance.
    assert drawn[-1] == 100.0


def test_each_channel_has_its_own_values_and_gradient():
    kernel = [[1.0, 10.0], [1.2, 0.0], [-5.0, 30.0], [-5.4, 12.0]]
    layer = keras.layers.Dense(2, use_bias=False)
    model = keras.Sequential([keras.Input((4,)), layer])
    layer.kernel.assign(kernel)
    ((_, treatment),) = treatments(
        tfc.compress(model, {".*": Codebook(2, per_channel=True)})
    )
    shared_kernel = [[1.1, 11.0], [1.1, 0.0], [-5.2, 30.0], [-5.2, 11.0]]
    np.testing.assert_allclose(treatment(), shared_kernel, rtol=1e-6)
    np.testing.assert_allclose(treatment.bake(), shared_kernel, rtol=1e-6)
    upstream = np.array([[1, 2], [4, 8], [16, 32], [64, 128]], "float32")
    values = treatment.transforms[0].values
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(treatment() * upstream)
    gradient = tape.gradient(loss, values.value)
    np.testing.assert_array_equal(gradient, [80.0, 5.0, 130.0, 32.0])


def test_channels_of_a_depthwise_kernel():
    layer = keras.layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False)
    model = keras.Sequential([keras.Input((8, 8, 3)), layer])
    ((_, treatment),) = treatments(
        tfc.compress(model, {".*": Codebook(4, per_channel=True)})
    )
    filters = treatment.bake().reshape(9, 6)
    # One value may have no weight, which is rarer than all having some.
    assert all(3 <= len(np.unique(column)) <= 4 for column in filters.T)
    assert len(np.unique(filters)) > 4


def test_unknown_start():
    with pytest.raises(ValueError, match="'linear', 'density', 'k-means"):
        Codebook(4, initialization="random")
