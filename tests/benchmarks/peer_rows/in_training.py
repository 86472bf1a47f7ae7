"""LeNet-5 trained with rounding, alone and with zeros and few values."""


def quantized(lab):
    """8 bits; ours also 4 bits."""
    network = lab.lenet_5()
    entries = [
        *lab.peers(network, "tfmot", "quantize"),
        *lab.own(network, "train_int8", "train_int4"),
    ]
    note = "LeNet-5 on MNIST, trained for 2 epochs; 1 more with rounding"
    return list(lab.measures(network, entries, note))


def combined(lab):
    """Zeros, few values and 8 bits together."""
    network = lab.lenet_5()
    entries = [
        *lab.peers(network, "tfmot", "combine"),
        *lab.peers(network, "pquantml", "prune_and_quantize"),
        *lab.own(network, "combine", "prune_and_quantize"),
    ]
    note = (
        "LeNet-5 on MNIST, trained for 2 epochs; 4 more for PCQAT, 2 to prune, 1 to "
        "cluster, 1 to quantize, and for ours in one fit; 3 for pairs of pruning and 8 bits"
    )
    return list(lab.measures(network, entries, note))


ROWS = {"quantized": quantized, "combined": combined}
