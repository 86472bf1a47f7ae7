"""Agreement between the replicas and workers that train one model together.

A replica is a copy of the model on one device; a worker is a process with one or more
replicas. Results computed from equal weights by equal steps are equal anyway. Those
computed from batches are not, since each worker has its own batches.
"""

import functools

import keras
import numpy as np
import tensorflow as tf

_INTEGER = tf.TensorSpec([], "int32")


def gathered(*numbers):
    """In a training step, a vector of the values in all replicas for each number.

    Args:
        numbers: scalar tensors of one type.

    >>> [vector.numpy() for vector in gathered(tf.constant(1.0), tf.constant(2.0))]
    [array([1.], dtype=float32), array([2.], dtype=float32)]
    """
    own, context = tf.stack(numbers), tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return tf.unstack(own[:, None])
    return tf.unstack(context.all_gather(own[:, None], axis=1), num=len(numbers))


def own_variable(shape, dtype):
    """A zero-initialized variable that each replica has its own copy of; reading sums them.

    For booleans, the copy of the first replica is read.

    Args:
        shape: shape of the variable.
        dtype: dtype of the variable.
    """
    aggregation = tf.VariableAggregation
    return tf.Variable(
        tf.zeros(shape, dtype),
        trainable=False,
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=(
            aggregation.ONLY_FIRST_REPLICA if dtype == "bool" else aggregation.SUM
        ),
    )


def num_workers(strategy):
    """How many workers a strategy trains on.

    Args:
        strategy: a `tf.distribute.Strategy`.

    >>> num_workers(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
    1
    """
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return 1
    return strategy.num_replicas_in_sync // len(strategy.extended.worker_devices)


def summed(strategy, values):
    """Arrays summed over all workers, each of which must call this.

    Args:
        strategy: a `tf.distribute.Strategy`.
        values: a structure of arrays, of the same shapes on all workers.

    Returns:
        The structure with the sums; the values themselves if there is one worker.

    >>> summed(tf.distribute.get_strategy(), [np.ones(2)])
    [array([1., 1.])]
    """
    num_own = strategy.num_replicas_in_sync // num_workers(strategy)
    return _reduced(strategy, values, num_own)


def averaged(strategy, values):
    """Arrays averaged over all workers, each of which must call this."""
    count = num_workers(strategy)
    if count == 1:
        return values
    return keras.tree.map_structure(lambda v: v / count, summed(strategy, values))


def of_first(strategy, values):
    """The arrays of the first worker; all workers must call this at the same time.

    On different processors the last bits differ, which can change a choice of the
    highest score.

    Args:
        strategy: as in `summed`.
        values: as in `summed`.
    """
    return _reduced(strategy, values, strategy.num_replicas_in_sync)


def check_same_step(strategy, step):
    """Raises unless all workers are at the same optimizer step.

    Args:
        strategy: as in `summed`.
        step: the optimizer step of this worker.

    Raises:
        ValueError: if they are not, since their masks would diverge.
    """
    first = int(of_first(strategy, np.asarray(step)))
    num_apart = int(summed(strategy, np.asarray(int(step != first))))
    if num_apart:
        raise ValueError(
            f"This worker is at optimizer step {step}, the first worker at {first}; "
            f"{num_apart} of {num_workers(strategy)} workers are not at that step. "
            "Resume all workers from the same backup: copy the backup_dir of one worker "
            "to the others."
        )


def _reduced(strategy, values, period):
    """Sums of the arrays of each replica whose index is divisible by `period`."""
    if num_workers(strategy) == 1:
        return values
    given = [np.asarray(value) for value in keras.tree.flatten(values)]
    sent = np.concatenate([value.ravel().astype(np.float64) for value in given])
    found = strategy.experimental_local_results(_adder(strategy)(sent, period))[0]
    parts = np.split(found.numpy(), np.cumsum([value.size for value in given])[:-1])
    sums = [
        part.reshape(value.shape).astype(value.dtype)
        for part, value in zip(parts, given, strict=True)
    ]
    return keras.tree.pack_sequence_as(values, sums)


@functools.cache
def _adder(strategy):
    """Sums vectors of any length, so that it is traced only once."""

    def add(vector, period):
        context = tf.distribute.get_replica_context()
        counts = context.replica_id_in_sync_group % period == 0
        shown = tf.where(counts, vector, tf.zeros_like(vector))
        return context.all_reduce(tf.distribute.ReduceOp.SUM, shown)

    @tf.function(input_signature=[tf.TensorSpec([None], "float64"), _INTEGER])
    def add_all(vector, period):
        return strategy.run(add, (vector, period))

    return add_all
