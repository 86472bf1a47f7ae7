"""Running models on this host."""

from tfcompress.runtime.delegate import delegate_path
from tfcompress.runtime.interpreter import Interpreter

__all__ = ["Interpreter", "delegate_path"]
