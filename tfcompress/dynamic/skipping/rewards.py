"""The loss of each sample, by which decisions are rewarded."""

import keras
from keras import ops

from tfcompress.core.keras_internals import compile_arguments


def check_one_loss(model):
    """Raises unless a model was compiled with one loss."""
    loss = compile_arguments(model)["loss"] if model.compiled else None
    if loss is None or isinstance(loss, (dict, list, tuple)):
        raise ValueError(
            f"{type(model).__name__} rewards decisions by one loss: got "
            f"compile(loss={loss!r}). Pass one loss, for a model with one output."
        )


def loss_of_each(model, y, y_pred):
    """The compiled loss of each sample, `(batch,)`, without a gradient."""
    loss = keras.losses.get(compile_arguments(model)["loss"])
    values = (loss.call if isinstance(loss, keras.Loss) else loss)(y, y_pred)
    values = ops.cast(ops.stop_gradient(values), "float32")
    return ops.mean(ops.reshape(values, (ops.shape(values)[0], -1)), axis=-1)
