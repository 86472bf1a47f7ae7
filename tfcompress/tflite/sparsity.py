"""Decides which kernels a `.tflite` file stores, and LiteRT runs, sparse.

LiteRT's own float32 kernel for fully connected layers takes sparse weights, as blocks of
4 consecutive inputs of one output or as single weights, and skips the rest. XNNPACK,
which runs dense layers, has no such kernel and ignores operation version 8; with any
other version, it reads a sparse tensor as if it were dense.

So each operation that runs sparse gets this version separately. (The converter's own
`EXPERIMENTAL_SPARSITY` gives it to all fully connected layers of the file, which takes
the dense ones away from XNNPACK, and considers zeros but not speed.)
"""

import collections
import copy
import dataclasses
import itertools
import math

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfcompress.core.walk import weight_refs
from tfcompress.tflite.dense_layer import dense_layer
from tfcompress.tflite.edit import WEIGHT_INPUT, opcode_index, set_constant
from tfcompress.tflite.encode import encoded_size
from tfcompress.tflite.operations import OUTPUTS_FIRST, operation_name
from tfcompress.tflite.read import write

SPARSE = ("auto", "always", "never")
# A denser kernel would gain too little to be mentioned.
MAX_DENSITY = 0.5

# Weights that can be stored together.
BLOCKS = (4, 1)
_SPARSE_VERSION = 8


@dataclasses.dataclass(frozen=True)
class KernelSparsity:
    """How a file stores a kernel with at least half zeros.

    Attributes:
        name: name of the weight, such as `hidden/kernel`; of the file's tensor if a
            rewrite changed its zeros.
        shape: shape in the file, outputs first.
        density: fraction of the weights that are not zero.
        block: how many consecutive inputs of an output are stored together, 4 or 1;
            None if the kernel is stored dense.
        unpacked: whether it is stored sparse, but made dense when the file is loaded.
        reason: why LiteRT does not run it sparse; None if it does.

    Example:
        >>> model = keras.Sequential([keras.Input((512,)), keras.layers.Dense(512)])
        >>> _ = model.layers[0].kernel.assign(np.eye(512))
        >>> (kernel,) = tfc.export_tflite(model, tmp_path / "m.tflite").sparsity
        >>> kernel.block, f"{kernel.density:.4f}", kernel.reason
        (1, '0.0020', None)
    """

    name: str
    shape: tuple
    density: float
    block: int | None = None
    unpacked: bool = False
    reason: str | None = None


def store_sparse(file, model, sparse, costs, obstacle=None, codec=None):
    """Stores kernels of a file sparse if that pays off.

    Args:
        file: the object form of a `.tflite` model, edited in place.
        model: the plain Keras model that it was converted from, for names.
        sparse: one of `SPARSE`; see `export_tflite`.
        costs: a function that returns the `SparseCosts` of a processor.
        obstacle: why LiteRT runs no kernel of such a file sparse, or None.
        codec: how constants are encoded afterwards; kernels that take fewer bytes encoded
            are left unchanged.

    Returns:
        A tuple with a `KernelSparsity` for each kernel with at least half zeros.
    """
    if obstacle:
        return _unused(model, obstacle)
    if sparse == "never":
        return _unused(model, 'sparse="never"')
    found = [(g, kernel) for g in file.subgraphs for kernel in _sparse_kernels(file, g)]
    names = _names_by_zeros(model) if found else {}
    return tuple(_store(file, *place, names, sparse, costs, codec) for place in found)


def sparsity_lines(kernels):
    """Lines of text, with kernels of the same outcome on one line."""

    def fate(kernel):
        return kernel.reason or "", kernel.block or 0, kernel.unpacked

    lines = []
    for (reason, block, unpacked), group in itertools.groupby(
        sorted(kernels, key=fate), fate
    ):
        form = {0: "", 1: "single weights, ", 4: "blocks of 4, "}[block]
        kind = "runs sparse"
        if reason:
            kind = "unpacked when loaded" if unpacked else "zeros unused"
        line = f"{kind}: {_listed(list(group), form)}"
        lines.append(f"{line}: {reason}" if reason else line)
    return lines


def _listed(kernels, form, most=3):
    names = ", ".join(kernel.name for kernel in kernels[:most])
    if len(kernels) > most:
        names += f" and {len(kernels) - most} more"
    shares = [1 - kernel.density for kernel in kernels]
    texts = dict.fromkeys(f"{share:.1%}" for share in (min(shares), max(shares)))
    return f"{names} ({form}{' to '.join(texts)} zeros)"


def _unused(model, reason):
    """The kernels of a Keras model with many zeros, all stored dense."""
    found = []
    for name, matrix in _kernel_matrices(model):
        density = np.count_nonzero(matrix) / matrix.size
        if density <= MAX_DENSITY:
            found.append(KernelSparsity(name, matrix.shape, density, reason=reason))
    return tuple(found)


def _kernel_matrices(model):
    """`(name, (outputs, fan in) matrix)` of the kernels of a Keras model."""
    for ref in weight_refs(model):
        if ref.is_kernel and ref.layout.num_outputs:
            canonical = ref.layout.to_canonical(ref.variable.numpy())
            yield ref.path, canonical.reshape(-1, ref.layout.num_outputs).T


def _names_by_zeros(model):
    """`{positions of the nonzero weights: names}`.

    The file's tensors have other names, and folding a batch norm changes their values, but
    not the positions of zeros.
    """
    names = collections.defaultdict(list)
    for name, matrix in _kernel_matrices(model):
        names[_zeros(matrix)].append(name)
    return names


def _zeros(array):
    return len(array), np.packbits(array != 0).tobytes()


@dataclasses.dataclass(frozen=True)
class _Kernel:
    """A constant of a file with the operations that read it."""

    tensor: schema.TensorT
    index: int
    values: np.ndarray
    users: list
    # Why LiteRT cannot run it sparse, or None.
    obstacle: str | None


def _sparse_kernels(file, graph):
    """The float kernels of a graph with at least half zeros."""
    readers = collections.defaultdict(list)
    for operation in graph.operators:
        for place, index in enumerate(operation.inputs):
            readers[int(index)].append((operation, place))
    kernels = []
    for index, places in readers.items():
        kinds = {operation_name(file, op) for op, p in places if p == WEIGHT_INPUT}
        if not kinds.intersection(OUTPUTS_FIRST):
            continue
        values = _float_constant(file, graph.tensors[index])
        if values is None or np.count_nonzero(values) > MAX_DENSITY * values.size:
            continue
        users = [operation for operation, _ in places]
        obstacle = _obstacle(graph, places, kinds)
        kernels.append(_Kernel(graph.tensors[index], index, values, users, obstacle))
    return kernels


def _float_constant(file, tensor):
    data = file.buffers[tensor.buffer].data
    if tensor.type != schema.TensorType.FLOAT32 or data is None or not len(data):
        return None
    return np.frombuffer(bytes(data), np.float32).reshape(tensor.shape)


def _obstacle(graph, places, kinds):
    if kinds != {"FULLY_CONNECTED"} or any(p != WEIGHT_INPUT for _, p in places):
        return "LiteRT runs only dense layers sparse"
    shapes = [graph.tensors[operation.outputs[0]].shape for operation, _ in places]
    if any(math.prod(shape[:-1]) > 1 for shape in shapes):
        return "the dense kernel reads its weights once for many rows of inputs"
    return None


def _store(file, graph, kernel, names, sparse, costs, codec):
    """Stores a kernel in the form that pays off, and returns its `KernelSparsity`."""
    same_zeros = names[_zeros(kernel.values.reshape(len(kernel.values), -1))]
    state = KernelSparsity(
        name=same_zeros.pop(0) if same_zeros else kernel.tensor.name.decode(),
        shape=tuple(int(size) for size in kernel.values.shape),
        density=np.count_nonzero(kernel.values) / kernel.values.size,
    )
    candidates = _smaller_forms(kernel.values)
    if candidates and codec:
        size = encoded_size(file, kernel.tensor, codec)
        if size < min(form.size_bytes for form in candidates):
            reason = f"codec={codec!r} makes the file smaller"
            return dataclasses.replace(state, reason=reason)
    fast = [] if kernel.obstacle else [f for f in candidates if f.pays_off(costs())]
    if fast:
        form = min(fast, key=lambda form: form.size_bytes)
        _keep_only(file, kernel.tensor, form)
        for operation in kernel.users:
            operation.opcodeIndex = _sparse_opcode(file, operation)
        return dataclasses.replace(state, block=form.block)
    if not candidates:
        return dataclasses.replace(state, reason="the file would not be smaller")
    reason = kernel.obstacle or _too_slow(kernel.values)
    if sparse == "auto":
        reason += '; sparse="always" makes the file smaller'
        return dataclasses.replace(state, reason=reason)
    form = min(candidates, key=lambda form: form.size_bytes)
    _unpack_when_loaded(file, graph, kernel)
    _keep_only(file, kernel.tensor, form)
    return dataclasses.replace(state, block=form.block, unpacked=True, reason=reason)


def _too_slow(values):
    if values.shape[-1] % max(BLOCKS):
        return "the dense kernel is faster, and blocks of 4 do not fit into its inputs"
    return "the dense kernel is faster at this size and density"


@dataclasses.dataclass(frozen=True)
class _Form:
    """A kernel without its zero blocks.

    The last axis is stored as a compressed sparse row for each position on the others:
    `indices[segments[r]:segments[r + 1]]` are the blocks that row `r` keeps.
    """

    block: int
    shape: tuple
    values: np.ndarray
    segments: np.ndarray
    indices: np.ndarray

    def pays_off(self, costs):
        rows = math.prod(self.shape[:-1])
        return costs.pays_off(rows, self.shape[-1], self.block, self.indices.size)

    @property
    def size_bytes(self):
        return sum(
            a.nbytes
            for a in (self.values, _narrow(self.segments), _narrow(self.indices))
        )


def _smaller_forms(values):
    """The forms of a kernel that take fewer bytes than the dense one."""
    sizes = [size for size in BLOCKS if values.shape[-1] % size == 0]
    forms = [_form(values, size) for size in sizes]
    return [form for form in forms if form.size_bytes < values.nbytes]


def _form(values, block):
    blocks = values.reshape(-1, values.shape[-1] // block, block)
    kept = blocks.any(axis=2)
    return _Form(
        block=block,
        shape=values.shape,
        values=blocks[kept],
        segments=np.concatenate([[0], np.cumsum(kept.sum(axis=1))]),
        indices=np.nonzero(kept)[1],
    )


def _narrow(indices):
    """Indices in the smallest type that the format has."""
    largest = indices.max(initial=0)
    for kind in (np.uint8, np.uint16):
        if largest <= np.iinfo(kind).max:
            return indices.astype(kind)
    return indices.astype(np.int32)


_VECTORS = {
    np.dtype(np.uint8): (schema.SparseIndexVector.Uint8Vector, schema.Uint8VectorT),
    np.dtype(np.uint16): (schema.SparseIndexVector.Uint16Vector, schema.Uint16VectorT),
    np.dtype(np.int32): (schema.SparseIndexVector.Int32Vector, schema.Int32VectorT),
}


def _index_vector(indices):
    """`(type code, vector)` as required by the schema."""
    indices = _narrow(indices)
    code, vector = _VECTORS[indices.dtype]
    made = vector()
    made.values = indices
    return code, made


def _keep_only(file, tensor, form):
    """Replaces a tensor's constant by its sparse form."""
    sparse_axis = schema.DimensionMetadataT()
    sparse_axis.format = schema.DimensionType.SPARSE_CSR
    sparse_axis.arraySegmentsType, sparse_axis.arraySegments = _index_vector(
        form.segments
    )
    sparse_axis.arrayIndicesType, sparse_axis.arrayIndices = _index_vector(form.indices)
    parameters = schema.SparsityParametersT()
    parameters.dimMetadata = [*map(_dense_axis, form.shape[:-1]), sparse_axis]
    if form.block > 1:
        parameters.dimMetadata.append(_dense_axis(form.block))
        parameters.blockMap = np.array([len(form.shape) - 1], np.int32)
    parameters.traversalOrder = np.arange(len(parameters.dimMetadata), dtype=np.int32)
    tensor.sparsity = parameters
    set_constant(file, tensor, form.values)


def _dense_axis(size):
    axis = schema.DimensionMetadataT()
    axis.format = schema.DimensionType.DENSE
    axis.denseSize = int(size)
    return axis


def _sparse_opcode(file, operation):
    """Index of the version of an operation that takes sparse weights."""
    code = copy.copy(file.operatorCodes[operation.opcodeIndex])
    code.version = _SPARSE_VERSION
    return opcode_index(file, code)


def one_layer(kernel, block=None):
    """Bytes of a file with one float dense layer for a row of inputs.

    Args:
        kernel: its weights in float32, `(outputs, inputs)`.
        block: how many consecutive inputs are stored together; None for a dense kernel.
    """
    file = dense_layer(kernel)
    if block:
        file.operatorCodes[0].version = _SPARSE_VERSION
        _keep_only(file, file.subgraphs[0].tensors[WEIGHT_INPUT], _form(kernel, block))
    return write(file)


def _unpack_when_loaded(file, graph, kernel):
    """Inserts an operation that makes the kernel dense before its readers."""
    dense = copy.copy(kernel.tensor)
    dense.name += b"/dense"
    dense.buffer = 0
    graph.tensors.append(dense)
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.DENSIFY
    unpack = schema.OperatorT()
    unpack.opcodeIndex = opcode_index(file, code)
    unpack.inputs = np.array([kernel.index], np.int32)
    unpack.outputs = np.array([len(graph.tensors) - 1], np.int32)
    unpack.builtinOptionsType = schema.BuiltinOptions.DensifyOptions
    unpack.builtinOptions = schema.DensifyOptionsT()
    for user in kernel.users:
        inputs = np.array(user.inputs, np.int32)
        inputs[inputs == kernel.index] = unpack.outputs[0]
        user.inputs = inputs
    graph.operators.insert(graph.operators.index(kernel.users[0]), unpack)
