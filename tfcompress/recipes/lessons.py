"""One set of data, labels and soft labels from which several models learn in turn."""

import keras
import tensorflow as tf

from tfcompress.distillation.outputs import ends_in_softmax
from tfcompress.recipe import default_loss

_SOFT_WEIGHT = 0.9


class Lessons:
    """Data with a loss, and with a teacher's outputs if there is one.

    Args:
        model: the model whose copies will be trained; it decides the loss.
        data: `(x, y)` or a dataset of batches.
        validation_data: the same, or None.
        batch_size: for arrays.
        loss: cross entropy for class labels by default.
        teacher: a classifier, or None.
        temperature: of the teacher's outputs.

    Attributes:
        steps_per_epoch: number of batches.
        samples: some inputs.

    Raises:
        ValueError: if the dataset has no known length, or both a loss and a teacher
            are given.
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
        self._loss, self._metrics = loss, None
        if loss is None:
            self._loss, self._metrics = default_loss(model), ["accuracy"]
        if teacher is not None:
            if loss is not None:
                raise ValueError(
                    "A teacher brings its own loss: pass a teacher or a loss, not both."
                )
            self._loss = SoftLabels(temperature, from_logits=not ends_in_softmax(model))
            self._metrics = [keras.metrics.MeanMetricWrapper(_is_right, "accuracy")]
        self._data = _batches(data, batch_size, teacher, shuffle=True)
        self._validation_data = None
        if validation_data is not None:
            self._validation_data = _batches(validation_data, batch_size, teacher)
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
        model.compile(
            type(optimizer).from_config(config), self._loss, metrics=self._metrics
        )
        history = model.fit(
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


@keras.saving.register_keras_serializable("tfcompress")
class SoftLabels(keras.losses.Loss):
    """A teacher's outputs beside the labels.

        0.1 CE(y, softmax(z)) + 0.9 T² CE(softmax(t / T), softmax(z / T))

    Labels are `(batch, 2 classes)`: `y` one-hot, then the teacher's logits `t`.

    Args:
        temperature: T, positive.
        from_logits: whether the model returns `z`, or else `softmax(z)`.

    Raises:
        ValueError: if the temperature is not positive.

    Source: Hinton et al., "Distilling the Knowledge in a Neural Network" (2015),
    section 2.

    >>> loss = SoftLabels(temperature=1.0)
    >>> round(float(loss(np.array([[1.0, 0, 0, 0]]), np.array([[0.0, 0]]))), 4)
    0.6931
    """

    def __init__(self, temperature=4.0, from_logits=True, name="soft_labels", **kwargs):
        super().__init__(name=name, **kwargs)
        if not temperature > 0:
            raise ValueError(
                f"temperature={temperature!r}: expected a positive number."
            )
        self.temperature = temperature
        self.from_logits = from_logits

    def call(self, y_true, y_pred):
        """The loss of each sample."""
        labels, taught = tf.split(y_true, 2, axis=-1)
        logits = y_pred if self.from_logits else _log(y_pred)
        entropy = tf.nn.softmax_cross_entropy_with_logits
        t = self.temperature
        soft = entropy(tf.nn.softmax(taught / t), logits / t)
        return (1 - _SOFT_WEIGHT) * entropy(labels, logits) + _SOFT_WEIGHT * t**2 * soft

    def get_config(self):
        """The constructor's arguments."""
        own = {"temperature": self.temperature, "from_logits": self.from_logits}
        return {**super().get_config(), **own}


def _log(probabilities):
    return tf.math.log(tf.maximum(probabilities, keras.config.epsilon()))


def _is_right(y_true, y_pred):
    labels = tf.split(y_true, 2, axis=-1)[0]
    return tf.cast(tf.argmax(labels, -1) == tf.argmax(y_pred, -1), tf.float32)


def _batches(data, batch_size, teacher, shuffle=False):
    """The data as a dataset; arrays in a new order each epoch."""
    if isinstance(data, tf.data.Dataset):
        return data if teacher is None else _taught(data, teacher)
    inputs, labels = data
    if teacher is not None:
        # What never changes is asked once.
        taught = _taught(_in_batches((inputs, labels), batch_size), teacher)
        labels = tf.concat([targets for _, targets in taught], axis=0)
    return _in_batches((inputs, labels), batch_size, shuffle)


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


def _taught(batches, teacher):
    """The dataset with the teacher's logits behind the labels."""
    is_softmax = ends_in_softmax(teacher)

    def teach(inputs, labels):
        outputs = teacher(inputs, training=False)
        logits = _log(outputs) if is_softmax else outputs
        if labels.dtype.is_integer:
            labels = tf.one_hot(tf.reshape(labels, [-1]), logits.shape[-1])
        return inputs, tf.concat([tf.cast(labels, logits.dtype), logits], axis=-1)

    return batches.map(teach).prefetch(1)
