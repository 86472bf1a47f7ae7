"""Networks that are pruned before they are trained: SNIP, GraSP, SynFlow."""

import warnings

import numpy as np

# Of the paper: kept share, error in percent.
_SNIP = {
    "lenet_300_100": {0.05: 1.6, 0.02: 2.4},
    "lenet_5": {0.02: 0.8, 0.01: 1.1},
}
# 10,000 steps of 100 images.
_SNIP_EPOCHS = 17
_L2 = 2.5e-4
_COLLAPSE_EPOCHS = 10
_DENSITIES = (0.01, 0.005, 0.002)
_CRITERIA = ("magnitude", "snip", "grasp", "synflow")
_DEEP = 6


def snip(lab):
    """As in the paper: constant rate, kernels only, one batch to score by."""
    rows = []
    for name, published in _SNIP.items():
        for density, error in published.items():
            lab.restart()
            model = _pruned(lab, getattr(lab, name)(), "snip", density, 100)
            for layer in model.layers:
                if hasattr(layer, "inner"):
                    layer.inner.kernel.regularizer = lab.keras.regularizers.L2(_L2)
            lab.fit(model, _SNIP_EPOCHS, lab.keras.optimizers.SGD(0.1))
            rows.append(
                lab.row(
                    f"SNIP, {name}, {density:.0%} kept",
                    model,
                    paper=error,
                    at_most=error,
                    at_least_ratio=1 / density,
                    note="10,200 steps, the paper 10,000",
                )
            )
    return rows


def collapse(lab):
    """LeNet-300-100 at 1 % and below, each layer with what is left of it."""
    return _collapse(lab, lab.lenet_300_100)


def collapse_deep(lab):
    """The same in six hidden layers of 100, where nothing may pass any more."""

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
            model = _pruned(lab, dense, criterion, density, 250)
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


def _pruned(lab, model, criterion, density, num_images):
    """A new model with masks, chosen by one batch."""
    tfc = lab.tfc
    x, y = (array[:num_images] for array in lab.mnist.everything)
    model = tfc.compress(model, {".*": "mask"})
    loss = lab.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss)
    with warnings.catch_warnings():
        # That layers are all but cut off is what the rows show.
        warnings.simplefilter("ignore", UserWarning)
        return tfc.prune(model, 1 - density, criterion, scope="global", data=[(x, y)])


ROWS = {"snip": snip, "collapse": collapse, "collapse_deep": collapse_deep}
