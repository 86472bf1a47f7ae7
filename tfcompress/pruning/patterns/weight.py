"""Unstructured: each weight on its own."""

import numpy as np

from tfcompress.core.nouns import Pattern


class Weight(Pattern):
    """Every element is a separate group.

    >>> Weight().pool(np.ones((2, 3))).shape
    (2, 3)
    """

    def pool(self, scores, reduce=np.mean):
        """The scores themselves."""
        return scores

    def spread(self, group_mask, shape):
        """The mask itself."""
        return group_mask
