"""Codecs: symbols as few bytes."""

from tfcompress.coding.bit_pack import BitPack
from tfcompress.coding.huffman import Huffman
from tfcompress.coding.mixing import Mixing
from tfcompress.coding.rans import Rans

__all__ = ["BitPack", "Huffman", "Mixing", "Rans"]
