"""Running models on this host."""

from tfcompress.runtime.cascade import Cascade
from tfcompress.runtime.channel_tile import channel_tile
from tfcompress.runtime.delegate import delegate_path
from tfcompress.runtime.interpreter import Interpreter
from tfcompress.runtime.sparse_costs import SparseCosts

__all__ = ["Cascade", "Interpreter", "SparseCosts", "channel_tile", "delegate_path"]
