"""Weights that share values at random."""

import math

import numpy as np
import tensorflow as tf

from tfcompress.core.kinds import Integer, Number
from tfcompress.core.nouns import WeightTransform
from tfcompress.transforms.bins import sum_by_bin

_PRIMES = (2246822519, 3266489917, 668265263, 374761393)


class Hashed(WeightTransform):
    """Replaces a weight of `n` elements with `round(compression n)` trained values.

        y_i = s_i v[h_i],    h_i = hash(i, seed) mod len(v),    s_i = ±1 by another hash

    where `i` is the position in the flattened weight. Only the values `v` (the
    "buckets") and the seed, which is part of the configuration, are stored: `h` and `s`
    are computed when the layer is built. The latent weight is not trained, has no
    optimizer state, and is left out of `.keras` and weight files. Stripping restores
    the full weight.

    Gradient: `dL/dv_k` is the sum of `s_i dL/dy_i` over `h_i = k`; `dL/dw = 0`.

    The buckets start as the least-squares fit `v_k = mean of s_i w_i`, scaled so that
    `y` has the root mean square of `w`, and are not initialized again. A weight that
    was hashed with the same seed is reproduced; little is left of any other at 1/8, so
    start training here.

    Transforms before this one in a list have no effect, zeros of a mask included: put
    the mask after it.

    Args:
        compression: number of buckets per element, in (0, 1].
        seed: integer in [0, 2^32) that chooses the hash.

    Attributes:
        buckets: variable `(round(compression n),)`, at least one bucket.

    Raises:
        ValueError: if an argument is out of range.

    Source: HashedNets: Chen et al., "Compressing Neural Networks with the Hashing
    Trick" (2015), section 4. The hash is xxHash32 of the position as four bytes.

    Example:
        >>> model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(8)])
        >>> model = tfc.compress(model, {".*": Hashed(compression=1 / 16)})
        >>> kernel = tfc.strip(model).layers[0].kernel.numpy()
        >>> kernel.shape, len(np.unique(np.abs(kernel)))
        ((64, 8), 32)
    """

    shares_values = True
    replaces_weight = True

    def __init__(
        self,
        compression: Number(
            above=0, most=1, meaning="buckets per weight, such as 1/8"
        ) = 1 / 8,
        seed: Integer(0, 2**32 - 1) = 0,
    ):
        self.compression = compression
        self.seed = seed

    def build(self, layer, weight, layout):
        """Creates the buckets and assigns each weight to one of them."""
        size = math.prod(layout.shape)
        num_buckets = max(round(self.compression * size), 1)
        self.buckets = layer.add_weight(
            name=f"{weight.name}_buckets",
            shape=(num_buckets,),
            dtype=weight.dtype,
            initializer="zeros",
            trainable=True,
        )
        positions = np.arange(size, dtype=np.uint32)
        indices = hash_integers(positions, self.seed) % np.uint32(num_buckets)
        odd = hash_integers(positions, self.seed ^ 0xFFFFFFFF) & np.uint32(1)
        self._indices = indices.astype(np.int32).reshape(layout.shape)
        self._signs = (1 - 2 * odd.astype(np.float32)).reshape(layout.shape)

    def refresh(self, weight):
        """Fits the buckets, unless they have been set already."""
        if self.buckets.numpy().any():
            return
        indices, num_buckets = np.ravel(self._indices), self.buckets.shape[0]
        counts = np.bincount(indices, minlength=num_buckets)
        sums = np.bincount(indices, np.ravel(weight * self._signs), num_buckets)
        means = sums / np.maximum(counts, 1)
        size = np.sqrt(np.mean(np.square(means[indices])))
        if size > 0:
            self.buckets.assign(means * np.sqrt(np.mean(np.square(weight))) / size)

    def __call__(self, weight, training=False):
        """The bucket of each weight with its sign."""
        signs = tf.constant(self._signs, weight.dtype)
        indices = tf.constant(self._indices)

        @tf.custom_gradient
        def look_up(buckets):
            def gradient(upstream):
                return sum_by_bin(upstream * signs, indices, buckets.shape[0])

            return signs * tf.gather_nd(buckets, indices[..., tf.newaxis]), gradient

        return look_up(tf.convert_to_tensor(self.buckets.value))


def hash_integers(integers, seed):
    """xxHash32 of integers, each as four bytes, least significant first.

    Args:
        integers: array of `uint32`.
        seed: integer in [0, 2^32).

    >>> hash_integers(np.array([0, 1], np.uint32), seed=0)
    array([ 148298089, 4089149075], dtype=uint32)
    """
    second, third, fourth, fifth = map(np.uint32, _PRIMES)
    start = np.uint32((seed + int(fifth) + 4) % 2**32)
    mixed = np.asarray(integers, np.uint32) * third + start
    mixed = ((mixed << np.uint32(17)) | (mixed >> np.uint32(15))) * fourth
    mixed = (mixed ^ (mixed >> np.uint32(15))) * second
    mixed = (mixed ^ (mixed >> np.uint32(13))) * third
    return mixed ^ (mixed >> np.uint32(16))
