"""Codecs that write symbols in few bytes."""

from tfcompress.coding.adaptive_rans import AdaptiveRans
from tfcompress.coding.bit_pack import BitPack
from tfcompress.coding.huffman import Huffman
from tfcompress.coding.mixing import Mixing
from tfcompress.coding.rans import Rans
from tfcompress.coding.sparse import Bitmap, RelativeIndex
from tfcompress.core.nouns import Codec
from tfcompress.core.plugin import register

get = Codec.get
register(Codec, AdaptiveRans, BitPack, Bitmap, Huffman, Mixing, Rans, RelativeIndex)

__all__ = [
    "AdaptiveRans",
    "BitPack",
    "Bitmap",
    "Codec",
    "Huffman",
    "Mixing",
    "Rans",
    "RelativeIndex",
    "get",
]
