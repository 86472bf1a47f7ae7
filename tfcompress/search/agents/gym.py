"""Gymnasium, if it is installed."""

try:
    import gymnasium
except ImportError as error:
    raise ImportError(
        "Engines that learn from rewards need Gymnasium: pip install 'tfcompress[search]'."
    ) from error

__all__ = ["gymnasium"]
