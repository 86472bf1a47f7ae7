"""A trained ResNet-20 at half its MACs, by one engine after another."""

import functools

import harness
from harness import Measure

_EPOCHS = 2
_NUM_IMAGES = 6144
# For hundreds of candidates.
_FEWER_IMAGES = {"half_macs_filter_agent": 2048}
# Percentage points by which a search should be better before training.
_BETTER = 0.5
ENGINES = {
    "half_macs": {"knapsack": "knapsack"},
    "half_macs_optuna": {"NSGA-II": {"optuna": {"sampler": "nsga2", "trials": 100}}},
    "half_macs_amc": {"AMC": "amc"},
    "half_macs_filter_agent": {
        "filter agent": {"filter_agent": {"passes": 1, "updates": 5}}
    },
    "half_macs_apq": {"APQ": "apq"},
    "half_macs_tas": {"TAS": "tas"},
}


def half_macs(lab, engines, num_images=_NUM_IMAGES):
    """Engines compared with the same ratio for all groups, before and after training."""
    dense = lab.resnet_20()
    if dense is None:
        return harness.left_out("the trained ResNet-20 is not there: pass --model")
    data = tuple(a[-num_images:] for a in lab.cifar10.everything)
    least, least_trained, _ = _accuracies(lab, dense, data, "uniform")
    note = f"dense {lab.accuracy(dense, lab.cifar10):.2f} %; {len(data[0])} images"
    epochs = f"{_EPOCHS} epochs"
    rows = [
        Measure("uniform", least, "%", note=note),
        Measure("uniform, trained", least_trained, "%", note=epochs),
    ]
    for name, engine in engines.items():
        before, after, macs = _accuracies(lab, dense, data, engine)
        rows += [
            Measure(name, before, "%", at_least=least + _BETTER),
            Measure(f"{name}, trained", after, "%", at_least=least_trained),
            Measure(f"{name}, MACs", macs, at_most=0.5),
        ]
    return rows


def _accuracies(lab, dense, data, engine):
    """Accuracies before and after training, and the share of MACs."""
    harness.progress(f"  {engine}")
    result = lab.tfc.compress_to(dense, {"macs": 0.5}, data, engine=engine, verbose=0)
    model = result.best.model
    before = lab.accuracy(model, lab.cifar10)
    return before, _trained(lab, model), result.best.macs / result.dense.macs


def _trained(lab, model):
    keras, data = lab.keras, lab.cifar10
    epochs = lab.epochs(_EPOCHS)
    lab.restart()
    rate = keras.optimizers.schedules.CosineDecay(
        1e-3, lab.steps(epochs, 128, data.everything)
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss)
    harness.progress(f"  {epochs} epochs")
    model.fit(lab.crops(data.everything), epochs=epochs, shuffle=False, verbose=0)
    return lab.accuracy(model, data)


ROWS = {
    name: functools.partial(
        half_macs,
        engines=engines,
        num_images=_FEWER_IMAGES.get(name, _NUM_IMAGES),
    )
    for name, engines in ENGINES.items()
}
