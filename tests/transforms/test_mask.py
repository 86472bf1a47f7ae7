import keras
import numpy as np
import tensorflow as tf

import tfcompress as tfc
from tfcompress.core.compressed import treatments


def masked(values, mask):
    layer = keras.layers.Dense(1, use_bias=False)
    model = keras.Sequential([keras.Input((len(values),)), layer])
    layer.kernel.assign(np.reshape(values, (-1, 1)))
    model = tfc.compress(model, {".*": "mask"})
    ((_, treatment),) = treatments(model)
    treatment.transforms[0].mask.assign(np.reshape(mask, (-1, 1)))
    return model, treatment


def test_forward_and_gradient_by_hand():
    model, treatment = masked([1.0, -2.0, 3.0], [True, False, True])
    np.testing.assert_array_equal(np.ravel(treatment()), [1.0, 0.0, 3.0])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(np.array([[5.0, 6.0, 7.0]])))
    gradient = tape.gradient(loss, treatment.variable.value)
    np.testing.assert_array_equal(np.ravel(gradient), [5.0, 0.0, 7.0])


def test_latent_weights_survive_and_grow_back():
    _, treatment = masked([1.0, -2.0, 3.0], [True, False, False])
    treatment.transforms[0].mask.assign(np.ones((3, 1), bool))
    np.testing.assert_array_equal(np.ravel(treatment()), [1.0, -2.0, 3.0])
