"""The size of a model's weights in the file format of Deep Compression."""

import dataclasses
import heapq
import math

import numpy as np

from tfcompress.coding.sparse import relative_index
from tfcompress.core.kinds import BuiltModel, Integer, checked
from tfcompress.core.text import Table, as_text
from tfcompress.core.walk import leaf_refs, leaves, weight_paths

CONVOLUTION_INDEX_BITS = 8
DENSE_INDEX_BITS = 5
_FLOAT_BITS = 32


@dataclasses.dataclass(frozen=True)
class WeightStorage:
    """The size of one weight: a row of Tables 2 to 5 of the paper.

    Attributes:
        name: names of layer and weight, such as `dense/kernel`.
        weights: number of elements.
        kept: number of nonzero elements.
        weight_bits: bits of each stored weight: those of the index of its shared value, or
            32 where sharing saves nothing.
        index_bits: bits of each gap between two stored weights; 0 if all are stored.
        huffman_weight_bits, huffman_index_bits: the same on average with Huffman codes.
        stored_bytes: total bytes, including the shared values.
        huffman_bytes: the same with Huffman codes, including one byte for each code length.
    """

    name: str
    weights: int
    kept: int
    weight_bits: int
    index_bits: int
    huffman_weight_bits: float
    huffman_index_bits: float
    stored_bytes: int
    huffman_bytes: int


@dataclasses.dataclass(frozen=True)
class Storage:
    """The size of all weights of a model in that format; prints as the paper's table.

    Attributes:
        weights: tuple of `WeightStorage`.
    """

    weights: tuple

    @property
    def dense_bytes(self):
        """Bytes of all weights in float32."""
        return sum(4 * row.weights for row in self.weights)

    @property
    def stored_bytes(self):
        """Bytes with shared values and gaps of fixed length."""
        return sum(row.stored_bytes for row in self.weights)

    @property
    def huffman_bytes(self):
        """Bytes with Huffman codes."""
        return sum(row.huffman_bytes for row in self.weights)

    @property
    def compression_rate(self):
        """How many times smaller than float32 the weights are with Huffman codes."""
        return self.dense_bytes / max(self.huffman_bytes, 1)

    def to_dict(self):
        """Plain numbers, strings and lists."""
        return {
            "dense_bytes": self.dense_bytes,
            "stored_bytes": self.stored_bytes,
            "huffman_bytes": self.huffman_bytes,
            "compression_rate": self.compression_rate,
            "weights": [dataclasses.asdict(row) for row in self.weights],
        }

    def table(self):
        """A `rich.table.Table`; P pruning, Q sharing, H Huffman coding."""
        table = Table(title="Deep Compression", title_justify="left")
        table.add_column("weight", overflow="fold")
        for heading in (
            "weights",
            "kept",
            "weight bits\nP+Q",
            "weight bits\nP+Q+H",
            "index bits\nP+Q",
            "index bits\nP+Q+H",
            "rate\nP+Q",
            "rate\nP+Q+H",
        ):
            table.add_column(heading, justify="right")
        for row in self.weights:
            table.add_row(
                row.name,
                f"{row.weights:,}",
                f"{row.kept / row.weights:.1%}",
                str(row.weight_bits),
                f"{row.huffman_weight_bits:.1f}",
                str(row.index_bits or ""),
                f"{row.huffman_index_bits:.1f}" if row.index_bits else "",
                _rate(4 * row.weights, row.stored_bytes),
                _rate(4 * row.weights, row.huffman_bytes),
            )
        table.add_section()
        weights = sum(row.weights for row in self.weights)
        kept = sum(row.kept for row in self.weights)
        table.add_row(
            "total",
            f"{weights:,}",
            f"{kept / max(weights, 1):.1%}",
            *[""] * 4,
            _rate(self.dense_bytes, self.stored_bytes),
            _rate(self.dense_bytes, self.huffman_bytes),
        )
        return table

    def __str__(self):
        return as_text(self.table())


@checked
def storage(
    model: BuiltModel(),
    convolution_index_bits: Integer(1, 16) = CONVOLUTION_INDEX_BITS,
    dense_index_bits: Integer(1, 16) = DENSE_INDEX_BITS,
) -> Storage:
    """Computes the size of a model in the file format of Deep Compression.

    A kernel with zeros is stored as its nonzero weights in order, each as the index of its
    shared value and the gap to the previous weight; a gap too long for its bits is bridged
    by stored zeros. Both are then Huffman coded. Files of `tfc.export_tflite` differ: they
    use the best codec for each weight.

    Args:
        model: a plain Keras model.
        convolution_index_bits: bits of a gap in kernels with more than two axes, 1 to 16.
        dense_index_bits: bits of a gap in other weights, 1 to 16.

    Returns:
        A `Storage`.

    Raises:
        TypeError: if `model` is not a Keras 3 model.
        ValueError: if index bits are out of range.

    Source: Han et al., "Deep Compression" (2016), section 2 and Tables 2 to 5.

    Example:
        >>> layer = keras.layers.Dense(2, use_bias=False); layer.build((None, 4))
        >>> _ = layer.kernel.assign([[0, 0], [3, 0], [0, 5], [0, 3]])
        >>> model = keras.Sequential([keras.Input((4,)), layer])
        >>> row = tfc.recipes.storage(model).weights[0]
        >>> row.kept, row.weight_bits, row.index_bits, round(row.huffman_index_bits, 2)
        (3, 1, 5, 1.0)
    """
    rows, paths = [], weight_paths(model)
    for _, layer in leaves(model):
        for ref in leaf_refs(layer):
            name = paths[id(ref.variable)]
            value = ref.variable.numpy()
            bits = convolution_index_bits if value.ndim > 2 else dense_index_bits
            rows.append(_measure(name, value, bits))
    return Storage(tuple(rows))


def _rate(dense_bytes, stored_bytes):
    return f"{dense_bytes / max(stored_bytes, 1):.0f}x"


def _measure(name, value, index_bits):
    flat = np.ravel(value)
    kept = np.flatnonzero(flat)
    is_sparse = kept.size < flat.size
    stored, gaps = flat, None
    if is_sparse:
        gaps, is_padding = relative_index(kept, 2**index_bits - 1)
        stored = np.zeros(gaps.size, flat.dtype)
        stored[~is_padding] = flat[kept]
    weight_bits, huffman_weight_bits, table_bytes = _shared(stored)
    huffman_index_bits = index_table_bytes = 0
    if is_sparse:
        counts = np.unique(gaps, return_counts=True)[1]
        huffman_index_bits, index_table_bytes = _mean_length(counts), counts.size
    codebook_bytes = 4 * table_bytes
    total = weight_bits + is_sparse * index_bits
    huffman_total = huffman_weight_bits + huffman_index_bits
    return WeightStorage(
        name=name,
        weights=flat.size,
        kept=kept.size,
        weight_bits=weight_bits,
        index_bits=is_sparse * index_bits,
        huffman_weight_bits=huffman_weight_bits,
        huffman_index_bits=huffman_index_bits,
        stored_bytes=math.ceil(stored.size * total / 8) + codebook_bytes,
        huffman_bytes=math.ceil(stored.size * huffman_total / 8)
        + codebook_bytes
        + table_bytes
        + index_table_bytes,
    )


def _shared(stored):
    """Bits, mean Huffman bits and number of shared values; raw floats if smaller."""
    counts = np.unique(stored, return_counts=True)[1]
    bits = max(1, math.ceil(math.log2(max(counts.size, 1))))
    if stored.size * (_FLOAT_BITS - bits) <= counts.size * _FLOAT_BITS:
        return _FLOAT_BITS, float(_FLOAT_BITS), 0
    return bits, _mean_length(counts), counts.size


def _mean_length(counts):
    """Mean length of a Huffman code: the sum of all merges divided by the total.

    >>> _mean_length([2, 1, 1])
    1.5
    """
    heap = [int(count) for count in counts]
    if len(heap) < 2:
        return float(len(heap))
    heapq.heapify(heap)
    total, merged = sum(heap), 0
    while len(heap) > 1:
        pair = heapq.heappop(heap) + heapq.heappop(heap)
        merged += pair
        heapq.heappush(heap, pair)
    return merged / total
