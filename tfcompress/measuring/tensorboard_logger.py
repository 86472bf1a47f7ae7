"""Logs compressed weights to TensorBoard."""

import importlib.util

import keras
import numpy as np
import tensorflow as tf

from tfcompress.core.compressed import treatments
from tfcompress.core.kinds import FilePath, Integer, checked
from tfcompress.core.optimizers import steps_done


class TensorBoardLogger(keras.callbacks.Callback):
    """Writes sparsity, distinct values and a histogram of each compressed weight.

    Tags are `sparsity/<weight>`, `unique_values/<weight>`, `weights/<weight>` and
    `sparsity/all`, for the effective weights (after their transforms), written after each
    epoch at the optimizer's step.

    Args:
        log_dir: folder of the event files; a subfolder `compression` is created in it.
        every: number of epochs between records.

    Raises:
        ImportError: if TensorBoard is not installed, which TensorFlow needs for writing.
        ValueError: if the model has no compressed weight.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> logger = tfc.callbacks.TensorBoardLogger(tmp_path)
        >>> logger.set_model(tfc.compress(model, {".*": "mask"}))
    """

    @checked
    def __init__(self, log_dir: FilePath(), every: Integer(1, meaning="epochs") = 1):
        super().__init__()
        if importlib.util.find_spec("tensorboard") is None:
            raise ImportError(
                "TensorBoardLogger needs TensorBoard: "
                "pip install 'tfcompress[tensorboard]'."
            )
        self.log_dir = log_dir
        self.every = every

    def set_model(self, model):
        """Finds the compressed weights."""
        super().set_model(model)
        self._treatments = treatments(model)
        if not self._treatments:
            raise ValueError(
                f"TensorBoardLogger found no compressed weight in model {model.name!r}; "
                "use tfc.compress first."
            )

    def on_train_begin(self, logs=None):
        """Opens the event file."""
        self._writer = tf.summary.create_file_writer(f"{self.log_dir}/compression")

    def on_epoch_end(self, epoch, logs=None):
        """Records all weights."""
        if (epoch + 1) % self.every:
            return
        trained = [treatment.variable for _, treatment in self._treatments]
        step = steps_done(self.model, trained)
        zeros = total = 0
        with self._writer.as_default(step=step):
            for name, treatment in self._treatments:
                weight = treatment.bake()
                zeros += weight.size - np.count_nonzero(weight)
                total += weight.size
                tf.summary.scalar(f"sparsity/{name}", np.mean(weight == 0))
                tf.summary.scalar(f"unique_values/{name}", np.unique(weight).size)
                tf.summary.histogram(f"weights/{name}", weight)
            tf.summary.scalar("sparsity/all", zeros / total)
        self._writer.flush()

    def on_train_end(self, logs=None):
        """Closes the event file."""
        self._writer.close()
