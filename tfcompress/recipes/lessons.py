"""One set of data, labels and soft labels from which several models learn in turn."""

import keras
import tensorflow as tf

from tfcompress.distillation import KL, Distiller, Taught
from tfcompress.distillation.teachers import as_teacher
from tfcompress.recipes.recipe import default_loss

# Weight of the labels beside a teacher.
_ALPHA = 0.1
_BATCH_OF_TEACHER = 512


class Lessons:
    """Data with a loss, and with a teacher if there is one.

    Args:
        model: the model whose copies will be trained; it decides the loss.
        data: `(x, y)` or a dataset of batches.
        validation_data: the same, or None.
        batch_size: for arrays.
        loss: cross entropy for class labels by default.
        teacher: what `tfc.distillation.Distiller` takes, or None.
        temperature: of the soft labels.

    Attributes:
        steps_per_epoch: number of batches.
        samples: some inputs.

    Raises:
        ValueError: if the dataset has no known length, or the temperature is not
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
        self._loss = loss or default_loss(model)
        self._metrics = None if loss else ["accuracy"]
        self._teacher = None if teacher is None else as_teacher(teacher)
        self._soft_loss = KL(temperature)
        self._data = _batches(data, batch_size, self._teacher, shuffle=True)
        self._validation_data = None
        if validation_data is not None:
            self._validation_data = _batches(validation_data, batch_size, self._teacher)
        self.steps_per_epoch = int(self._data.cardinality())
        if self.steps_per_epoch < 1:
            raise ValueError(
                "The dataset has no known length, or is empty: give it one with "
                "dataset.apply(tf.data.experimental.assert_cardinality(batches))."
            )

    @property
    def samples(self):
        """A batch of inputs, as NumPy arrays."""
        inputs = next(iter(self._data.take(1)))[0]
        return tf.nest.map_structure(lambda tensor: tensor.numpy(), inputs)

    def fit(self, model, epochs, learning_rate, optimizer, callbacks, verbose):
        """Trains a model; the learning rate falls to zero along a cosine.

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
            learner = Distiller(model, self._teacher, self._soft_loss, alpha=_ALPHA)
        learner.compile(
            type(optimizer).from_config(config), self._loss, metrics=self._metrics
        )
        history = learner.fit(
            self._data,
            epochs=epochs,
            shuffle=False,
            callbacks=list(callbacks),
            validation_data=self._validation_data,
            verbose=verbose,
        )
        # A copy of a compiled model has to find its loss by name.
        model.compiled = False
        return history.history


def _batches(data, batch_size, teacher, shuffle=False):
    """The data as a dataset; arrays in a new order each epoch."""
    if isinstance(data, tf.data.Dataset):
        return data
    inputs, labels = data
    if teacher and teacher.can_be_asked:
        # What never changes is asked once.
        labels = Taught(labels, _answers(teacher, inputs))
    return _in_batches((inputs, labels), batch_size, shuffle)


def _answers(teacher, inputs):
    batches = _in_batches((inputs,), _BATCH_OF_TEACHER)
    teacher.build(next(iter(batches))[0])
    return tf.concat(list(batches.map(lambda x: teacher(x)[0])), axis=0)


def _in_batches(arrays, batch_size, shuffle=False):
    arrays = tf.nest.map_structure(tf.constant, arrays)
    count = len(tf.nest.flatten(arrays)[0])
    order = tf.data.Dataset.range(count)
    if shuffle:
        order = order.shuffle(count)
    # The autotuner can hold up the end of an epoch for as long as the epoch itself.
    options = tf.data.Options()
    options.autotune.enabled = False
    return (
        order.batch(batch_size)
        .map(lambda rows: tf.nest.map_structure(lambda a: tf.gather(a, rows), arrays))
        .prefetch(1)
        .with_options(options)
    )
