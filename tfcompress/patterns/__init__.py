"""Which weights live or die together."""

from tfcompress.core.nouns import Pattern
from tfcompress.core.plugin import Registry
from tfcompress.patterns.block import Block
from tfcompress.patterns.filter import Filter
from tfcompress.patterns.n_of_m import NOfM
from tfcompress.patterns.weight import Weight

get = Registry(Pattern, Block, Filter, NOfM, Weight)

__all__ = ["Block", "Filter", "NOfM", "Pattern", "Weight", "get"]
