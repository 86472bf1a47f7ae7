import numpy as np
import pytest
import tensorflow as tf

from tfcompress.core import replicas
from tfcompress.quantization.layers import FakeQuant, LearnedStepQuant


@pytest.fixture
def two():
    return tf.distribute.MirroredStrategy(
        ["CPU:0", "CPU:1"], tf.distribute.ReductionToOneDevice()
    )


def each(strategy, function, *values):
    """Runs a function of each replica's value."""
    values = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(values[context.replica_id_in_sync_group])
    )
    return strategy.experimental_local_results(strategy.run(function, (values,)))


def test_numbers_of_two_replicas(two):
    for found in each(two, lambda x: replicas.gathered(x, 2 * x), 3.0, 5.0):
        np.testing.assert_array_equal(found, [[3, 5], [6, 10]])


@pytest.mark.parametrize("ranges", ["moving_average", "learned"])
def test_the_range_is_that_of_the_whole_batch(two, ranges):
    with two.scope():
        layer = FakeQuant(ranges=ranges)
        layer.build((None, 2))
    each(two, lambda x: layer(x, training=True), [[-1.0, 2.0]], [[0.0, 4.0]])
    for variable, expected in ((layer.minimum, -1.0), (layer.maximum, 4.0)):
        for part in two.experimental_local_results(variable.value):
            np.testing.assert_array_equal(part, [expected])


def test_the_step_is_that_of_the_whole_batch(two):
    with two.scope():
        layer = LearnedStepQuant(bits=3)
        layer.build((None, 2))
    each(two, lambda x: layer(x, training=True), [[-1.0, 2.0]], [[1.0, 4.0]])
    # The levels go from -4 to 3, the mean of |x| is 2.
    for part in two.experimental_local_results(layer.step.value):
        np.testing.assert_allclose(part, [2 * 2 / np.sqrt(3)], rtol=1e-6)
    assert layer.range() == pytest.approx((-16 / np.sqrt(3), 12 / np.sqrt(3)))
