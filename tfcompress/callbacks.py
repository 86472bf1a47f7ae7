"""Keras callbacks."""

from tfcompress.measuring.tensorboard_logger import TensorBoardLogger
from tfcompress.pruning.callback import Pruning
from tfcompress.pruning.channels.callback import ChannelPruning
from tfcompress.quantization.bit_annealing import BitAnnealing
from tfcompress.transforms.annealing import Annealing
from tfcompress.transforms.staging import Staging

__all__ = [
    "Annealing",
    "BitAnnealing",
    "ChannelPruning",
    "Pruning",
    "Staging",
    "TensorBoardLogger",
]
