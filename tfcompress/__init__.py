"""Network compression for Keras 3: smaller and faster models that can be believed."""

from tfcompress import (
    callbacks,
    criteria,
    layers,
    patterns,
    rewrites,
    schedules,
    scopes,
    transforms,
)
from tfcompress.core.compress import compress, strip
from tfcompress.core.report import report
from tfcompress.rewrites import quantize_activations
from tfcompress.export import export_tflite
from tfcompress.runtime import Interpreter
