"""A trained ResNet-20 for CIFAR-10 without most weights, and without retraining."""

import functools

import harness

_NUM_SAMPLES = 1024
# Sparsity: approximate errors of magnitude and CHITA in the table of its paper, which
# does not recompute batch norm statistics; and the target for OBS.
_PUBLISHED = {0.5: (11.6, 9.4, 9.0), 0.6: (14.8, 10.8, 10.0), 0.7: (21.2, 15.9, 13.0)}
_NO_BATCH_NORM = {"recalibrate": False, "correct_bias": False}


def one_shot(lab, sparsity):
    """By solver, with all kernels treated alike, including the first and last."""
    dense = lab.resnet_20()
    if dense is None:
        return harness.left_out("the trained ResNet-20 is not there: pass --model")
    magnitude, chita, at_most = _PUBLISHED[sparsity]
    row = functools.partial(_row, lab, dense, sparsity)
    rows = [
        row(
            "magnitude, global",
            "magnitude",
            paper=magnitude,
            scope="global",
            **_NO_BATCH_NORM,
        ),
        row("magnitude + batch norm", "magnitude"),
        row("SparseGPT + batch norm", "sparse_gpt"),
        row("OBS", "obs", paper=chita, **_NO_BATCH_NORM),
        row("OBS + batch norm", "obs", at_most=at_most, paper=chita),
        row("OBS + batch norm, global", "obs", scope="global"),
    ]
    if sparsity == 0.5:
        rows.append(row("OBS + batch norm, 2 of 4", "obs", pattern="n_of_m"))
        rows.append(row("OBS + batch norm, 4 bits", "obs", bits=4))
    return rows


def _row(lab, dense, sparsity, method, solver, paper=None, at_most=None, **arguments):
    lab.restart()
    data = lab.cifar10
    # Three-channel images have no four inputs to choose from.
    asked = {"(?!conv1$).*": sparsity} if "pattern" in arguments else sparsity
    images = data.everything[0][: 16 if lab.is_quick else _NUM_SAMPLES]
    pruned = lab.tfc.prune_weights(dense, asked, images, solver, **arguments)
    return lab.row(
        f"{method}, {sparsity:.0%}",
        pruned,
        of=dense,
        data=data,
        paper=paper,
        at_most=at_most,
        note=f"{len(images)} images of the training set, no training",
    )


ROWS = {
    f"one_shot_{sparsity:.0%}".rstrip("%"): functools.partial(
        one_shot, sparsity=sparsity
    )
    for sparsity in _PUBLISHED
}
