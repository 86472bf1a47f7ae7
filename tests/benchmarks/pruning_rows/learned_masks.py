"""Masks that are trained, next to gradual magnitude pruning of the same length."""

from pruning_rows import gradual

_EPOCHS = 40
_SPARSITY = 0.95
_SUPERMASK_EPOCHS = 20


def learned_masks(lab):
    """Each to about 95 %, from the same random beginning."""
    transforms = lab.tfc.transforms
    ways = {
        "continuous sparsification": transforms.ContinuousSparsification(
            -0.2, rate=5.0
        ),
        "soft threshold (STR)": transforms.SoftThreshold(penalty_weight=2e-3),
        "PDP": transforms.PDP(_SPARSITY),
    }
    rows = []
    for _ in lab.seeds(3):
        rows.append(gradual.prune(lab, _SPARSITY))
        rows.append(
            gradual.prune(
                lab,
                _SPARSITY,
                name="powerpropagation, gradual magnitude",
                before=[transforms.Powerpropagation(2)],
            )
        )
        for name, transform in ways.items():
            lab.restart()
            rows.append(_learn(lab, name, lab.lenet_300_100(), transform))
    return rows


def movement(lab):
    """From the trained network, as for fine-tuning."""
    transforms = lab.tfc.transforms
    ways = {
        "movement": transforms.Movement(_SPARSITY),
        "soft movement": transforms.SoftMovement(0.1, penalty_weight=0.05),
    }
    rows = []
    for name, transform in ways.items():
        model = lab.dense("lenet_300_100")
        lab.restart()
        rows.append(_learn(lab, f"{name}, from the trained network", model, transform))
    return rows


def supermasks(lab):
    """Networks within random ones, whose weights are never trained."""
    transforms, keras = lab.tfc.transforms, lab.keras

    def momentum(rate):
        return lambda steps: keras.optimizers.SGD(
            keras.optimizers.schedules.CosineDecay(rate, steps), momentum=0.9
        )

    ways = {
        "supermask": (transforms.Supermask(rescale=False), momentum(10.0), 95.3),
        "supermask, signed constants, rescaled": (
            transforms.Supermask(signed_constant=True),
            momentum(10.0),
            98.0,
        ),
        "edge-popup, signed constants": (
            transforms.EdgePopup(0.5, signed_constant=True),
            momentum(0.1),
            98.0,
        ),
    }
    rows = []
    for name, (transform, optimizer, accuracy) in ways.items():
        lab.restart()
        model = lab.lenet_300_100()
        rows.append(
            _learn(
                lab,
                name,
                model,
                transform,
                epochs=_SUPERMASK_EPOCHS,
                optimizer=optimizer,
                paper=round(100 - accuracy, 1),
            )
        )
    return rows


def _learn(lab, name, model, transform, epochs=_EPOCHS, optimizer=None, paper=None):
    """Trains a model through a transform from its beginning to its end."""
    tfc = lab.tfc
    model = tfc.compress(model, {".*": transform})
    is_annealed = hasattr(transform, "advance")
    callbacks = [tfc.callbacks.Annealing()] if is_annealed else []
    lab.fit(model, epochs, optimizer, callbacks)
    return lab.row(name, model, paper=paper, note=f"{epochs} epochs")


ROWS = {
    "learned masks": learned_masks,
    "movement": movement,
    "supermasks": supermasks,
}
