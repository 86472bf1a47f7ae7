"""Running models on this host."""

from tfcompress.runtime.cascade import Cascade
from tfcompress.runtime.delegate import delegate_path
from tfcompress.runtime.interpreter import Interpreter

__all__ = ["Cascade", "Interpreter", "delegate_path"]
