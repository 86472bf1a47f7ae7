"""Learned noise and gates: what is more noise than signal goes."""

_SAMPLES = 60_000


def _linear(lab, rate):
    """Adam whose rate falls to 0 along a line, as in the papers."""

    def optimizer(steps):
        schedules = lab.keras.optimizers.schedules
        return lab.keras.optimizers.Adam(schedules.PolynomialDecay(rate, steps, 0.0))

    return optimizer


def _warmup(lab, begin, end):
    """From epoch to epoch."""
    begin, end = (epoch * lab.steps(1) for epoch in (begin, end))
    return lab.tfc.callbacks.PenaltyWarmup(begin, end)


def _variational(lab, name, epochs, warmup, **target):
    dense = lab.dense(name)
    dropout = lab.tfc.transforms.SparseVariationalDropout(_SAMPLES)
    model = lab.tfc.compress(dense, {".*": dropout})
    lab.fit(model, epochs, _linear(lab, 2e-3), [_warmup(lab, *warmup)])
    note = f"{epochs} epochs of a trained network; the paper: 200"
    method = "sparse variational dropout"
    return [lab.row(method, model, note=note, **target)]


def variational_300_100(lab):
    """Published: 68x at 1.92 %."""
    target = {"paper": 1.92, "at_most": 1.92, "at_least_ratio": 68}
    return _variational(lab, "lenet_300_100", 60, (0, 10), **target)


ROWS = {"sparse variational dropout, LeNet-300-100": variational_300_100}
