"""Trains small models, alone or as one of several workers; started by `test_workers.py`."""

import json
import os
import pathlib
import signal
import sys

import keras
import numpy as np
import tensorflow as tf

import tfcompress as tfc
from tfcompress.core.compressed import treated_refs
from tfcompress.transforms.mask import Mask

L = keras.layers
BATCH_SIZE, STEPS, EPOCHS = 16, 6, 2
# In the second epoch: masks were updated between the backup and it.
LAST_STEP = STEPS + 3


def data():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(BATCH_SIZE * STEPS, 6, 6, 2))
    return x.astype("float32"), generator.integers(0, 4, len(x))


def plain(filters=4):
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            L.Conv2D(filters, 3, activation="relu", name="conv"),
            L.Flatten(name="flatten"),
            L.Dense(8, activation="relu", name="hidden"),
            L.Dense(4, name="head"),
        ],
        name=f"plain_{filters}",
    )
    generator = np.random.default_rng(filters)
    for weight in model.weights:
        weight.assign(generator.normal(scale=0.3, size=weight.shape))
    return model


def masked():
    return tfc.compress(plain(), {".*": "mask"})


def gradual(**options):
    schedule = tfc.schedules.Polynomial(
        final_sparsity=0.7, begin_step=2, end_step=11, frequency=3
    )
    return tfc.callbacks.Pruning(schedule, **options)


def by_gradient(criterion, part):
    """Of two workers each scores by its own batches."""
    index, count = part
    x, y = data()
    mine = slice(index * len(x) // count, (index + 1) * len(x) // count)
    batches = tf.data.Dataset.from_tensor_slices((x[mine], y[mine])).batch(8)
    return gradual(criterion=criterion, data=batches, scope="global")


def distilled(part):
    student = tfc.compress(plain(2), {".*": "mask"})
    distiller = tfc.distillation.Distiller(student, plain(), "kl", alpha=0.3)
    return distiller, [by_gradient("taylor", part)]


# So many that what is rounded the other way makes no difference.
BITS = 16


def quantized(part):
    model = tfc.quantize_activations(plain(), BITS, momentum=0.5)
    uniform = tfc.transforms.Uniform(BITS)
    # Whatever makes scores differ between workers: those of the first one count.
    pruning = gradual(criterion=tfc.criteria.Random(seed=part[0]))
    return tfc.compress(model, {".*": ["mask", uniform]}), [pruning]


def quantized_by_learned_steps(part):
    model = tfc.quantize_activations(plain(), BITS, ranges="learned_step")
    return tfc.compress(model, {".*": tfc.transforms.LearnedStep(BITS)}), []


# What is trained, by a function of `(this worker's index, number of workers)`.
TRAININGS = {
    "magnitude": lambda part: (masked(), [gradual()]),
    "grasp": lambda part: (masked(), [by_gradient("grasp", part)]),
    "rigl": lambda part: (masked(), [tfc.callbacks.RigL(0.6, frequency=4)]),
    "set": lambda part: (masked(), [tfc.callbacks.SET(0.6, frequency=2, seed=part[0])]),
    "distilled": distilled,
    "quantized": quantized,
    "learned_steps": quantized_by_learned_steps,
}


class Record(keras.callbacks.Callback):
    """Keeps all masks after each step, as one row of bits."""

    def __init__(self):
        super().__init__()
        self.rows = []

    def on_train_batch_end(self, batch, logs=None):
        self.rows.append(masks(self.model))

    def on_epoch_end(self, epoch, logs=None):
        self.rows.append(masks(self.model))


class Die(keras.callbacks.Callback):
    """Ends the process once, as the system does when it runs out of memory."""

    def __init__(self, marker):
        super().__init__()
        self.marker = marker

    def on_train_batch_begin(self, batch, logs=None):
        is_time = int(self.model.optimizer.iterations.numpy()) == LAST_STEP
        if is_time and not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)


def masks(model):
    found = [
        transform.mask.numpy().ravel()
        for _, treatment in treated_refs(model)
        for transform in treatment.transforms
        if isinstance(transform, Mask)
    ]
    return np.concatenate(found) if found else np.zeros(0, bool)


def compiled(model):
    model.compile(
        keras.optimizers.SGD(0.05, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def fit(model, callbacks, **options):
    return model.fit(
        *data(),
        batch_size=BATCH_SIZE,
        epochs=EPOCHS,
        shuffle=False,
        verbose=0,
        callbacks=callbacks,
        **options,
    )


def trained(name, strategy, part=(0, 1), around=()):
    """Trains, and returns `{name: array}` of weights, masks after each step and logs.

    Args:
        name: one of `TRAININGS`.
        strategy: a `tf.distribute.Strategy`.
        part: index of this worker and how many there are.
        around: more callbacks.
    """
    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model, callbacks = TRAININGS[name](part)
        compiled(model)
    record = Record()
    evaluated = data() if name == "magnitude" else None
    log = fit(model, [*callbacks, record, *around], validation_data=evaluated)
    weights = {f"weight {v.path}": v.numpy() for v in model.variables}
    logs = {f"log {key}": np.array(values) for key, values in log.history.items()}
    return {"masks": np.stack(record.rows), **weights, **logs}


def refused(strategy, index):
    """`{what: message}` of trainings that cannot go on."""
    with strategy.scope():
        model = compiled(masked())
        model.optimizer.build(model.trainable_variables)
    model.optimizer.iterations.assign(3 * index)
    return {
        name: np.array(message_of(lambda c=callback: fit(model, [c])))
        for name, callback in (
            ("pruning", gradual()),
            ("sparse_training", tfc.callbacks.RigL(0.6)),
        )
    }


def unmended(strategy):
    """`{what: message}` of what Keras does by itself."""
    module = keras.src.backend.tensorflow.trainer
    places = [
        (module.TensorFlowTrainer, "_maybe_symbolic_build"),
        (module, "reduce_per_replica"),
    ]
    found = {}
    for owner, name in places:
        with strategy.scope():
            model = compiled(plain())
        mended = getattr(owner, name)
        setattr(owner, name, mended.__wrapped__)
        found[name] = np.array(message_of(lambda m=model: fit(m, [])))
        setattr(owner, name, mended)
    return found


def message_of(call):
    try:
        call()
    except ValueError as error:
        return str(error)
    return "no error"


def main(folder, names, *deaths):
    """Trains as the worker that TF_CONFIG says, what has not been trained yet.

    Args:
        folder: for results, a file for each training, and backups.
        names: of `TRAININGS`, with commas; "errors" for what is refused.
        deaths: `NAME=INDEX`, the worker that dies once in a training.
    """
    config, folder = json.loads(os.environ["TF_CONFIG"]), pathlib.Path(folder)
    index, count = config["task"]["index"], len(config["cluster"]["worker"])
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    for name in names.split(","):
        path = folder / f"{name}-{index}.npz"
        if path.exists():
            continue
        if name == "errors":
            found = unmended(strategy) | refused(strategy, index)
        else:
            backup = folder / f"backup-{name}-{index}"
            around = [keras.callbacks.BackupAndRestore(backup)] if deaths else []
            around += [Die(folder / f"{name}-died")] * (f"{name}={index}" in deaths)
            found = trained(name, strategy, (index, count), around)
        np.savez(path, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
