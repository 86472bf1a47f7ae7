"""Random importance."""

import zlib

import numpy as np

from tfcompress.core.kinds import Integer
from tfcompress.core.nouns import Criterion


class Random(Criterion):
    """`score_i ~ U(0, 1)`, drawn again at every step.

    Draws depend only on the seed, the name of the weight and the step of the optimizer,
    so that all workers and repeated runs agree. SET uses it to grow weights, and it is
    the baseline that any other criterion must beat.

    Args:
        seed: integer of at least 0; each seed gives different draws.

    Raises:
        ValueError: if `seed` is not an integer of at least 0.

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
