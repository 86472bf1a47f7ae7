"""Which files need the native delegate, and how LiteRT gets to run them."""

from tfcompress import native
from tfcompress.coding.wire import DECODE
from tfcompress.tflite.decode import decode_tflite

_OPERATIONS = b"tfc.B"


def delegate_path():
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
    """What LiteRT can load of a model.

    Args:
        content: bytes of a `.tflite` file.

    Returns:
        The bytes, decoded where the delegate cannot do that, and the path of the
        delegate that they need, or None.

    Raises:
        NativeError: if binary operations need the native core, which was not built.
        ValueError: if encoded weights are damaged.
    """
    is_binary = _OPERATIONS in content
    if not is_binary and DECODE.encode() not in content:
        return content, None
    if is_binary:
        native.require(
            "Running a file with binary operations (tfc.BConv2D, tfc.BDense)"
        )
    path = native.library_path()
    return (content, str(path)) if path else decoded(content)


def decoded(content):
    """`loadable` without leaving the decoding to the delegate."""
    content = decode_tflite(content)
    return content, str(native.library_path()) if _OPERATIONS in content else None
