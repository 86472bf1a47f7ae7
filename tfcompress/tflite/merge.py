"""Several `.tflite` models in one file."""

import copy
import hashlib

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfcompress.tflite.edit import opcode_index
from tfcompress.tflite.operations import operation_name

_VERSION = 3
# Metadata that the runtime reads; what it says about graphs by index cannot be merged.
_CONTROL_DEPENDENCIES = b"model_control_dependencies"


def merge(files):
    """Merges several models into one with a signature for each.

    Constants with equal bytes and equal metadata are stored once. Graphs keep their order:
    those of the first model come first, starting with the one that runs if no signature is
    chosen. Variables with the same name in several models stay separate.

    Args:
        files: `{name of the signature: object form of a model}`; each has one
            signature. They are not changed.

    Returns:
        The object form of the merged model.

    Raises:
        ValueError: if there are no models, or one cannot be merged.
    """
    if not files:
        raise ValueError("Nothing to merge: expected at least one model.")
    merged = schema.ModelT()
    merged.version, merged.buffers = _VERSION, [schema.BufferT()]
    merged.operatorCodes, merged.subgraphs = [], []
    merged.signatureDefs, merged.metadata = [], []
    buffers = _Buffers(merged)
    for name, file in files.items():
        _check(name, file)
        merged.description = merged.description or file.description
        _add_graphs(merged, name, file, buffers)
        _add_metadata(merged, file, buffers)
    return merged


def _check(name, file):
    count = len(file.signatureDefs or ())
    if count != 1:
        raise ValueError(
            f"The model for the signature {name!r} has {count} signatures: expected one. "
            "Write it with tfc.export_tflite."
        )
    if file.externalBuffers or any(b.offset > 1 for b in file.buffers):
        raise ValueError(
            f"The model for the signature {name!r} keeps constants outside of its "
            "buffers: expected a model of less than 2 GiB in one piece."
        )
    if any(note.name == _CONTROL_DEPENDENCIES for note in file.metadata or ()):
        raise ValueError(
            f"The model for the signature {name!r} prescribes an order of operations "
            "with side effects, such as assignments to variables: such models cannot "
            "be merged. Keep it in a separate file."
        )


class _Buffers:
    """The buffers of a merged model, each content once."""

    def __init__(self, merged):
        self._merged = merged
        self._places = {}

    def place(self, buffer):
        """The index of a buffer with the same content; 0 for an empty one."""
        if buffer.data is None:
            return 0
        data = np.ascontiguousarray(buffer.data, np.uint8)
        digest = hashlib.sha256(data).digest()
        if digest not in self._places:
            added = schema.BufferT()
            added.data = data
            self._merged.buffers.append(added)
            self._places[digest] = len(self._merged.buffers) - 1
        return self._places[digest]


def _add_graphs(merged, name, file, buffers):
    first = len(merged.subgraphs)
    codes = [opcode_index(merged, copy.copy(code)) for code in file.operatorCodes]
    graphs = copy.deepcopy(file.subgraphs)
    merged.subgraphs += graphs
    for graph in graphs:
        for tensor in graph.tensors:
            tensor.buffer = buffers.place(file.buffers[tensor.buffer])
        for operation in graph.operators:
            operation.opcodeIndex = codes[operation.opcodeIndex]
            _move_calls(operation, first)
            if operation_name(merged, operation) == "VAR_HANDLE":
                _rename_variable(operation.builtinOptions, name)
    signature = copy.deepcopy(file.signatureDefs[0])
    signature.signatureKey = name.encode()
    signature.subgraphIndex += first
    merged.signatureDefs.append(signature)


def _move_calls(operation, by):
    """Shifts the indices of the graphs that an operation runs."""
    for options in (operation.builtinOptions, operation.builtinOptions2):
        for name, place in vars(options).items() if options else ():
            if (
                name.endswith(("SubgraphIndex", "SubgraphIndices"))
                or name == "subgraph"
            ):
                moved = None if place is None else np.add(place, by)
                setattr(options, name, moved)


def _rename_variable(options, signature):
    shared = options.sharedName or b""
    options.sharedName = signature.encode() + b"/" + bytes(shared)


def _add_metadata(merged, file, buffers):
    known = {(note.name, note.buffer) for note in merged.metadata}
    for note in file.metadata or ():
        kept = copy.copy(note)
        kept.buffer = buffers.place(file.buffers[note.buffer])
        if (kept.name, kept.buffer) not in known:
            merged.metadata.append(kept)
