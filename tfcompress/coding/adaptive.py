"""What codecs have in common that learn probabilities from the symbols before."""

import numpy as np

from tfcompress import native
from tfcompress.core.kinds import Integer
from tfcompress.core.nouns import Codec

# A decoder keeps counts for each column.
MAX_COLUMNS = 1 << 24


class Adaptive(Codec):
    """A codec with learned probabilities, implemented in the native core.

    Subclasses have a `decode_reference`, and `native_name`, the name of their functions
    there: `tfc_NAME_encode` and `tfc_NAME_decode`. They describe the arguments.
    """

    native_name = None

    def __init__(self, zero: Integer(0, 255) = 0, period: Integer(0, 65535) = 0):
        self.zero = zero
        self.period = period
        if period == 1:
            raise ValueError(
                f"{type(self).__name__}(period=1): got 1, expected 0 (none) or 2 to 65535."
            )

    def encode(self, symbols):
        symbols = np.ascontiguousarray(symbols, np.uint8)
        if not symbols.size:
            return b""
        row_length = symbols.size // (len(symbols) if symbols.ndim > 1 else 1)
        row_length = min(row_length, MAX_COLUMNS)
        core = native.require("Writing adaptive streams")
        buffer, size = native.encode(
            getattr(core, f"tfc_{self.native_name}_encode"),
            symbols,
            symbols.size,
            max(int(symbols.max()), self.zero) + 1,
            self.zero,
            row_length,
            self.period if self.period < row_length else 0,
            capacity=symbols.size * 2 + 64,
        )
        return buffer[:size].tobytes()

    def decode(self, stream, count):
        name = f"tfc_{self.native_name}_decode"
        return native.decode(name, stream, count, self.decode_reference)
