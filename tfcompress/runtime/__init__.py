"""Running and measuring models on this host."""

from tfcompress.runtime.interpreter import Interpreter

__all__ = ["Interpreter"]
