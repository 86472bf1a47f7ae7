"""A process that takes one backbone of `transformers.py` through all steps.

It prints `{step: reason}` as JSON in its last line; the reason is empty if a step works.
"""

import json
import os
import pathlib
import sys
import tempfile
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import zoo_models

import tfcompress as tfc
from tfcompress.core.compressed import treatments
from tfcompress.core.graph import flattened
from tfcompress.core.walk import weight_refs

# Half the heads and the feed-forward width halve all kernels, except those that only
# lead to the outputs.
_MOST_PRUNED = 0.6
_RANK = 8
_MOST_FACTORIZED = 0.75


def _kernels(model):
    """Number of weights in kernels, without those that embed words, positions, patches."""
    return sum(
        int(np.prod(ref.variable.shape))
        for ref in weight_refs(model)
        if ref.is_kernel and "embedding" not in ref.path
    )


def _left(model, small, most):
    left = _kernels(small) / _kernels(model)
    return "" if left <= most else f"{left:.2f} of the kernels' weights are left"


def opened(model, inputs, folder):
    """Whether no layer stays closed."""
    return "; ".join(dict.fromkeys(flattened(model).closed.values()))


def masked(model, inputs, folder):
    """Whether every kernel gets a transform."""
    with_masks = {path for path, _ in treatments(tfc.compress(model, {".*": "mask"}))}
    kernels = {ref.path for ref in weight_refs(model) if ref.is_kernel}
    left = sorted(kernels - with_masks)
    return f"{len(left)} kernels without, such as {left[0]}" if left else ""


def pruned(model, inputs, folder):
    """Whether half the heads and of the feed-forward width can be cut."""
    return _left(model, tfc.prune_channels(model, 0.5), _MOST_PRUNED)


def factorized(model, inputs, folder):
    """Whether low ranks save weights."""
    small = tfc.factorize(model, tfc.rewrites.SVD(rank=_RANK), verbose=0)
    return _left(model, small, _MOST_FACTORIZED)


def float32(model, inputs, folder):
    """Whether the file computes the same as the model."""
    tfc.export_tflite(model, folder / "model.tflite", samples=inputs)
    return ""


def int8(model, inputs, folder):
    """Whether the file of a model with ranges inside computes nearly the same."""
    ranged = tfc.quantize_activations(model, ranges="min_max", samples=inputs)
    tfc.export_tflite(ranged, folder / "model.tflite", "int8", samples=inputs)
    return ""


STEPS = (opened, masked, pruned, factorized, float32, int8)


def main(name):
    """Runs all steps on one backbone."""
    specimen = zoo_models.build(name)
    outcomes = {}
    with tempfile.TemporaryDirectory() as folder:
        for step in STEPS:
            try:
                reason = step(specimen.model, specimen.inputs, pathlib.Path(folder))
            except Exception as error:
                # Whatever it is, the figure says so.
                reason = f"{type(error).__name__}: {error}"
            outcomes[step.__name__] = " ".join(reason.split())[:300]
    print(json.dumps(outcomes))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(sys.argv[1])
