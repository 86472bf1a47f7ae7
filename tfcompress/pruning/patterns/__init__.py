"""Which weights are pruned together."""

from tfcompress.core.nouns import Pattern
from tfcompress.core.plugin import register
from tfcompress.pruning.patterns.block import Block
from tfcompress.pruning.patterns.filter import Filter
from tfcompress.pruning.patterns.kernel import Kernel
from tfcompress.pruning.patterns.n_of_m import NOfM
from tfcompress.pruning.patterns.strided import Strided
from tfcompress.pruning.patterns.weight import Weight

get = Pattern.get
register(Pattern, Block, Filter, Kernel, NOfM, Strided, Weight)

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
