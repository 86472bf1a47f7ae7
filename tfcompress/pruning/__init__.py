"""Weights, neurons and channels that can go."""

from tfcompress.pruning import tickets

__all__ = ["tickets"]
