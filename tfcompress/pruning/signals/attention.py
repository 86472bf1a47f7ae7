"""Attention that a trained network pays to each channel."""

import keras
import numpy as np
import tensorflow as tf

from tfcompress.core.cloning import clone_layer, rebuild
from tfcompress.core.collect import observe
from tfcompress.core.compress import strip
from tfcompress.core.graph import flatten_with_origins
from tfcompress.core.nouns import Signal
from tfcompress.core.walk import leaf_of, weight_refs

_EPOCHS = 5
_LEARNING_RATE = 1e-2
_REDUCTION = 4
# Channels initially pass almost unchanged.
_BIAS = 3.0
_WITH_CHANNELS = (keras.layers.Dense, keras.layers.Conv1D, keras.layers.Conv2D)


class Attention(Signal):
    """`E_n[s_nk]` of a squeeze-and-excitation module on each output channel `k`.

    In a copy of the network with frozen weights, the outputs of the layer are
    multiplied by `s = σ(W2 relu(W1 mean(a)))`, with the mean over positions; only the
    modules are trained, for five passes over the data. Then `s` is averaged over all
    samples.

    Raises:
        ValueError: if there is no data or no loss, or a layer is neither dense nor a
            convolution with channels last.

    Source: Yamamoto and Maeno, "PCAS: Pruning channels with attention statistics for deep
    network compression" (2018), section 3.

    Example:
        >>> tfc.signals.get("attention")
        Attention()
    """

    def measure(self, source):
        """The mean attention to the channels of each weight."""
        source.check_data({"attention"})
        source.check_compiled({"attention"})
        for weight in source.weights:
            _check_layer(weight.ref)
        plain = strip(source.copy)
        leaves = {ref.path: leaf_of(ref) for ref in weight_refs(plain)}
        wanted = [leaves[weight.ref.path] for weight in source.weights]
        model, modules = _with_modules(plain, wanted)
        _train(model, list(modules.values()), source)
        found = _means(model, list(modules.values()), source)
        return [found[id(modules[id(layer)])] for layer in wanted]


class _Attended(keras.layers.Layer):
    """A layer whose output channels are multiplied by attention."""

    def __init__(self, layer):
        super().__init__(name=layer.name)
        self.layer = layer
        layer.trainable = False
        channels = layer.kernel.shape[-1]
        self.squeeze = keras.layers.Dense(
            max(1, channels // _REDUCTION), "relu", kernel_initializer=_seeded()
        )
        self.excite = keras.layers.Dense(
            channels,
            "sigmoid",
            kernel_initializer=_seeded(),
            bias_initializer=keras.initializers.Constant(_BIAS),
        )

    def call(self, inputs):
        outputs = self.layer(inputs)
        axes = list(range(1, len(outputs.shape) - 1))
        means = keras.ops.mean(outputs, axes, keepdims=True) if axes else outputs
        return outputs * self.excite(self.squeeze(means))


def _seeded():
    return keras.initializers.GlorotUniform(seed=0)


def _check_layer(ref):
    layer = leaf_of(ref)
    is_known = isinstance(layer, _WITH_CHANNELS) and ref.variable is layer.kernel
    if is_known and getattr(layer, "data_format", None) != "channels_first":
        return
    raise ValueError(
        "Attention multiplies the outputs of dense layers and convolutions with channels "
        f"last; weight {ref.path!r} belongs to a {type(layer).__name__}. Exclude it with "
        "a rule, or use another criterion, such as 'taylor_gate'."
    )


def _with_modules(model, layers):
    """A copy of a model with modules after layers, and `{id(layer): module}`."""
    flat, origins = flatten_with_origins(model)
    wanted, modules = {id(layer) for layer in layers}, {}

    def replace(layer):
        origin, copy = origins.get(layer.name), clone_layer(layer)
        if id(origin) not in wanted:
            return copy
        modules[id(origin)] = _Attended(copy)
        return modules[id(origin)]

    return rebuild(flat, replace), modules


def _train(model, modules, source):
    optimizer = keras.optimizers.Adam(_LEARNING_RATE)
    parts = [part for module in modules for part in (module.squeeze, module.excite)]
    variables = [variable for part in parts for variable in part.trainable_variables]
    optimizer.build(variables)

    @tf.function(reduce_retracing=True)
    def step(x, y, sample_weight):
        with tf.GradientTape() as tape:
            outputs = model(x, training=False)
            loss = source.model.compute_loss(
                x, y, outputs, sample_weight, training=False
            )
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        optimizer.apply(gradients, variables)

    for _ in range(_EPOCHS):
        for batch in source.each_batch():
            step(*batch)


def _means(model, modules, source):
    """`{id(module): mean attention}` over all samples."""
    sums = {id(module.excite): 0.0 for module in modules}
    counts = dict.fromkeys(sums, 0)

    def record(layer, inputs, outputs, *arguments):
        rows = outputs.numpy().reshape(-1, outputs.shape[-1]).astype(np.float64)
        sums[id(layer)] = sums[id(layer)] + rows.sum(axis=0)
        counts[id(layer)] += len(rows)

    gates = [module.excite for module in modules]
    observe(model, gates, source.data, record, source.batches)
    return {
        id(module): sums[id(module.excite)] / counts[id(module.excite)]
        for module in modules
    }
