"""Rewrites operations whose integer kernels are missing or wrong."""

import collections

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfcompress.tflite.edit import drop_unused_codes
from tfcompress.tflite.operations import constant, operation_name
from tfcompress.tflite.rewrite import Rewrite

_KEEP_CONSTANTS = """
    EQUAL GREATER GREATER_EQUAL LESS LESS_EQUAL NOT_EQUAL SELECT SELECT_V2
""".split()


def rewrite_for_integers(file, bits):
    """Rewrites operations of a float file whose integer kernels fail.

    For 8 and 16 bits, `ONE_HOT`, whose two values would get different scales, returns
    integers, which are converted. For 16 bits:

        SQUARED_DIFFERENCE(a, b) = (a - b) (a - b),    SQUARE(a) = a a,
        SUM(a) = n MEAN(a),    PADV2(a, c) = PAD(a - c) + c

    and convolutions and dense layers get separate biases, whose scales follow from their
    inputs and weights: a shared bias would have the scale of only one of its readers.

    Args:
        file: the object form of the file, edited in place.
        bits: bits of the activations.
    """
    forms = _FORMS if bits == 16 else {"ONE_HOT": _whole_one_hot}
    for graph in file.subgraphs:
        operators, readers = graph.operators, collections.Counter()
        for operation in operators:
            readers.update(map(int, operation.inputs))
        graph.operators = []
        for operation in operators:
            form = forms.get(operation_name(file, operation))
            named = file, graph, operation, readers
            steps = form(Rewrite(*named)) if form else None
            graph.operators += steps or [operation]
    # The quantizer only knows operation codes that are in use.
    drop_unused_codes(file)


def _product_of_difference(rewrite):
    difference = rewrite.between(rewrite.output)
    return [
        rewrite.step("SUB", rewrite.inputs, difference, schema.SubOptionsT()),
        _product(rewrite, difference, difference),
    ]


def _product_with_itself(rewrite):
    (place,) = rewrite.inputs
    return [_product(rewrite, place, place)]


def _product(rewrite, first, second):
    options = schema.MulOptionsT()
    return rewrite.step("MUL", [first, second], rewrite.output, options)


def _multiple_of_mean(rewrite):
    if rewrite.tensor(rewrite.output).type != schema.TensorType.FLOAT32:
        return None
    whole, part = (
        np.prod(rewrite.tensor(place).shape)
        for place in (rewrite.inputs[0], rewrite.output)
    )
    mean = rewrite.between(rewrite.output)
    count = rewrite.constant(np.float32(whole / part))
    options = rewrite.operation.builtinOptions
    return [
        rewrite.step("MEAN", rewrite.inputs, mean, options),
        _product(rewrite, mean, count),
    ]


def _zero_padding(rewrite):
    place, paddings, value = rewrite.inputs
    if rewrite.tensor(rewrite.output).type != schema.TensorType.FLOAT32:
        return None
    moved, padded = rewrite.between(place), rewrite.between(rewrite.output)
    return [
        rewrite.step("SUB", [place, value], moved, schema.SubOptionsT()),
        rewrite.step("PAD", [moved, paddings], padded, schema.PadOptionsT()),
        rewrite.step("ADD", [padded, value], rewrite.output, schema.AddOptionsT()),
    ]


def _own_constants(rewrite):
    """The same operation with constants that nothing else reads.

    These operations keep constants that they read as float. A constant that others read
    too would become an integer.
    """
    inputs = [
        place if values is None else rewrite.constant(values)
        for place, values in map(rewrite.float_constant, rewrite.inputs)
    ]
    if inputs == rewrite.inputs:
        return None
    rewrite.operation.inputs = np.array(inputs, np.int32)
    return [rewrite.operation]


def _own_bias(rewrite):
    place = rewrite.inputs[-1]
    if len(rewrite.inputs) < 3 or rewrite.readers[place] < 2 or place < 0:
        return None
    _, values = rewrite.float_constant(place)
    if values is None:
        return None
    # The last of its readers keeps the original.
    rewrite.readers[place] -= 1
    rewrite.operation.inputs[-1] = rewrite.constant(values, b"bias")
    return [rewrite.operation]


def _whole_one_hot(rewrite):
    if rewrite.tensor(rewrite.output).type != schema.TensorType.FLOAT32:
        return None
    indices, depth, *values = rewrite.inputs
    arrays = [constant(rewrite.file, rewrite.tensor(value)) for value in values]
    if any(array is None or array[0] != round(array[0]) for array in arrays):
        return None
    values = [rewrite.constant(np.int32(array[0])) for array in arrays]
    whole = rewrite.between(rewrite.output, schema.TensorType.INT32)
    options = schema.CastOptionsT()
    options.inDataType = schema.TensorType.INT32
    options.outDataType = schema.TensorType.FLOAT32
    return [
        rewrite.step(
            "ONE_HOT",
            [indices, depth, *values],
            whole,
            rewrite.operation.builtinOptions,
        ),
        rewrite.step("CAST", [whole], rewrite.output, options),
    ]


_FORMS = {
    "CONV_2D": _own_bias,
    "DEPTHWISE_CONV_2D": _own_bias,
    "FULLY_CONNECTED": _own_bias,
    "TRANSPOSE_CONV": _own_bias,
    "ONE_HOT": _whole_one_hot,
    "PADV2": _zero_padding,
    "SQUARE": _product_with_itself,
    "SQUARED_DIFFERENCE": _product_of_difference,
    "SUM": _multiple_of_mean,
    **dict.fromkeys(_KEEP_CONSTANTS, _own_constants),
}
