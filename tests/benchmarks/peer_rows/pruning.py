"""LeNet-5 with 90 % of its weights zero."""

import harness


def pruning(lab):
    """tfmot and ours, as int8 and as float32 files."""
    network = lab.lenet_5()
    entries = [
        *lab.peers(network, "tfmot", "prune"),
        *lab.own(network, *harness.some(("prune", "prune_global"), lab.options)),
    ]
    note = "LeNet-5 on MNIST, trained for 2 epochs; 2 more while pruning, to 90 % zeros"
    return list(lab.measures(network, entries, note))


ROWS = {"pruning": pruning}
