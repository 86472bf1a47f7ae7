"""From Keras models to `.tflite` files."""

from tfcompress.export.convert import PRECISIONS, export_tflite
from tfcompress.export.sparsity import SPARSE, KernelSparsity
from tfcompress.export.verify import ExportResult, VerificationError

__all__ = [
    "PRECISIONS",
    "SPARSE",
    "ExportResult",
    "KernelSparsity",
    "VerificationError",
    "export_tflite",
]
