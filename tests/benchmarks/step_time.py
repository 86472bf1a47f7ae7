"""Training-step time of compressed models against the plain model."""

import functools
import statistics

import harness
import step_time_task as task

# Name of a variant: its label in the table, and how much longer it may take.
VARIANTS = {
    "prune": ("prune, masks every 100 steps", 1.03),
    "prune_every_step": ("prune, masks every step", None),
    "cluster": (f"cluster, {task.NUM_CLUSTERS} values", 1.15),
    "quantize": ("quantize weights and activations, 8 bits", 1.25),
}


def measure(name, options):
    """All figures of one network."""
    sizes = {
        "name": name,
        "seed": options.seed,
        "num_steps": 1 if options.quick else options.steps,
        "rounds": 1 if options.quick else options.rounds,
    }
    ours = time_variants(**sizes)
    peers = {}
    if not options.no_peers:
        harness.progress(f"{name} with tfmot ...")
        peers = harness.run_peer(
            "tfmot", "tfmot_step_time.py", sizes, options.peers_dir
        )
    return [
        *(_ratio(variant, ours, peers) for variant in VARIANTS),
        *(_step(variant, ours, peers, sizes) for variant in ours),
    ]


def _ratio(variant, ours, peers):
    label, limit = VARIANTS[variant]
    peer = {
        tool: harness.ratio(times[variant], times["plain"])
        for tool, times in peers.items()
    }
    value = harness.ratio(ours[variant], ours["plain"])
    return harness.Measure(f"{label}, of plain", value, "x", at_most=limit, peer=peer)


def _step(variant, ours, peers, sizes):
    def milliseconds(times):
        return 1e3 * statistics.median(times[variant]) / sizes["num_steps"]

    label = VARIANTS.get(variant, (variant,))[0]
    peer = {tool: milliseconds(times) for tool, times in peers.items()}
    return harness.Measure(f"{label}, a step", milliseconds(ours), "ms", peer=peer)


def time_variants(name, num_steps, rounds, seed):
    """`{variant: seconds of each round}`, with variants taking turns."""
    import keras

    import tfcompress as tfc

    keras.utils.set_random_seed(seed)

    def compressed(*transforms):
        return tfc.compress(task.build(keras, name), {".*": list(transforms)})

    def pruning(frequency):
        # Still rising in the last round.
        num_rounds = rounds + 2
        schedule = tfc.schedules.Polynomial(
            final_sparsity=task.FINAL_SPARSITY,
            begin_step=0,
            end_step=num_rounds * num_steps,
            frequency=frequency,
        )
        return tfc.callbacks.Pruning(schedule)

    def epoch(model, *callbacks):
        return task.epoch_of(keras, model, name, num_steps, seed, callbacks)

    mask, uniform = tfc.transforms.Mask(), tfc.transforms.Uniform(bits=8)
    codebook = tfc.transforms.Codebook(task.NUM_CLUSTERS)
    variants = {
        "plain": epoch(task.build(keras, name)),
        "prune": epoch(compressed(mask), pruning(frequency=100)),
        "prune_every_step": epoch(compressed(mask), pruning(frequency=1)),
        "cluster": epoch(compressed(codebook)),
        "quantize": epoch(tfc.quantize_activations(compressed(uniform))),
    }
    return harness.interleaved(variants, rounds)


def _add_options(parser):
    parser.add_argument("--steps", type=int, default=100, help="steps per round")
    parser.add_argument("--rounds", type=int, default=15, help="timed rounds")


if __name__ == "__main__":
    harness.main(
        __doc__,
        {name: functools.partial(measure, name) for name in task.SHAPES},
        _add_options,
        quick=["cnn_28x28x1"],
    )
