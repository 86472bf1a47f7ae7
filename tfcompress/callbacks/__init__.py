"""Keras callbacks."""

from tfcompress.callbacks.pruning import Pruning

__all__ = ["Pruning"]
