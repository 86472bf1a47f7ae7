import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcompress as tfc
from tests import models
from tfcompress.core.compressed import treatments
from tfcompress.pruning.sparse_training.dense_gradient import (
    DenseGradient,
    DenseMomentum,
)


def see(seen, *batches):
    """Backpropagates given gradients, those of the calls of each batch."""
    weight = tf.ones(2)
    for gradients in batches:
        with tf.GradientTape() as tape:
            tape.watch(weight)
            calls = [seen(weight) for _ in gradients]
            loss = tf.add_n(
                [tf.reduce_sum(g * c) for g, c in zip(gradients, calls, strict=True)]
            )
        tape.gradient(loss, weight)


def test_calls_of_a_batch_add_up_and_batches_do_not():
    seen = DenseGradient((2,), "float32")
    see(seen, [[5.0, 5.0]], [[1.0, 2.0], [10.0, 20.0]])
    np.testing.assert_allclose(seen.gradient(), [11, 22])


def test_what_overflowed_counts_as_nothing():
    seen = DenseGradient((2,), "float32")
    see(seen, [[np.inf, 2.0]])
    np.testing.assert_allclose(seen.gradient(), [0, 2])


@pytest.mark.parametrize("beta_2", [None, 0.9])
def test_momentum(beta_2):
    seen = DenseMomentum((2,), "float32", 0.5, beta_2)
    see(seen, [[1.0, 2.0]], [[3.0, 0.0], [1.0, 0.0]], [[0.0, 1.0]])
    m = 0.5 * (0.25 * np.array([1, 2]) + 0.5 * np.array([4, 0]) + [0, 1])
    v = 0.1 * (0.81 * np.array([1, 4]) + 0.9 * np.array([16, 0]) + [0, 1])
    expected = m if beta_2 is None else m / (np.sqrt(v) + 1e-8)
    for _ in range(2):
        np.testing.assert_allclose(seen.momentum(), expected, rtol=1e-5)
    # A forward pass without a gradient changes nothing.
    seen(tf.ones(2))
    seen(tf.ones(2))
    np.testing.assert_allclose(seen.momentum(), expected, rtol=1e-5)


def gradient_of(model, x, y):
    """The gradient of the mean loss in the effective kernel, by definition."""
    ((_, treatment),) = treatments(model)
    kernel = tf.constant(treatment.bake())
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        loss = tf.reduce_mean(tf.square(x @ kernel - y))
    return tape.gradient(loss, kernel).numpy()


@pytest.mark.parametrize(
    "options", [{}, {"steps_per_execution": 2}, {"jit_compile": True}, {"replicas": 2}]
)
def test_that_of_the_last_training_batch(options):
    options = dict(options)
    strategy = tf.distribute.get_strategy()
    if options.pop("replicas", 1) > 1:
        strategy = tf.distribute.MirroredStrategy(
            ["CPU:0", "CPU:1"], tf.distribute.ReductionToOneDevice()
        )
    with strategy.scope():
        layer = keras.layers.Dense(3, use_bias=False)
        model = keras.Sequential([keras.Input((4,)), layer])
        model = tfc.compress(model, {".*": "mask"})
        model.compile(keras.optimizers.SGD(0.0), "mse", **options)
    x = models.inputs(model, 16)
    y = x[:, :3]
    sparse = tfc.callbacks.RigL(0.5, fraction=0, frequency=2, end_step=3)
    seen = {}

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.update({k: v.gradient() for k, v in sparse._seen.items()})

    model.fit(x, y, 8, epochs=1, shuffle=False, verbose=0, callbacks=[sparse, Look()])
    (found,) = seen.values()
    np.testing.assert_allclose(found, gradient_of(model, x[8:], y[8:]), atol=1e-6)
    ((_, treatment),) = treatments(model)
    assert treatment.transforms[0].watch is None
    assert np.count_nonzero(found) == 12
