"""Networks that are pruned before they are trained: SNIP, GraSP, SynFlow."""

import warnings

import numpy as np

# From the paper: kept share, error in percent.
_SNIP = {
    "lenet_300_100": {0.05: 1.6, 0.02: 2.4},
    "lenet_5": {0.02: 0.8, 0.01: 1.1},
}
_SNIP_EPOCHS = {"lenet_300_100": 40, "lenet_5": 20}
# Weight decay of 5e-4.
_L2 = 2.5e-4
_COLLAPSE_EPOCHS = 10
_DENSITIES = (0.01, 0.005, 0.002)
_CRITERIA = ("magnitude", "snip", "grasp", "synflow")
_DEEP = 6


def snip(lab):
    """As in the paper, but shorter and only for kernels: 100 images for scoring."""
    data = _standardized(lab.mnist)
    rows = []
    for name, published in _SNIP.items():
        for density, error in published.items():
            lab.restart()
            model = _pruned(lab, getattr(lab, name)(), "snip", density, 100, data)
            for layer in model.layers:
                if hasattr(layer, "inner"):
                    layer.inner.kernel.regularizer = lab.keras.regularizers.L2(_L2)
            lab.fit(
                model,
                _SNIP_EPOCHS[name],
                lambda steps: _stepwise(lab, steps),
                data=data.everything,
            )
            rows.append(
                lab.row(
                    f"SNIP, {name}, {density:.0%} kept",
                    model,
                    data=data,
                    paper=error,
                    at_most=error,
                    at_least_ratio=1 / density,
                    note=f"{_SNIP_EPOCHS[name]} epochs, the last; the authors' code "
                    "reports the best of ten checkpoints on the test set",
                )
            )
    return rows


def _stepwise(lab, steps):
    """Momentum, with a rate divided by ten after half and after three quarters."""
    optimizers = lab.keras.optimizers
    rate = optimizers.schedules.PiecewiseConstantDecay(
        [steps // 2, steps * 3 // 4], [0.1, 0.01, 0.001]
    )
    return optimizers.SGD(rate, momentum=0.9)


def _standardized(data):
    """Pixels with mean 0 and deviation 1, as in the authors' code."""
    mean, deviation = data.everything[0].mean(), data.everything[0].std()
    parts = [
        ((x - mean) / deviation, labels) for x, labels in (data.everything, data.test)
    ]
    return type(data)(*parts)


def collapse(lab):
    """LeNet-300-100 at 1 % and below, with the share left of each layer."""
    return _collapse(lab, lab.lenet_300_100)


def collapse_deep(lab):
    """The same with six hidden layers of 100, where nothing may pass any more."""

    def build():
        layers = lab.keras.layers
        hidden = [layers.Dense(100, "relu") for _ in range(_DEEP)]
        chain = [layers.Flatten(), *hidden, layers.Dense(10)]
        return lab.keras.Sequential([lab.keras.Input((28, 28, 1)), *chain], name="deep")

    return _collapse(lab, build)


def _collapse(lab, build):
    rows = []
    for density in _DENSITIES:
        for criterion in _CRITERIA:
            lab.restart()
            dense = build()
            model = _pruned(lab, dense, criterion, density, 250, lab.mnist)
            left = [
                np.count_nonzero(weight)
                for weight in lab.tfc.strip(model).weights
                if weight.name == "kernel"
            ]
            lab.fit(model, _COLLAPSE_EPOCHS)
            rows.append(
                lab.row(
                    f"{criterion}, {dense.name}, {density:.1%} kept",
                    model,
                    of=dense,
                    note=f"{_COLLAPSE_EPOCHS} epochs; left of each layer: "
                    f"{', '.join(map(str, left))}",
                )
            )
    return rows


def _pruned(lab, model, criterion, density, num_images, data):
    """A new model with masks, chosen by one batch."""
    tfc = lab.tfc
    x, y = (array[:num_images] for array in data.everything)
    model = tfc.compress(model, {".*": "mask"})
    loss = lab.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss)
    with warnings.catch_warnings():
        # The rows show that layers are nearly cut off.
        warnings.simplefilter("ignore", UserWarning)
        return tfc.prune(model, 1 - density, criterion, scope="global", data=[(x, y)])


ROWS = {"snip": snip, "collapse": collapse, "collapse_deep": collapse_deep}
