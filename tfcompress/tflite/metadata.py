"""Metadata of a `.tflite` model: JSON values with names."""

import json

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfcompress.tflite.read import naming_contradictions, read


def set_metadata(file, name, value):
    """Stores a value that JSON can hold in a model, replacing an earlier one.

    Args:
        file: the object form of a model, edited in place.
        name: name of the entry.
        value: dictionaries, lists, numbers and text.
    """
    content = json.dumps(value, separators=(",", ":")).encode()
    entries = [e for e in file.metadata or () if e.name != name.encode()]
    entry = schema.MetadataT()
    entry.name, entry.buffer = name.encode(), len(file.buffers)
    file.buffers.append(schema.BufferT())
    file.buffers[-1].data = np.frombuffer(content, np.uint8)
    file.metadata = [*entries, entry]


def metadata(content, name):
    """The value of an entry, or None if the model has none with this name.

    Args:
        content: bytes of a `.tflite` model.
        name: name of the entry.

    Raises:
        ValueError: if the model is damaged.
    """
    file = read(content)
    with naming_contradictions():
        for entry in file.metadata or ():
            if entry.name == name.encode():
                return _parsed(bytes(file.buffers[entry.buffer].data), name)
    return None


def _parsed(content, name):
    try:
        return json.loads(content)
    except ValueError as error:
        raise ValueError(
            f"The metadata {name!r} of the model is not JSON ({error}). Copy or export "
            "the file again."
        ) from error
