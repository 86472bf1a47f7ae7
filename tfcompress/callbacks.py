"""Keras callbacks."""

from tfcompress.measuring.tensorboard_logger import TensorBoardLogger
from tfcompress.pruning.callback import Pruning
from tfcompress.pruning.channels.callback import ChannelPruning
from tfcompress.pruning.lifelong import LifelongImportance
from tfcompress.pruning.sparse_training.ac_dc import ACDC
from tfcompress.pruning.sparse_training.dsr import DSR
from tfcompress.pruning.sparse_training.rigl import RigL
from tfcompress.pruning.sparse_training.set import SET
from tfcompress.pruning.sparse_training.snfs import SNFS
from tfcompress.pruning.sparse_training.srigl import SRigL
from tfcompress.quantization.bit_annealing import BitAnnealing
from tfcompress.transforms.staging import Staging

__all__ = [
    "ACDC",
    "DSR",
    "SET",
    "SNFS",
    "BitAnnealing",
    "ChannelPruning",
    "LifelongImportance",
    "Pruning",
    "RigL",
    "SRigL",
    "Staging",
    "TensorBoardLogger",
]
