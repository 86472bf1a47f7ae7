"""From Keras models to `.tflite` files."""

from tfcompress.export.convert import export_tflite
from tfcompress.export.generation import export_generation
from tfcompress.export.precisions import PRECISIONS
from tfcompress.export.verify import ExportResult, VerificationError
from tfcompress.tflite.encode import CODECS, EncodedConstant
from tfcompress.tflite.slim import NAMES
from tfcompress.tflite.sparsity import SPARSE, KernelSparsity

__all__ = [
    "CODECS",
    "NAMES",
    "PRECISIONS",
    "SPARSE",
    "EncodedConstant",
    "ExportResult",
    "KernelSparsity",
    "VerificationError",
    "export_generation",
    "export_tflite",
]
