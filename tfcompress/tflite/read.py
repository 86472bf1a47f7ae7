"""Reads and writes `.tflite` models; passes in between work on the object form."""

import contextlib

from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from tfcompress.tflite.packing import Packer

_MARK = b"TFL3"
_CONTRADICTIONS = (
    ArithmeticError,
    AttributeError,
    IndexError,
    KeyError,
    TypeError,
    UnicodeDecodeError,
)
# Space for everything that is not in buffers.
_SPARE_BYTES = 1 << 16


def read(model):
    """The object form of a `.tflite` model, `schema.ModelT`.

    Its buffers are views of the bytes, so that large models are not copied.

    Args:
        model: bytes; an object form is returned unchanged.

    Raises:
        ValueError: if the bytes are not a complete TFLite model.
    """
    if isinstance(model, schema.ModelT):
        return model
    return _complete(model, _object_form)


def _object_form(content):
    try:
        return flatbuffer_utils.read_model_from_bytearray(content)
    except TypeError:
        # It expects operations in each graph: a branch that returns its input has none.
        model = flatbuffer_utils.convert_bytearray_to_object(content)
        if any(buffer.offset for buffer in model.buffers):
            # Of files above 2 GB, whose buffers are not in the object form.
            raise
        for graph in model.subgraphs:
            graph.operators = graph.operators or []
        return flatbuffer_utils.read_model_from_bytearray(write(model))


@contextlib.contextmanager
def naming_contradictions():
    """A context that turns errors from invalid indices and types into one clear error.

    Raises:
        ValueError: in place of Python's own errors.
    """
    try:
        yield
    except _CONTRADICTIONS as error:
        raise ValueError(
            f"The model contradicts itself ({type(error).__name__}: {error}). Copy or "
            "export the file again."
        ) from error


def write(file, consume=False):
    """The bytes of a model in object form; equal parts are written once.

    Args:
        file: the model.
        consume: whether it is not used afterwards: buffers are freed as soon as they are
            written, so that they are not in memory three times.
    """
    data = (buffer.data for buffer in file.buffers)
    size = sum(len(part) for part in data if part is not None)
    builder = Packer(size + _SPARE_BYTES)
    builder.Finish(file.Pack(builder), file_identifier=_MARK)
    if consume:
        file.buffers = None
    return bytes(memoryview(builder.Bytes)[builder.Head() :])


def custom_operations(content):
    """Names of the custom operations of a model; nothing else is read.

    Args:
        content: bytes of a `.tflite` model.

    Raises:
        ValueError: if the bytes are not a complete TFLite model.
    """
    return _complete(content, _custom_operations)


def _custom_operations(content):
    model = schema.Model.GetRootAs(content)
    codes = map(model.OperatorCodes, range(model.OperatorCodesLength()))
    names = (code.CustomCode() for code in codes)
    return {name.decode() for name in names if name}


def signature_graphs(content):
    """`{name of a signature: index of its graph}` of a model; nothing else is read.

    Args:
        content: bytes of a `.tflite` model.

    Raises:
        ValueError: if the bytes are not a complete TFLite model.
    """
    return _complete(content, _signature_graphs)


def _signature_graphs(content):
    model = schema.Model.GetRootAs(content)
    found = map(model.SignatureDefs, range(model.SignatureDefsLength()))
    return {s.SignatureKey().decode(): s.SubgraphIndex() for s in found}


def tensor_shapes(content):
    """Shapes and stored bytes of all tensors, and whether any is sparse.

    Nothing else is read.

    Args:
        content: bytes of a `.tflite` model.

    Returns:
        `([(integers, bytes stored), ...], bool)`.

    Raises:
        ValueError: if the bytes are not a complete TFLite model.
    """
    return _complete(content, _tensor_shapes)


def _tensor_shapes(content):
    model = schema.Model.GetRootAs(content)
    graphs = map(model.Subgraphs, range(model.SubgraphsLength()))
    tensors = [g.Tensors(i) for g in graphs for i in range(g.TensorsLength())]
    stored = [model.Buffers(i).DataLength() for i in range(model.BuffersLength())]
    shapes = [
        (t.ShapeAsNumpy().tolist(), stored[t.Buffer()])
        for t in tensors
        if t.ShapeLength()
    ]
    return shapes, any(t.Sparsity() is not None for t in tensors)


def written_tensors(content):
    """For each graph, the indices of its inputs and of tensors its operations write.

    Args:
        content: bytes of a `.tflite` model.

    Raises:
        ValueError: if the bytes are not a complete TFLite model.
    """
    return _complete(content, _written_tensors)


def _written_tensors(content):
    model = schema.Model.GetRootAs(content)
    graphs = map(model.Subgraphs, range(model.SubgraphsLength()))
    return [
        [graph.Inputs(i) for i in range(graph.InputsLength())]
        + [
            operation.Outputs(i)
            for operation in map(graph.Operators, range(graph.OperatorsLength()))
            for i in range(operation.OutputsLength())
        ]
        for graph in graphs
    ]


def _complete(content, reader):
    """What a function reads from a model's bytes, if they are complete."""
    error = None
    if content[4:8] == _MARK:
        try:
            return reader(content)
        except Exception as caught:
            error = caught
    raise ValueError(
        f"{len(content)} bytes are not a complete .tflite model. Copy or export the file "
        "again."
    ) from error
