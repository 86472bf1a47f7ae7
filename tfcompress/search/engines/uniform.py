"""The same choice for every layer: the baseline of each search."""

import math
import numbers

import numpy as np

from tfcompress.core.kinds import Integer
from tfcompress.core.nouns import SearchEngine


class Uniform(SearchEngine):
    """Takes the same choice for all layers, as weak as the limits allow.

    At the level `t` in [0, 1], a layer with `n` choices, in the order of savings, gets the
    one at the place `t (n - 1)`: fractions (of channels, weights, rank) are interpolated
    between two choices; otherwise the nearest choice is used. The lowest level within the
    limits is proposed.

    Args:
        levels: number of levels.

    Example:
        >>> tfc.search.engines.Uniform(levels=16)
        Uniform(levels=16)
    """

    def __init__(self, levels: Integer(1) = 256):
        self.levels = levels

    def propose(self, study, limits):
        """The member at the lowest level within the limits."""
        low, high = -1, self.levels
        if not study.proxy.is_within(self._at(study.space, high), limits):
            return None
        while high - low > 1:
            middle = (low + high) // 2
            fits = study.proxy.is_within(self._at(study.space, middle), limits)
            low, high = (low, middle) if fits else (middle, high)
        return self._at(study.space, high)

    def _at(self, space, level):
        return {
            dimension: {
                name: _between(choices, level / self.levels * (len(choices) - 1))
                for name, choices in of_names.items()
            }
            for dimension, of_names in space.choices.items()
        }


def _between(choices, place):
    if all(isinstance(c, numbers.Real) for c in choices) and min(choices) <= 1:
        return float(np.interp(place, range(len(choices)), choices))
    return choices[math.floor(place + 0.5)]
