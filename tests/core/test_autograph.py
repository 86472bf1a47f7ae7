"""AutoGraph reads what is traced; where it cannot, users get a warning."""

import pytest
import tensorflow as tf

from tfcompress.core.compressed import CompressedLayer
from tfcompress.core.substituted import substituted
from tfcompress.distillation import Distiller


@pytest.mark.parametrize(
    "function", [substituted, CompressedLayer.call, Distiller.compute_loss]
)
def test_autograph_can_read_it(function):
    assert tf.autograph.to_code(function)
