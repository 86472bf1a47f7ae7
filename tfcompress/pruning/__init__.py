"""Removes weights, neurons and channels."""

from tfcompress.pruning import tickets

__all__ = ["tickets"]
