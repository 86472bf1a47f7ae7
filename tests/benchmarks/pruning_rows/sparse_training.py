"""Sparse from the first step on, compared with gradual pruning and the dense network."""

import functools

_EPOCHS = 40
# Accuracies in percent, SNFS result files: LeNet-300-100, 100 epochs.
_PAPER = {
    0.95: {"SET": 98.14, "DSR": 98.32, "SNFS": 98.53},
    0.98: {"SET": 97.74, "DSR": 98.14, "SNFS": 98.20},
    0.99: {"SET": 95.80, "DSR": 97.54, "SNFS": 97.53},
}
_TOLERANCE = 0.2
_SIZE = 266_200
# Number of weights that DSR's authors exchange at once.
_EXCHANGED = 600
# Weight decay of the optimizer in the paper: half of it times the sum of squares.
_WEIGHT_DECAY = 5e-4


def _row(lab, sparsity):
    """All methods at one sparsity, and the baselines for comparison."""
    rows = [_train(lab, "dense", sparsity, None)]
    for name, make in _METHODS.items():
        rows.append(_train(lab, name, sparsity, make))
    return rows


def _train(lab, name, sparsity, make):
    lab.restart()
    model = lab.lenet_300_100()
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            layer.kernel_regularizer = lab.keras.regularizers.L2(_WEIGHT_DECAY / 2)
    model = lab.tfc.compress(model, {".*": "mask"})
    callbacks = [make(lab, sparsity)] if make else []
    lab.fit(model, _EPOCHS, optimizer=functools.partial(_sgd, lab), callbacks=callbacks)
    accuracy = _PAPER[sparsity].get(name)
    paper = accuracy and round(100 - accuracy, 2)
    return lab.row(
        name if make is None else f"{name}, {sparsity:.0%}",
        model,
        paper=paper,
        at_most=paper and round(paper + _TOLERANCE, 2),
        note=f"{_EPOCHS} epochs instead of 100, cosine",
    )


def _every(lab):
    """As many updates as with one after each of the paper's epochs."""
    return max(1, lab.steps(_EPOCHS) // 100)


def _sgd(lab, steps):
    rate = lab.keras.optimizers.schedules.CosineDecay(0.1, steps)
    return lab.keras.optimizers.SGD(rate, momentum=0.9, nesterov=True)


def _gradual(lab, sparsity):
    schedule = lab.tfc.schedules.Polynomial(
        final_sparsity=sparsity,
        begin_step=0,
        end_step=max(1, lab.steps(_EPOCHS) * 2 // 3),
        frequency=50,
    )
    return lab.tfc.callbacks.Pruning(schedule, scope="global")


def _ac_dc(lab, sparsity):
    phases = (0, 1, 1) if lab.is_quick else (5, 5, 15)
    return lab.tfc.callbacks.ACDC(sparsity, *phases)


_METHODS = {
    "SET": lambda lab, sparsity: lab.tfc.callbacks.SET(sparsity, frequency=_every(lab)),
    "DSR": lambda lab, sparsity: lab.tfc.callbacks.DSR(
        sparsity, fraction=_EXCHANGED / (_SIZE * (1 - sparsity))
    ),
    "SNFS": lambda lab, sparsity: lab.tfc.callbacks.SNFS(
        sparsity, frequency=_every(lab)
    ),
    "RigL": lambda lab, sparsity: lab.tfc.callbacks.RigL(sparsity),
    "SRigL": lambda lab, sparsity: lab.tfc.callbacks.SRigL(sparsity),
    "AC/DC": _ac_dc,
    "gradual magnitude": _gradual,
}
ROWS = {
    f"sparse_training_{sparsity:.0%}".rstrip("%"): functools.partial(
        _row, sparsity=sparsity
    )
    for sparsity in _PAPER
}
