"""Keras callbacks."""

from tfcompress.measuring.tensorboard_logger import TensorBoardLogger
from tfcompress.pruning.callback import Pruning
from tfcompress.pruning.channels.callback import ChannelPruning
from tfcompress.pruning.lifelong import LifelongImportance
from tfcompress.quantization.bit_annealing import BitAnnealing
from tfcompress.transforms.penalty_warmup import PenaltyWarmup
from tfcompress.transforms.staging import Staging

__all__ = [
    "BitAnnealing",
    "ChannelPruning",
    "LifelongImportance",
    "PenaltyWarmup",
    "Pruning",
    "Staging",
    "TensorBoardLogger",
]
