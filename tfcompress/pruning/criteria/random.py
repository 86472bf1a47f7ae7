"""Importance by chance."""

import zlib

import numpy as np

from tfcompress.core.kinds import Integer
from tfcompress.core.nouns import Criterion


class Random(Criterion):
    """`score_i ~ U(0, 1)`, anew at every step.

    Drawn from the seed, the name of the weight and the step of the optimizer alone, so
    that all workers and repeated runs agree. It grows weights in SET, and is what any
    other criterion must beat.

    Args:
        seed: another draw for each.

    Source: Mocanu et al., "Scalable training of artificial neural networks with
    adaptive sparse connectivity" (2018).

    Example:
        >>> signals = tfc.signals.Signals(step=3)
        >>> first, again = (Random()(np.ones(5), signals) for _ in range(2))
        >>> np.array_equal(first, again)
        True
    """

    def __init__(self, seed: Integer(0) = 0):
        self.seed = seed

    def __call__(self, weight, signals):
        """The draw."""
        name = zlib.crc32(signals.path.encode())
        generator = np.random.default_rng([self.seed, name, signals.step])
        return generator.random(weight.shape, dtype=np.float32)
