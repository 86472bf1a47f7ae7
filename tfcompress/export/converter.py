"""TensorFlow's converter, in this process or in a separate one that may crash."""

import itertools
import pathlib
import re
import tempfile

import numpy as np
import tensorflow as tf

from tfcompress.core.macs import fixed_batch_size
from tfcompress.core.quiet import native_notes_dropped, tensorflow_notes_dropped
from tfcompress.export.child import Child
from tfcompress.export.hazards import check_missing, check_operations, control_flow
from tfcompress.export.measured_converter import MeasuredConverter, check_known
from tfcompress.export.precisions import precision_of
from tfcompress.export.trace import inference_function
from tfcompress.runtime.trial import ended_by
from tfcompress.tflite.layers import UnknownLayers
from tfcompress.tflite.read import read, write


def converted(model, precision, values, samples, batch_size, float_layers=()):
    """A Keras model as converted by TensorFlow.

    If all sizes are known, the converter sometimes fails where it does not for an unknown
    batch size, for instance at a product along an axis of one element. It is then called
    with an unknown batch size, which is set to 1 afterwards.

    Args:
        model: a model that the converter takes, from `prepared`.
        precision: a `Precision`.
        values: as for `inference_function`.
        samples: `{input name: array}` to measure ranges on, or None.
        batch_size: batch size of the file, unless the model has a fixed one.
        float_layers: expressions for layers that stay float.

    Returns:
        `(content, output names in order)`.

    Raises:
        ValueError: if something cannot be converted; names it.
    """
    function, module = inference_function(model, values, batch_size)
    check_operations(function, model, precision)
    flow = control_flow(function, model) if precision.is_integer else []
    task = precision, samples, bool(flow), float_layers
    try:
        content = _convert(function, module, *task)
    except UnknownLayers:
        raise
    except Exception as error:
        check_missing(error, function, model)
        content = None
        if batch_size == 1 and fixed_batch_size(model) is None:
            content = _converted_open(model, values, task)
        if content is None:
            raise ValueError(
                f"The TFLite converter refuses model {model.name!r} as "
                f"{precision.name}: {_summary(error)}{_suspects(flow)}"
            ) from error
    return content, list(function.structured_outputs)


def _converted_open(model, values, task):
    """The bytes of a file converted for an unknown batch size; None if that fails."""
    try:
        content = _convert(*inference_function(model, values, None), *task)
    except Exception:
        return None
    file = read(content)
    for graph in file.subgraphs:
        for tensor in graph.tensors:
            # The shape itself has 1 where the signature has unknown sizes.
            tensor.shapeSignature = None
    return write(file)


def _convert(function, module, precision, samples, has_flow, float_layers):
    convert_it = convert_in_child if has_flow else convert_function
    with native_notes_dropped(with_warnings=True), tensorflow_notes_dropped():
        return convert_it(function, module, precision, samples, float_layers)


def _suspects(flow):
    """The likely reason, if there are loops or branches."""
    if not flow:
        return ""
    return (
        f". The reason may be the loop or branch in {', '.join(dict.fromkeys(flow))}: "
        "unroll it, or export without integer activations, for instance with "
        "precision='dynamic'"
    )


def _summary(error):
    """The first lines of a converter's error, which may be pages long."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:3])[:400] or type(error).__name__


def convert_function(
    function, module, precision, samples, float_layers=(), inside=True
):
    """The bytes of a `.tflite` file as TensorFlow's converter makes it.

    Args:
        function: the traced `tf.ConcreteFunction`.
        module: the object that holds its variables.
        precision: a `Precision`.
        samples: `{input name: array}` to measure ranges on, or None.
        float_layers: expressions for layers that stay float.
        inside: whether loops and branches are quantized too.

    Raises:
        MissingOperations: if the graph has operations that LiteRT lacks.
    """
    converter = MeasuredConverter.from_concrete_functions([function], module)
    # For our own operations; others are found later, to name the layers they come from.
    converter.allow_custom_ops = True
    precision.set_up(converter)
    if samples:
        # TensorFlow sorts them.
        names = sorted(function.structured_outputs)
        sources = dict(zip(names, map(_source, function.outputs), strict=True))
        converter.measure(samples, inside, float_layers, sources)
    content = _with_possible_ends(converter)
    check_known(content)
    return content


def _source(output):
    """The name of the operation that computes an output of a graph."""
    operation = output.op
    while operation.type == "Identity":
        operation = operation.inputs[0].op
    return operation.name


def _with_possible_ends(converter):
    """Inputs or outputs stay float if their operation has no 16-bit kernel."""
    kinds = converter.inference_input_type, converter.inference_output_type
    *tried, last = itertools.product(*((kind, tf.float32) for kind in kinds))
    for ends in tried:
        converter.inference_input_type, converter.inference_output_type = ends
        try:
            return converter.convert()
        except (RuntimeError, ValueError) as error:
            if not re.match("Unsupported (in|out)put type", str(error)):
                raise
    converter.inference_input_type, converter.inference_output_type = last
    return converter.convert()


def convert_in_child(function, module, precision, samples, float_layers=()):
    """`convert_function` in a separate process, which may crash.

    Loops and branches stay float if their integer form makes LiteRT end the process.

    Args:
        function: as in `convert_function`, like all arguments.
        module: as above.
        precision: as above.
        samples: as above.
        float_layers: as above.

    Raises:
        RuntimeError: if it fails; has the converter's message, or the signal that ended it.
    """
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        tf.saved_model.save(module, str(folder / "model"), signatures=function)
        np.savez(folder / "samples.npz", **(samples or {}))
        for inside in (True, False):
            try:
                _child.run(str(folder), precision.name, list(float_layers), inside)
            except ChildProcessError as error:
                raise RuntimeError(f"the converter ended with {error}") from None
            content = (folder / "model.tflite").read_bytes()
            if not (name := ended_by(content)):
                return content
        raise RuntimeError(f"LiteRT ends with {name} when it runs the file")


def convert_saved(folder, precision, float_layers, inside):
    """Converts what `convert_in_child` saved, in the process that it saved it for.

    Args:
        folder: with a SavedModel `model` and `samples.npz`; gets `model.tflite`.
        precision: the precision's name.
        float_layers: expressions for layers that stay float.
        inside: whether loops and branches are quantized too.
    """
    folder = pathlib.Path(folder)
    module = tf.saved_model.load(str(folder / "model"))
    (function,) = module.signatures.values()
    samples = dict(np.load(folder / "samples.npz"))
    content = convert_function(
        function, module, precision_of(precision), samples or None, float_layers, inside
    )
    (folder / "model.tflite").write_bytes(content)


_child = Child(convert_saved)
