"""One magnitude for all weights of a layer."""

import tensorflow as tf


def signed_constant(weight):
    """`sign(w) std(w)`, which keeps only the signs of a random weight.

    >>> signed_constant(tf.constant([1.0, -3.0, 3.0, -1.0])).numpy().round(3)
    array([ 2.236, -2.236,  2.236, -2.236], dtype=float32)

    Source: Zhou et al., "Deconstructing Lottery Tickets: Zeros, Signs, and the Supermask"
    (2019), section 4.
    """
    return tf.sign(weight) * tf.math.reduce_std(weight)
