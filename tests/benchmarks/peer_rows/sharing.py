"""LeNet-5 with 16 values per kernel."""


def sharing(lab):
    """tfmot and ours."""
    network = lab.lenet_5()
    entries = [
        *lab.own(network, "share", "share_on_grid"),
        *lab.peers(network, "tfmot", "cluster"),
    ]
    note = "LeNet-5 on MNIST, trained for 2 epochs; 1 more with 16 values per kernel"
    return list(lab.measures(network, entries, note))


ROWS = {"sharing": sharing}
