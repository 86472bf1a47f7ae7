"""Keras callbacks."""

from tfcompress.callbacks.bit_annealing import BitAnnealing
from tfcompress.callbacks.channel_pruning import ChannelPruning
from tfcompress.callbacks.pruning import Pruning
from tfcompress.callbacks.tensorboard_logger import TensorBoardLogger

__all__ = ["BitAnnealing", "ChannelPruning", "Pruning", "TensorBoardLogger"]
