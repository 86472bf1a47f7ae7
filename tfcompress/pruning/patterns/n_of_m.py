"""A fixed number out of every `m` consecutive weights."""

import numpy as np

from tfcompress.core.kinds import Integer
from tfcompress.core.nouns import Pattern


class NOfM(Pattern):
    """Keeps the best `n` of every `m` consecutive inputs of a neuron.

    The pattern fixes the sparsity at `1 - n/m`, whatever value the schedule has; the
    schedule determines when it starts (sparsity above 0) and when the choice is
    updated. A last run shorter than `m` keeps `min(n, its length)`.

    Args:
        n: elements kept.
        m: length of a run along the flattened inputs.

    Raises:
        ValueError: unless `1 <= n < m`.

    Source: Mishra et al., "Accelerating Sparse Deep Neural Networks" (2021).

    Example:
        >>> NOfM(2, 4).select(np.array([[4.0], [1.0], [3.0], [2.0]]), 1).ravel()
        array([ True, False,  True, False])
    """

    def __init__(self, n: Integer(1) = 2, m: Integer(1) = 4):
        if n >= m:
            raise ValueError(f"NOfM(n={n!r}, m={m!r}): expected integers 1 <= n < m.")
        self.n = n
        self.m = m

    def pool(self, scores, reduce=np.mean):
        """The scores as a matrix `(fan_in, outputs)`."""
        return scores.reshape(-1, scores.shape[-1])

    def select(self, group_scores, num_kept):
        """The best `n` of each run, ties going to the earlier; all if nothing must go."""
        if num_kept >= group_scores.size:
            return np.ones(group_scores.shape, bool)
        fan_in, outputs = group_scores.shape
        padding = -fan_in % self.m
        padded = np.pad(group_scores, ((0, padding), (0, 0)), constant_values=-np.inf)
        runs = padded.reshape(-1, self.m, outputs)
        best = np.argsort(-runs, axis=1, kind="stable")[:, : self.n]
        mask = np.zeros(runs.shape, bool)
        np.put_along_axis(mask, best, True, axis=1)
        return mask.reshape(-1, outputs)[:fan_in]

    def spread(self, group_mask, shape):
        """The mask in the kernel's shape."""
        return group_mask.reshape(shape)

    def quota(self, shape):
        """Each run keeps `n`."""
        place = np.arange(int(np.prod(shape[:-1])))[:, None] // self.m
        runs = place * shape[-1] + np.arange(shape[-1])
        return runs.reshape(shape), self.n
