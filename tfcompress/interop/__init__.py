"""Models from elsewhere: what the Keras 2 toolkit leaves behind, as Keras 3."""

from tfcompress.interop import tfmot

__all__ = ["tfmot"]
