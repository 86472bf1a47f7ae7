"""The native core: a shared library in C, built with the package."""

import ctypes
import functools
import pathlib

import numpy as np

_FOLDER = pathlib.Path(__file__).parent
_STATUS = {1: "corrupt data", 2: "an unknown encoding", 3: "not enough memory"}


class NativeError(RuntimeError):
    """Raised if the native core is needed but missing."""


@functools.cache
def library_path():
    """The path of the shared library, None if it was not built."""
    found = sorted(_FOLDER.glob("libtfcompress.*"))
    return found[0] if found else None


@functools.cache
def library():
    """The loaded library, None if it was not built."""
    path = library_path()
    return ctypes.CDLL(str(path)) if path else None


def require(purpose):
    """The loaded library.

    Raises:
        NativeError: if it was not built; the message begins with `purpose`.
    """
    found = library()
    if found is None:
        raise NativeError(
            f"{purpose} needs the native core, which was not built when tfcompress was "
            "installed. Install a C compiler (Debian: apt install gcc; macOS: "
            "xcode-select --install) and install tfcompress again: "
            "pip install --force-reinstall --no-deps tfcompress."
        )
    return found


def decode(name, stream, count, reference):
    """Symbols, `uint8` array `(count,)`, that a decoder of the core reads from bytes.

    Args:
        name: name of the decoder.
        stream: bytes.
        count: number of symbols.
        reference: a function that decodes `(stream, count)` if the core is missing.

    Raises:
        ValueError: if the decoder rejects the stream.
    """
    if library() is None:
        return reference(stream, count)
    symbols = np.empty(count, np.uint8)
    stream = as_bytes(stream)
    status = getattr(library(), name)(*arguments(stream, stream.size, symbols, count))
    check(status, f"Cannot decode {count} symbols in {stream.size} bytes")
    return symbols


def encode(function, *values, capacity):
    """A buffer of `capacity` bytes and how many of them an encoder of the core wrote."""
    buffer = np.empty(capacity, np.uint8)
    function.restype = ctypes.c_size_t
    return buffer, function(*arguments(*values, buffer, capacity))


def arguments(*values):
    """Arrays and sizes in the form that functions of the core expect."""
    return [
        pointer(v) if isinstance(v, np.ndarray) else ctypes.c_size_t(v) for v in values
    ]


def check(status, what):
    """Turns a status of the core into an error.

    Raises:
        MemoryError: if there was not enough memory.
        ValueError: if the core rejected the data.
    """
    if status == 0:
        return
    error = MemoryError if status == 3 else ValueError
    raise error(f"{what}: {_STATUS.get(status, status)}.")


def as_bytes(content):
    """Bytes as a NumPy array."""
    return np.frombuffer(content, np.uint8)


def pointer(array):
    """The address of a contiguous array."""
    return array.ctypes.data_as(ctypes.c_void_p)
