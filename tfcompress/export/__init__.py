"""From Keras models to `.tflite` files."""

from tfcompress.export.convert import PRECISIONS, export_tflite
from tfcompress.export.decode import decode_tflite
from tfcompress.export.encode import CODECS, EncodedConstant
from tfcompress.export.sparsity import SPARSE, KernelSparsity
from tfcompress.export.verify import ExportResult, VerificationError

__all__ = [
    "CODECS",
    "PRECISIONS",
    "SPARSE",
    "EncodedConstant",
    "ExportResult",
    "KernelSparsity",
    "VerificationError",
    "decode_tflite",
    "export_tflite",
]
