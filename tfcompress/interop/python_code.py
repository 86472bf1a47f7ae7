"""Finds code that a Keras 2 model would run when it is loaded."""

import json

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
)

from tfcompress.interop.keras2 import is_known_operator

# Modules of functions and classes that Keras looks up by name.
_PACKAGES = ("builtins", "keras", "tf_keras", "tensorflow_model_optimization")
# Layers that stand for functions, methods and operations of TensorFlow.
_CALLS = (
    "ClassMethod",
    "InstanceMethod",
    "InstanceProperty",
    "SlicingOpLambda",
    "TFOpLambda",
    "TensorFlowOpLayer",
)
_METADATA = """
name: "tfcompress/keras_metadata.proto" package: "tfcompress" syntax: "proto3"
message_type {
  name: "Node"
  field { name: "path" number: 3 type: TYPE_STRING label: LABEL_OPTIONAL }
  field { name: "metadata" number: 5 type: TYPE_STRING label: LABEL_OPTIONAL }
}
message_type {
  name: "Metadata"
  field {
    name: "nodes" number: 1 type: TYPE_MESSAGE type_name: ".tfcompress.Node"
    label: LABEL_REPEATED
  }
}
"""


def check_no_code(config, path):
    """Raises if a Keras 2 configuration holds code or names code outside of Keras.

    Lambda layers hold Python code, or call any function by name; so do layers of TensorFlow
    functions, of which those with an equivalent in Keras 3 are harmless.

    Args:
        config: configuration of a model, as parsed from JSON.
        path: path of its file, for the message.

    Raises:
        ValueError: if there is such code; names it.
    """
    for found in _code(config):
        raise ValueError(
            f"Cannot load {str(path)!r}: {found}, which would run when it is loaded. "
            "Expected a model without custom classes and without such layers. If you "
            "trust its author, pass safe_mode=False (--safe-mode=false on the command "
            "line)."
        )


def saved_model_config(path):
    """The model configuration in the `keras_metadata.pb` of a SavedModel.

    The graph in the folder is not read, since even its initializers can do anything.

    Args:
        path: path of the folder.

    Returns:
        `{"class_name": ..., "config": ...}`.

    Raises:
        ValueError: if there is no Sequential or functional model.
    """
    content = (path / "keras_metadata.pb").read_bytes()
    try:
        nodes = _metadata_class().FromString(content).nodes
        root = next(json.loads(node.metadata) for node in nodes if node.path == "root")
        return {"class_name": root["class_name"], "config": root["config"]}
    except (KeyError, RecursionError, StopIteration, TypeError, ValueError) as error:
        raise ValueError(
            f"Cannot load {str(path)!r}: its keras_metadata.pb describes no Sequential "
            f"or functional model ({type(error).__name__}: {error}). Save the model as "
            ".keras or .h5 where it is built."
        ) from error


def _metadata_class():
    file = text_format.Parse(_METADATA, descriptor_pb2.FileDescriptorProto())
    found = descriptor_pool.DescriptorPool().AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(found.message_types_by_name["Metadata"])


def _code(config):
    """Descriptions of all places in a configuration that hold or name code."""
    if isinstance(config, list):
        for item in config:
            yield from _code(item)
    if not isinstance(config, dict):
        return
    yield from _own_code(config)
    for value in config.values():
        yield from _code(value)


def _own_code(entry):
    class_name = str(entry.get("class_name", "")).rsplit(">")[-1]
    config = entry.get("config")
    options = config if isinstance(config, dict) else {}
    name = options.get("name")
    if class_name == "Lambda":
        yield f"its Lambda layer {name!r} holds Python code"
    if class_name == "__lambda__" or "lambda" in _types_of_functions(entry):
        yield "it holds the bytecode of a Python function"
    if class_name in _CALLS and not is_known_operator(options.get("function")):
        yield f"its layer {name!r} ({class_name}) calls any function of TensorFlow"
    module = entry.get("module")
    if class_name and module and str(module).split(".")[0] not in _PACKAGES:
        yield f"it names {class_name!r} of the Python module {module!r}"


def _types_of_functions(entry):
    return [value for key, value in entry.items() if str(key).endswith("_type")]
