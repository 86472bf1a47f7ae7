"""Masks that are trained, compared with gradual magnitude pruning of the same length."""

from pruning_rows import gradual

_EPOCHS = 40
_SPARSITY = 0.95
# Layer sparsities of global gradual magnitude pruning, for methods that need them.
_SPARSITIES = {"fc1": 0.965, "fc2": 0.85, "logits": 0.44}
_SUPERMASK_EPOCHS = 20


def learned_masks(lab):
    """Each to about 95 %, from the same random initialization."""
    transforms = lab.tfc.transforms
    continuous = transforms.ContinuousSparsification(-0.35, rate=2)
    threshold = transforms.SoftThreshold(penalty_weight=0.4)
    rows = []
    for _ in lab.seeds(1):
        rows.append(gradual.prune(lab, _SPARSITY))
        rows.append(
            gradual.prune(
                lab,
                _SPARSITY,
                name="powerpropagation, gradual magnitude",
                before=[transforms.Powerpropagation(2)],
            )
        )
        rows.append(
            _learn(lab, "continuous sparsification", {".*": continuous}, share=2 / 3)
        )
        rows.append(_learn(lab, "soft threshold (STR)", {".*": threshold}))
        rows.append(_learn(lab, "PDP", _by_layer(transforms.PDP)))
    return rows


def movement(lab):
    """From the trained network, as for fine-tuning."""
    transforms = lab.tfc.transforms
    ways = {
        "movement": _by_layer(transforms.Movement),
        "soft movement": {".*": transforms.SoftMovement(0.2, penalty_weight=1e-4)},
    }
    rows = []
    for name, rules in ways.items():
        model = lab.dense("lenet_300_100")
        name = f"{name}, from the trained network"
        rows.append(_learn(lab, name, rules, model=model))
    return rows


def supermasks(lab):
    """Networks within random ones, whose weights and biases are never trained."""
    transforms = lab.tfc.transforms
    ways = {
        "supermask": (transforms.Supermask(rescale=False), 0.02, 95.3),
        "supermask, signed constants, rescaled": (
            transforms.Supermask(signed_constant=True),
            0.02,
            98.0,
        ),
        "edge-popup, signed constants": (
            transforms.EdgePopup(0.5, signed_constant=True),
            1e-3,
            None,
        ),
    }
    return [
        _learn(
            lab,
            name,
            {".*": transform},
            epochs=_SUPERMASK_EPOCHS,
            rate=rate,
            biases=False,
            frequency=1,
            paper=accuracy and round(100 - accuracy, 1),
        )
        for name, (transform, rate, accuracy) in ways.items()
    ]


def _by_layer(transform):
    return {name: transform(sparsity) for name, sparsity in _SPARSITIES.items()}


def _learn(
    lab,
    name,
    rules,
    model=None,
    epochs=_EPOCHS,
    rate=1e-3,
    biases=True,
    share=1,
    frequency=None,
    paper=None,
):
    """Trains a model with transforms that are finished after a share of the training."""
    tfc, keras = lab.tfc, lab.keras
    lab.restart()
    model = tfc.compress(model or lab.lenet_300_100(), rules)
    for layer in model.layers:
        if not biases and hasattr(layer, "inner"):
            layer.inner.bias.trainable = False
    steps = max(1, int(share * lab.steps(epochs)))
    is_annealed = any(hasattr(transform, "advance") for transform in rules.values())
    callbacks = (
        [tfc.callbacks.Annealing(end_step=steps, frequency=frequency)]
        if is_annealed
        else []
    )

    def adam(steps):
        return keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(rate, steps)
        )

    lab.fit(model, epochs, adam, callbacks)
    return lab.row(name, model, paper=paper, note=f"{epochs} epochs")


ROWS = {
    "learned masks": learned_masks,
    "movement": movement,
    "supermasks": supermasks,
}
