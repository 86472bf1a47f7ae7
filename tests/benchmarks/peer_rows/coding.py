"""Bytes of trained weights: NNCodec, which rounds and codes, and our coded files."""

import dataclasses
import pathlib

import numpy as np

_PROGRAMS = "default coarse coarser coarsest".split()
_OURS = "int8_coded int4_coded half_zeros_coded most_zeros_coded".split()


def lenet_5(lab):
    """The small network."""
    note = "LeNet-5 on MNIST, trained for 2 epochs; nothing is trained more"
    return _compare(lab, lab.lenet_5(), note)


def resnet_20(lab):
    """The network that few bits hurt."""
    note = "ResNet-20 on CIFAR-10, trained before; nothing is trained more"
    return _compare(lab, lab.resnet_20(), note)


def _compare(lab, network, note):
    peers = lab.peers(network, "nncodec", *_PROGRAMS)
    entries = [
        *(_with_file(lab, network, entry) for entry in peers),
        *lab.own(network, *_OURS),
    ]
    return list(lab.measures(network, entries, note))


def _with_file(lab, network, entry):
    """An entry with the file of the decoded weights, and the bytes of the stream."""
    import tfcompress as tfc

    if entry.path is None:
        return entry
    decoded = np.load(f"{entry.path}.npz")
    weights = network.model.get_weights()
    network.model.set_weights([decoded[str(i)] for i in range(len(weights))])
    path = pathlib.Path(f"{entry.path}.decoded.tflite")
    tfc.export_tflite(network.model, path, "float32")
    network.model.set_weights(weights)
    return dataclasses.replace(
        entry,
        path=path,
        size=entry.path.stat().st_size,
        note="bytes of the stream, which does not run; the rest from decoded weights",
    )


ROWS = {"coding, LeNet-5": lenet_5, "coding, ResNet-20": resnet_20}
