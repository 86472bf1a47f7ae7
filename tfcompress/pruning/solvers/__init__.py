"""Pruning that corrects the remaining weights, layer by layer and without training."""

from tfcompress.core.nouns import Solver
from tfcompress.core.plugin import register
from tfcompress.pruning.solvers.magnitude import Magnitude
from tfcompress.pruning.solvers.matrix_pattern import MatrixPattern
from tfcompress.pruning.solvers.obs import OBS
from tfcompress.pruning.solvers.sparse_gpt import SparseGPT

get = Solver.get
register(Solver, OBS, Magnitude, SparseGPT)

__all__ = ["OBS", "Magnitude", "MatrixPattern", "Solver", "SparseGPT", "get"]
