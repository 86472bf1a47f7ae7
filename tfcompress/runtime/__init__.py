"""Running and measuring models on this host."""

from tfcompress.runtime.benchmark import Benchmark, benchmark
from tfcompress.runtime.delegate import delegate_path
from tfcompress.runtime.interpreter import Interpreter

__all__ = ["Benchmark", "Interpreter", "benchmark", "delegate_path"]
