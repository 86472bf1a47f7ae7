"""Keras callbacks."""

from tfcompress.callbacks.pruning import Pruning
from tfcompress.callbacks.tensorboard_logger import TensorBoardLogger

__all__ = ["Pruning", "TensorBoardLogger"]
