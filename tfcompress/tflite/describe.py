"""Describes a `.tflite` file in a few lines."""

import collections
import dataclasses
import math
import pathlib

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfcompress.tflite.decode import decode
from tfcompress.tflite.operations import (
    constant,
    count_binary_macs,
    count_macs,
    count_operations,
    count_parameters,
)
from tfcompress.tflite.read import naming_contradictions, read


@dataclasses.dataclass(frozen=True)
class FileDescription:
    """The contents of a `.tflite` file; prints as a short text.

    Attributes:
        path: the file.
        size_bytes: size of the file.
        inputs: `[(name, shape, type)]`.
        outputs: `[(name, shape, type)]`.
        operations: `{name: count}`.
        parameters: number of weights.
        nonzero_parameters: number of weights that are not zero.
        macs: multiply-accumulates for one batch.
        binary_macs: those of them that are done on bits.
        weight_bytes: `{type: bytes}` of the stored constants; indices of sparse weights
            count as type `"INDICES"`, encoded weights as `"UINT8"`.
        sparse_weights: `[(name, shape, block shape, fraction not zero)]` of the tensors
            that are stored sparse.
    """

    path: str
    size_bytes: int
    inputs: list
    outputs: list
    operations: dict
    parameters: int
    nonzero_parameters: int
    macs: int
    binary_macs: int
    weight_bytes: dict
    sparse_weights: list

    def to_dict(self):
        """Plain numbers, strings and lists."""
        return dataclasses.asdict(self)

    def __str__(self):
        lines = [f"{self.path}: {self.size_bytes:,} bytes"]
        for side, tensors in (("input", self.inputs), ("output", self.outputs)):
            for name, shape, kind in tensors:
                lines.append(f"{side} {name}: {'x'.join(map(str, shape))} {kind}")
        lines.append(
            "operations: " + ", ".join(f"{n} {k}" for k, n in self.operations.items())
        )
        lines.append(
            f"weights: {self.parameters:,}, not zero {self.nonzero_parameters:,}; "
            + ", ".join(f"{n:,} bytes {k}" for k, n in self.weight_bytes.items())
        )
        for name, shape, block, density in self.sparse_weights:
            lines.append(
                f"sparse: {name}: {'x'.join(map(str, shape))} in blocks of "
                f"{'x'.join(map(str, block))}, {1 - density:.1%} zeros"
            )
        bits = f", {self.binary_macs:,} of them on bits" if self.binary_macs else ""
        lines.append(f"multiply-accumulates: {self.macs:,}{bits}")
        return "\n".join(lines)


@naming_contradictions()
def describe(path):
    """Reads a `.tflite` file.

    Raises:
        ValueError: if it is not a complete TFLite model.
    """
    content = pathlib.Path(path).read_bytes()
    model = read(content)
    main = model.subgraphs[0]
    types = {code: name for name, code in vars(schema.TensorType).items()}

    def tensors(indices):
        found = [main.tensors[i] for i in indices]
        return [
            (t.name.decode(), [int(n) for n in t.shape], types[t.type]) for t in found
        ]

    weight_bytes = collections.Counter()
    sparse_weights = []
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            data = model.buffers[tensor.buffer].data
            if data is not None and len(data):
                weight_bytes[types[tensor.type]] += len(data)
            if tensor.sparsity:
                weight_bytes["INDICES"] += _index_bytes(tensor.sparsity)
                sparse_weights.append(_sparse_weight(model, tensor))
    found = {
        "inputs": tensors(main.inputs),
        "outputs": tensors(main.outputs),
        "operations": count_operations(model),
        "macs": count_macs(model),
        "binary_macs": count_binary_macs(model),
    }
    decode(model)
    parameters, nonzero = count_parameters(model)
    return FileDescription(
        path=str(path),
        size_bytes=len(content),
        parameters=parameters,
        nonzero_parameters=nonzero,
        weight_bytes=dict(weight_bytes.most_common()),
        sparse_weights=sparse_weights,
        **found,
    )


def _index_bytes(sparsity):
    vectors = [
        vector
        for axis in sparsity.dimMetadata
        for vector in (axis.arraySegments, axis.arrayIndices)
    ]
    return sum(np.asarray(v.values).nbytes for v in vectors if v is not None)


def _sparse_weight(model, tensor):
    shape = [int(size) for size in tensor.shape]
    block = [1] * len(shape)
    order = list(tensor.sparsity.traversalOrder)
    blocked = tensor.sparsity.blockMap
    # Axes from the rank on are the axes inside blocks.
    for position, axis in enumerate([] if blocked is None else blocked, len(shape)):
        block[axis] = tensor.sparsity.dimMetadata[order.index(position)].denseSize
    nonzero = int(np.count_nonzero(constant(model, tensor)))
    return (tensor.name or b"").decode(), shape, block, nonzero / math.prod(shape)
