"""Gradual magnitude pruning, the baseline for other methods."""

import harness

_EPOCHS = 40


def gradual(lab):
    """Global magnitude, cubic schedule over the first two thirds."""
    rows, sparsities = [], harness.some((0.95, 0.98, 0.99), lab.options)
    for _ in lab.seeds(3):
        dense = lab.lenet_300_100()
        lab.fit(dense, _EPOCHS)
        rows.append(lab.row("dense", dense))
        rows += [prune(lab, sparsity) for sparsity in sparsities]
    return rows


def prune(lab, sparsity, epochs=_EPOCHS, name="gradual magnitude", before=()):
    """One run from scratch to a sparsity, with transforms before the mask."""
    tfc = lab.tfc
    lab.restart()
    model = tfc.compress(lab.lenet_300_100(), {".*": [*before, "mask"]})
    schedule = tfc.schedules.Polynomial(
        final_sparsity=sparsity,
        begin_step=0,
        end_step=max(1, lab.steps(epochs) * 2 // 3),
        frequency=50,
    )
    lab.fit(model, epochs, callbacks=[tfc.callbacks.Pruning(schedule, scope="global")])
    return lab.row(f"{name}, {sparsity:.0%}", model, note=f"{epochs} epochs")


ROWS = {"gradual": gradual}
