"""The side of tfmot in step_time.py; its environment contains tf_keras, not Keras 3."""

import json
import sys

import harness
import step_time_task as task
import tensorflow_model_optimization as tfmot
import tf_keras


def time_variants(name, num_steps, rounds, seed):
    """`{variant: seconds of each round}`, with variants taking turns."""
    tf_keras.utils.set_random_seed(seed)

    def plain():
        return task.build(tf_keras, name)

    def pruned(frequency):
        # Still rising in the last round.
        num_rounds = rounds + 2
        schedule = tfmot.sparsity.keras.PolynomialDecay(
            initial_sparsity=0.0,
            final_sparsity=task.FINAL_SPARSITY,
            begin_step=0,
            end_step=num_rounds * num_steps,
            frequency=frequency,
        )
        model = tfmot.sparsity.keras.prune_low_magnitude(plain(), schedule)
        return epoch(model, tfmot.sparsity.keras.UpdatePruningStep())

    def epoch(model, *callbacks):
        return task.epoch_of(tf_keras, model, name, num_steps, seed, callbacks)

    clustered = tfmot.clustering.keras.cluster_weights(
        plain(),
        number_of_clusters=task.NUM_CLUSTERS,
        cluster_centroids_init=tfmot.clustering.keras.CentroidInitialization.LINEAR,
    )
    variants = {
        "plain": epoch(plain()),
        "prune": pruned(frequency=100),
        "prune_every_step": pruned(frequency=1),
        "cluster": epoch(clustered),
        "quantize": epoch(tfmot.quantization.keras.quantize_model(plain())),
    }
    return harness.interleaved(variants, rounds)


if __name__ == "__main__":
    times = time_variants(**json.loads(sys.argv[1]))
    print(json.dumps({f"tfmot {tfmot.__version__}": times}))
