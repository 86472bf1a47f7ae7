"""Rounding to the nearest level."""

import numpy as np

from tfcompress.core.nouns import Rounding


class Nearest(Rounding):
    """`q = clip(round(w / s), -level, level)`, ties to even.

    >>> weight, scale = np.array([[[0.24], [-0.9]]]), np.array([[[0.1]]])
    >>> Nearest()(weight, scale, level=7).ravel()
    array([ 2., -7.])
    """

    def __call__(self, weight, scale, level, inputs=None):
        """The nearest integers."""
        return np.clip(np.rint(weight / scale), -level, level)
