"""A `.tflite` file that teaches."""

import keras
import numpy as np
import tensorflow as tf

from tfcompress.core.kinds import FilePath, OneOf
from tfcompress.distillation.teachers.file import (
    FileTeacher,
    named_inputs,
    ordered_outputs,
)
from tfcompress.runtime.interpreter import Interpreter


@keras.saving.register_keras_serializable("tfcompress")
class TFLiteTeacher(FileTeacher):
    """A `.tflite` file, run by `tfc.Interpreter`; integer files also take real numbers.

    Files are usually made for one sample, with fixed shapes inside, so a batch runs sample
    by sample. This hardly slows convolutions down; large dense layers, which read all
    weights for each sample, take many times as long as in Keras. For more than one epoch,
    `tfc.distillation.precompute` runs the file only once. XLA cannot compile it.

    Several inputs are passed by name. Outputs called `output_0`, `output_1`, ... are
    matched by position, others by name.

    Args:
        path: path of the file.
        kind: how to read outputs from 0 to 1, as "sigmoid" or "logits"; by default, as
            the student's.

    Raises:
        FileNotFoundError: if the path does not exist.
        ValueError: if the file is not a TFLite model or an operation is not supported.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> result = tfc.export_tflite(model, tmp_path / "model.tflite")
        >>> teacher = TFLiteTeacher(tmp_path / "model.tflite")
        >>> teacher.build(np.ones((2, 4)))
        >>> np.allclose(teacher(np.ones((2, 4)))[0], model(np.ones((2, 4))), atol=1e-5)
        True
    """

    supports_jit = False

    def __init__(
        self,
        path: FilePath("a .tflite file"),
        kind: OneOf("sigmoid", "logits", None) = None,
    ):
        super().__init__(path, kind)
        self._interpreter = Interpreter(self.path)

    def run(self, inputs):
        """The file's outputs."""
        taken = self._interpreter.input_details
        returned = self._interpreter.output_details
        named = named_inputs(inputs, list(taken))
        arguments = [_cast(named[name], detail) for name, detail in taken.items()]
        answers = tf.numpy_function(
            self._ask, arguments, [tf.float32] * len(returned), stateful=False
        )
        answers = tf.nest.flatten(answers)  # In eager mode, one comes without its list.
        for answer, detail in zip(answers, returned.values(), strict=True):
            answer.set_shape((arguments[0].shape[0], *detail["shape"][1:]))
        return ordered_outputs(dict(zip(returned, answers, strict=True)))

    def _ask(self, *arrays):
        names = self._interpreter.input_details
        answer = self._interpreter.run(dict(zip(names, arrays, strict=True)))
        if not isinstance(answer, dict):
            return [answer.astype(np.float32)]
        order = self._interpreter.output_details
        return [answer[name].astype(np.float32) for name in order]


def _cast(tensor, detail):
    """The tensor in the file's dtype, or real if integers stand for real numbers."""
    scale, _ = detail["quantization"]
    return tf.cast(tensor, tf.float32 if scale else tf.as_dtype(detail["dtype"]))
