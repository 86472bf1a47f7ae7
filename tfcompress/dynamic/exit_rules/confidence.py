"""The probability of the most likely class."""

import numpy as np

from tfcompress.core.nouns import ExitRule


class Confidence(ExitRule):
    """The highest probability, `s = max_c p_c`, from `1 / classes` to 1.

    Source: Huang et al., "Multi-Scale Dense Networks for Resource Efficient Image
    Classification" (2018), section 5.

    Example:
        >>> Confidence()(np.array([[[0.7, 0.2, 0.1], [0.4, 0.3, 0.3]]]))
        array([[0.7, 0.4]])
    """

    def __call__(self, probabilities):
        """Scores `(exits, samples)`."""
        return np.max(probabilities, axis=-1)
