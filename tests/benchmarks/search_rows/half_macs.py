"""A trained ResNet-20 at half its MACs, by one engine after the other."""

import functools

import harness
from harness import Measure

_EPOCHS = 2
_NUM_IMAGES = 6144
# Points of accuracy that a search is to be better by before training.
_BETTER = 0.5
ENGINES = {
    "knapsack": "knapsack",
    "nsga2": {"optuna": {"sampler": "nsga2", "trials": 200}},
    "tpe": {"optuna": {"trials": 200}},
    "amc": "amc",
    "filter_agent": "filter_agent",
    "apq": "apq",
    "tas": "tas",
}


def half_macs(lab, name):
    """The engine beside the same ratio for all groups, before and after training."""
    dense = lab.resnet_20()
    if dense is None:
        return harness.left_out("the trained ResNet-20 is not there: pass --model")
    uniform = _searched(lab, dense, "uniform")
    found = _searched(lab, dense, ENGINES[name])
    note = f"dense {lab.accuracy(dense, lab.cifar10):.2f} %"
    before = [lab.accuracy(r.best.model, lab.cifar10) for r in (uniform, found)]
    after = [_trained(lab, r.best.model) for r in (uniform, found)]
    return [
        Measure("uniform, not trained", before[0], "%", note=note),
        Measure("found, not trained", before[1], "%", at_least=before[0] + _BETTER),
        Measure("uniform, trained", after[0], "%", note=f"{_EPOCHS} epochs"),
        Measure(
            "found, trained", after[1], "%", at_least=after[0], note=f"{_EPOCHS} epochs"
        ),
        Measure("MACs", found.best.macs / found.dense.macs, at_most=0.5),
    ]


def _searched(lab, dense, engine):
    harness.progress(f"  {engine}")
    data = tuple(a[-_NUM_IMAGES:] for a in lab.cifar10.everything)
    return lab.tfc.compress_to(dense, {"macs": 0.5}, data, engine=engine, verbose=0)


def _trained(lab, model):
    keras, data = lab.keras, lab.cifar10
    epochs = lab.epochs(_EPOCHS)
    lab.restart()
    rate = keras.optimizers.schedules.CosineDecay(
        1e-3, lab.steps(epochs, 128, data.everything)
    )
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
    harness.progress(f"  {epochs} epochs")
    model.fit(lab.crops(data.everything), epochs=epochs, shuffle=False, verbose=0)
    return lab.accuracy(model, data)


ROWS = {
    f"half_macs_{name}": functools.partial(half_macs, name=name) for name in ENGINES
}
