"""Programs of a user of NNCodec, for peers.py: its own rounding and arithmetic coding.

Its bitstream is no file that runs. The decoded weights are next to it, for the network.
"""

from importlib import metadata

import numpy as np
import peer_task
from nncodec.nn import decode, encode


def coded(task, path, settings):
    weights = np.load(task.settings["weights"])
    # Outputs first, as in PyTorch.
    turned = {name: np.moveaxis(weights[name], -1, 0) for name in weights.files}
    arrays = {name: np.ascontiguousarray(each) for name, each in turned.items()}
    stream = encode(arrays, {"verbose": False, **settings})
    with open(path, "wb") as file:
        file.write(stream)
    decoded = decode(bytearray(stream))
    np.savez(f"{path}.npz", **{n: np.moveaxis(a, 0, -1) for n, a in decoded.items()})


def default(task, path):
    """Default, qp -32."""
    coded(task, path, {})


def coarse(task, path):
    """qp -24."""
    coded(task, path, {"qp": -24})


def coarser(task, path):
    """qp -18."""
    coded(task, path, {"qp": -18})


def coarsest(task, path):
    """qp -14."""
    coded(task, path, {"qp": -14})


PROGRAMS = {
    function.__name__: function for function in (default, coarse, coarser, coarsest)
}

if __name__ == "__main__":
    peer_task.main(PROGRAMS, None, f"NNCodec {metadata.version('nncodec')}")
