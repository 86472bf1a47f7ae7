"""Patterns on kernels in matrix form."""

import math

import numpy as np


class MatrixPattern:
    """A `Pattern` for a kernel `(groups, inputs, outputs)`, as in `core/matrices.py`.

    Its inputs are in the order of the canonical form, channels last.

    Args:
        pattern: a `Pattern`.
        shape: canonical shape of the kernel.
        groups: groups of the matrix; more than one for depthwise and grouped convolutions.

    >>> two = MatrixPattern(tfc.patterns.Block(2, 1), (4, 3))
    >>> two.labels[0]
    array([[0, 1, 2],
           [0, 1, 2],
           [3, 4, 5],
           [3, 4, 5]])
    """

    def __init__(self, pattern, shape, groups=1):
        self.pattern, self.shape, self.groups = pattern, tuple(shape), groups
        # Placeholder scores of the groups.
        self.unscored = pattern.pool(np.zeros(self.shape))

    @property
    def labels(self):
        """The group of each weight, integers in the shape of the matrix."""
        labels = np.arange(self.unscored.size).reshape(self.unscored.shape)
        return self.to_matrix(self.pattern.spread(labels, self.shape))

    @property
    def quota(self):
        """`Pattern.quota`, with labels in the shape of the matrix."""
        quota = self.pattern.quota(self.shape)
        return quota and (self.to_matrix(quota[0]), quota[1])

    def to_matrix(self, canonical):
        """`(groups, inputs, outputs)`."""
        inputs = math.prod(self.shape[:-1])
        return canonical.reshape(inputs, self.groups, -1).swapaxes(0, 1)

    def to_canonical(self, matrix):
        """The inverse of `to_matrix`."""
        return matrix.swapaxes(0, 1).reshape(self.shape)

    def pool(self, scores):
        """Scores of groups: the means of the scores of their weights."""
        return self.pattern.pool(self.to_canonical(scores))

    def select(self, scores, num_kept):
        """The mask of the best groups, in the shape of the matrix.

        Args:
            scores: scores of the groups.
            num_kept: number of groups that stay.
        """
        mask = self.pattern.select(scores, num_kept)
        return self.to_matrix(self.pattern.spread(mask, self.shape))

    def part(self, inputs):
        """The same pattern for a slice of the inputs that does not split a group."""
        if inputs == slice(0, math.prod(self.shape[:-1])):
            return self
        size = inputs.stop - inputs.start
        return MatrixPattern(self.pattern, (size, self.shape[-1]), self.groups)
