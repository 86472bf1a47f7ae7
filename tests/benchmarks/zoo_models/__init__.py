"""Small models in the styles in which people write them, with inputs for each."""

import dataclasses
import importlib

import keras
import numpy as np

NUM_SAMPLES = 8
_MODULES = ("vision", "generative", "text", "series", "tabular")
# Share of the untrained statistics of batch norm. Without it, small differences between
# two images grow a hundredfold in deep networks, and rounding errors with them.
_KEPT = 0.1
EXAMPLES = {}


@dataclasses.dataclass
class Specimen:
    """A model and everything needed to run it.

    Attributes:
        model: a built model.
        inputs: arrays in the structure that the model takes.
        compile: arguments of `compile`; empty for a squared error.
        targets: arrays for `fit`; None for zeros, or for no targets if `compile` has
            no loss.
        logs: names that `fit` reports only if the model's own training step ran.
        run_eagerly: whether tracing would take longer than two steps of training.
        more_inputs: inputs for the statistics of batch norm; None for `inputs`.
    """

    model: keras.Model
    inputs: object
    compile: dict = dataclasses.field(default_factory=dict)
    targets: object = None
    logs: tuple = ()
    run_eagerly: bool = False
    more_inputs: object = None


def example(build):
    """Registers a function that returns a `Specimen` under its name."""
    EXAMPLES[build.__name__] = build
    return build


def noise(*shape, count=NUM_SAMPLES):
    """Samples from a normal distribution, the same ones each time."""
    return np.random.default_rng(0).normal(size=(count, *shape)).astype("float32")


def pictures(size, count=NUM_SAMPLES):
    """Large patches of color with some noise."""
    patches = np.random.default_rng(0).normal(size=(count, 4, 4, 3))
    large = patches.repeat(size // 4, axis=1).repeat(size // 4, axis=2)
    return (large + 0.2 * noise(size, size, 3, count=count)).astype("float32")


def words(length, vocabulary, count=NUM_SAMPLES, lowest=1):
    """Token ids."""
    ids = np.random.default_rng(1).integers(lowest, vocabulary, (count, length))
    return ids.astype("int32")


def names():
    """Names of all models that need only Keras."""
    from zoo_models import applications

    for module in _MODULES:
        importlib.import_module(f"zoo_models.{module}")
    return [*EXAMPLES, *applications.names()]


def build(name):
    """The `Specimen` with that name."""
    from zoo_models import applications, hub

    names()
    keras.utils.set_random_seed(0)
    if name in hub.BACKBONES:
        specimen = hub.build(name)
    elif name in EXAMPLES:
        specimen = EXAMPLES[name]()
    else:
        specimen = applications.build(name)
    if not specimen.model.built:
        specimen.model(specimen.inputs)
    _settle_batch_norm(specimen)
    return specimen


def _settle_batch_norm(specimen):
    """Adopts most of the statistics of one batch, as training would.

    With untrained ones the outputs of a deep model vanish, and then any two agree.
    """
    layers = [
        layer
        for layer in specimen.model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = _KEPT
    if layers:
        more = specimen.more_inputs
        specimen.model(specimen.inputs if more is None else more, training=True)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
