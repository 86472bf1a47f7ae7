"""From Keras models to `.tflite` files."""

from tfcompress.export.convert import PRECISIONS, export_tflite
from tfcompress.export.verify import ExportResult, VerificationError

__all__ = ["PRECISIONS", "ExportResult", "VerificationError", "export_tflite"]
