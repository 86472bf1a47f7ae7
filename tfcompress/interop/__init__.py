"""Loads models from elsewhere: Keras 2 and its optimization toolkit, as Keras 3."""

from tfcompress.interop import tfmot

__all__ = ["tfmot"]
