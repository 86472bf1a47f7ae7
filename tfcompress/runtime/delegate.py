"""Which files need the native delegate, and how LiteRT runs them."""

import pathlib

from tfcompress import native
from tfcompress.coding.wire import DECODE
from tfcompress.tflite.claims import check_tensors
from tfcompress.tflite.decode import check_claims, decode_tflite
from tfcompress.tflite.operations import is_own
from tfcompress.tflite.read import custom_operations, read


def delegate_path() -> pathlib.Path:
    """The path of the external delegate that decodes weights and runs binary operations.

    For programs that load `.tflite` files without `tfc.Interpreter`.

    Raises:
        NativeError: if the native core was not built.

    Example:
        >>> from ai_edge_litert.interpreter import Interpreter, load_delegate
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> path = tfc.export_tflite(model, tmp_path / "model.tflite").path
        >>> delegate = load_delegate(str(tfc.runtime.delegate_path()))
        >>> Interpreter(str(path), experimental_delegates=[delegate]).allocate_tensors()
    """
    native.require("The delegate")
    return native.library_path()


def loadable(content):
    """A form of a model that LiteRT can load.

    Args:
        content: bytes of a `.tflite` file.

    Returns:
        The bytes, decoded if the delegate cannot do that, and the path of the delegate
        that they need, or None.

    Raises:
        NativeError: if binary operations need the native core, which was not built.
        ValueError: if the file or encoded weights are damaged.
    """
    check_tensors(content)
    is_binary = has_binary_operations(content)
    if not is_binary and not has_encoded_weights(content):
        return content, None
    if is_binary:
        native.require(
            "Running a file with binary operations (tfc.BConv2D, tfc.BDense)"
        )
    path = native.library_path()
    if not path:
        return decoded(content)
    if has_encoded_weights(content):
        check_claims(read(content), len(content))
    return content, str(path)


def decoded(content):
    """Like `loadable`, but always decoded here instead of by the delegate."""
    content = decode_tflite(content)
    path = native.library_path() if has_binary_operations(content) else None
    return content, str(path) if path else None


def has_binary_operations(content):
    """Whether a file has operations that only the delegate runs."""
    return any(map(is_own, custom_operations(content)))


def has_encoded_weights(content):
    """Whether a file has weights that are decoded when it is loaded."""
    return DECODE in custom_operations(content)
