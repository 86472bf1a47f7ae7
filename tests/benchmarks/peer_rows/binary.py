"""A network with binary convolutions, trained with larq and here."""

import dataclasses

import harness
import numpy as np


def binary(lab):
    """Three binary convolutions between real-valued layers, on MNIST."""
    network = lab.binary()
    entries = [
        *(_by_lce(lab, network, e) for e in lab.peers(network, "lce", "binary")),
        *lab.own(network, "binary", "binary_int8"),
    ]
    note = "as built, with real-valued convolutions, not trained"
    return list(lab.measures(network, entries, note))


def _by_lce(lab, network, entry):
    """An entry that its own interpreter judges and times."""
    if entry.path is None:
        return entry
    x, y = network.test
    images, labels = (lab.folder / f"binary_test_{name}.npy" for name in ("x", "y"))
    np.save(images, np.rint(255 * x).astype(np.uint8))
    np.save(labels, y)
    task = {
        "path": str(entry.path),
        "images": str(images),
        "labels": str(labels),
        "scale": network.settings["scale"],
    }
    folder = lab.options.peers_dir
    turns = {**task, "repeats": lab.options.repeats}
    return dataclasses.replace(
        entry,
        accuracy=lambda path: harness.run_peer("lce", "lce_file.py", task, folder),
        turns=harness.peer_command("lce", "lce_file.py", turns, folder),
    )


ROWS = {"binary": binary}
