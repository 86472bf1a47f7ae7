"""Data with labels and soft labels, on which several models are trained in turn."""

import keras
import tensorflow as tf

from tfcompress.distillation import Distiller, Taught
from tfcompress.distillation.teachers import as_teacher
from tfcompress.recipes.objective import objective

# Weight of the labels if there is a teacher.
_ALPHA = 0.1
_BATCH_OF_TEACHER = 512


class Lessons:
    """Data with a loss, and with a teacher if there is one.

    Args:
        model: the model whose copies will be trained; it determines the loss.
        data: `(x, y)` or a dataset of batches.
        validation_data: the same, or None.
        batch_size: batch size for arrays.
        loss: by default, the one that the model is compiled with, or one that depends on
            its outputs and the data, see `objective`.
        teacher: anything that `tfc.distillation.Distiller` accepts, or None.
        temperature: temperature of the soft labels.

    Attributes:
        steps_per_epoch: number of batches.
        samples: a batch of inputs.

    Raises:
        ValueError: if the length of the dataset is not known, or the temperature is not
            positive.
    """

    def __init__(
        self,
        model,
        data,
        validation_data=None,
        batch_size=128,
        loss=None,
        teacher=None,
        temperature=4.0,
    ):
        self._aim = objective(model, *_some(data), loss)
        self._teacher = None if teacher is None else as_teacher(teacher)
        self._soft_losses = self._aim.soft_losses(temperature)
        self._data = self._batches(data, batch_size, shuffle=True)
        self._validation_data = None
        if validation_data is not None:
            self._validation_data = self._batches(validation_data, batch_size)
        self.steps_per_epoch = int(self._data.cardinality())
        if self.steps_per_epoch < 1:
            raise ValueError(
                "The dataset has no known length, or is empty: set its length with "
                "dataset.apply(tf.data.experimental.assert_cardinality(batches))."
            )

    @property
    def samples(self):
        """A batch of inputs, as NumPy arrays."""
        inputs = next(iter(self._data.take(1)))[0]
        return tf.nest.map_structure(lambda tensor: tensor.numpy(), inputs)

    def fit(self, model, epochs, learning_rate, optimizer, callbacks, verbose):
        """Trains a model; the learning rate decays to zero along a cosine.

        Returns:
            `{metric: values per epoch}`.
        """
        if not epochs:
            return {}
        optimizer = keras.optimizers.get(optimizer)
        config = optimizer.get_config()
        config["learning_rate"] = keras.optimizers.schedules.CosineDecay(
            learning_rate, epochs * self.steps_per_epoch
        )
        learner = model
        if self._teacher:
            learner = Distiller(model, self._teacher, self._soft_losses, alpha=_ALPHA)
        self._aim.compile(learner, type(optimizer).from_config(config))
        history = learner.fit(
            self._data,
            epochs=epochs,
            shuffle=False,
            callbacks=list(callbacks),
            validation_data=self._validation_data,
            verbose=verbose,
        )
        # A copy of a compiled model must find its loss by name.
        model.compiled = False
        return history.history

    def _batches(self, data, batch_size, shuffle=False):
        """The data as a dataset; arrays are shuffled in each epoch."""
        if isinstance(data, tf.data.Dataset):
            return data
        inputs, labels = data
        labels = self._aim.ordered(labels)
        if self._teacher and self._teacher.can_be_asked:
            # Answers that never change are computed once.
            labels = Taught(labels, _answers(self._teacher, inputs))
        return _in_batches((inputs, labels), batch_size, shuffle)


def _some(data):
    """Some inputs and their targets."""
    if isinstance(data, tf.data.Dataset):
        data = next(iter(data.take(1)))
    return keras.utils.unpack_x_y_sample_weight(data)[:2]


def _answers(teacher, inputs):
    batches = _in_batches((inputs,), _BATCH_OF_TEACHER)
    teacher.build(next(iter(batches))[0])
    answers = list(batches.map(lambda x: tuple(teacher(x))))
    return [tf.concat(parts, axis=0) for parts in zip(*answers, strict=True)]


def _in_batches(arrays, batch_size, shuffle=False):
    arrays = tf.nest.map_structure(tf.constant, _without_lists(arrays))
    count = len(tf.nest.flatten(arrays)[0])
    order = tf.data.Dataset.range(count)
    if shuffle:
        order = order.shuffle(count)
    # The autotuner can delay the end of an epoch for as long as the epoch itself.
    options = tf.data.Options()
    options.autotune.enabled = False
    return (
        order.batch(batch_size)
        .map(lambda rows: tf.nest.map_structure(lambda a: tf.gather(a, rows), arrays))
        .prefetch(1)
        .with_options(options)
    )


def _without_lists(structure):
    """The structure with tuples for lists, which datasets would convert to tensors."""
    if isinstance(structure, Taught):
        return Taught(*map(_without_lists, structure))
    if isinstance(structure, (list, tuple)):
        return tuple(map(_without_lists, structure))
    if isinstance(structure, dict):
        return {key: _without_lists(value) for key, value in structure.items()}
    return structure
