"""Which weights live or die together."""

from tfcompress.core.nouns import Pattern
from tfcompress.core.plugin import Registry
from tfcompress.patterns.block import Block
from tfcompress.patterns.filter import Filter
from tfcompress.patterns.kernel import Kernel
from tfcompress.patterns.n_of_m import NOfM
from tfcompress.patterns.strided import Strided
from tfcompress.patterns.weight import Weight

get = Registry(Pattern, Block, Filter, Kernel, NOfM, Strided, Weight)

__all__ = [
    "Block",
    "Filter",
    "Kernel",
    "NOfM",
    "Pattern",
    "Strided",
    "Weight",
    "get",
]
