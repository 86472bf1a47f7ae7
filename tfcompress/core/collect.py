"""Signals of weights, collected over data in one pass."""

import contextlib
import dataclasses

import keras
import numpy as np
import tensorflow as tf

from tfcompress.core.behaviour import batch_norms, is_batch_norm
from tfcompress.core.kinds import Integer
from tfcompress.core.macs import input_specs
from tfcompress.core.nouns import Signal, Signals
from tfcompress.core.optimizers import steps_done
from tfcompress.core.recording import recorded, with_main_argument
from tfcompress.core.replicas import averaged, summed
from tfcompress.core.substituted import call_substituted
from tfcompress.core.walk import leaf_of

_NUM_PROBES = 4
_WITHOUT_LOSS = frozenset({"calls", "norm"})


def collect(model, weights, data, needs, copy=None, batches=None):
    """Collects signals of weights, all of them in one pass over the data.

    Gradients are those of the compiled loss with respect to the effective weight (after
    its transforms, so that masked weights have one too). The model runs in inference
    mode. Workers that train a model together add up their sums.

    Args:
        model: a Keras model, compiled if a signal needs gradients.
        weights: list of `Treatment`, or of objects that have a `ref` and are `watched`
            in the same way; one without transforms stands for a plain weight.
        data: an iterable of batches `(x, y)` or `(x, y, sample_weight)`, such as a
            `tf.data.Dataset`; `x` alone if no signal needs gradients.
        needs: names of signals, or `Signal` objects.
        copy: a model that computes the same, if that one has the weights.
        batches: the maximum number of batches to use; None for all.

    Returns:
        A list with the `Signals` of each weight.

    Raises:
        ValueError: if a signal is unknown or not defined for a weight, or if there is
            no data or no compiled loss.
    """
    return Collector(model, weights, data, needs, copy, batches)()


class Collector:
    """Collects signals as `collect` does, each time it is called.

    What was prepared for the first call is reused by the next ones, when weights or
    masks have changed.

    Args:
        model, weights, data, needs, copy, batches: as in `collect`.
    """

    def __init__(self, model, weights, data, needs, copy=None, batches=None):
        self._source = Source(model, copy or model, weights, data, batches)
        self._signals = {_name(need): Signal.get(need) for need in needs}
        self._stream = None

    def __call__(self):
        """A list with the `Signals` of each weight."""
        source = self._source
        step = steps_done(
            source.model, [weight.ref.variable for weight in source.weights]
        )
        found = [Signals(ref=weight.ref, step=step) for weight in source.weights]
        with _same_metrics(source.model):
            gathered = self._gathered()
        for name, values in gathered.items():
            for of_weight, value in zip(found, values, strict=True):
                of_weight[name] = value
        return found

    def _gathered(self):
        """`{name: one statistic for each weight}`."""
        source = self._source
        streamed = {name: one for name, one in self._signals.items() if one.observes}
        if streamed and self._stream is None:
            self._stream = _Stream(source, streamed)
        gathered = self._stream() if streamed else {}
        return gathered | {
            name: averaged(source.model.distribute_strategy, one.measure(source))
            for name, one in self._signals.items()
            if name not in streamed
        }


@contextlib.contextmanager
def _same_metrics(model):
    """Restores the metrics, which computing the loss changes while a model trains."""
    strategy = model.distribute_strategy
    variables = [variable for metric in model.metrics for variable in metric.variables]
    parts = [
        part
        for variable in variables
        for part in strategy.experimental_local_results(variable.value)
    ]
    before = [part.numpy() for part in parts]
    try:
        yield
    finally:
        for part, value in zip(parts, before, strict=True):
            part.assign(value)


@dataclasses.dataclass(frozen=True)
class Source:
    """What signals are measured with.

    Attributes:
        model: the model, compiled if a signal needs a loss or an optimizer.
        copy: the model that has the weights and computes the same.
        weights: list of `Treatment`, or of objects that have a `ref` and are `watched`
            in the same way.
        data: batches, or None.
        batches: the maximum number of them to use; None for all.
    """

    model: keras.Model
    copy: keras.Model
    weights: list
    data: object = None
    batches: int | None = None
    _prepared: dict = dataclasses.field(default_factory=dict, repr=False, compare=False)

    def prepared(self, signal, make):
        """The result of `make()`, which is called once, however often a signal is measured.

        Args:
            signal: the `Signal`.
            make: a function without arguments.
        """
        if signal not in self._prepared:
            self._prepared[signal] = make()
        return self._prepared[signal]

    def check_data(self, needs):
        """Raises unless there is data for the signals of these names."""
        if self.data is None:
            raise ValueError(
                f"The signals {sorted(needs)} are collected over data: pass data=, an "
                "iterable of batches (x, y)."
            )

    def check_compiled(self, needs):
        """Raises unless there is a loss for the signals of these names."""
        if not self.model.compiled:
            raise ValueError(
                f"The signals {sorted(needs)} need a loss: call "
                "model.compile(loss=...) first."
            )

    def each_batch(self):
        """`(x, y, sample_weight)` of the batches, as the function `each_batch`."""
        return each_batch(self.data, self.batches)


class _Stream:
    """`{name: one statistic for each weight}` of signals that observe batches."""

    def __init__(self, source, signals):
        self._source, self._signals = source, signals
        model = source.model
        observed = frozenset().union(*(signal.observes for signal in signals.values()))
        source.check_data(signals)
        if observed - _WITHOUT_LOSS:
            source.check_compiled(signals)
        step = _Step(
            model, source.copy, source.weights, list(signals.values()), observed
        )
        self._step = tf.function(step, reduce_retracing=True)

    def __call__(self):
        source, signals = self._source, self._signals
        totals = None
        for batch in source.each_batch():
            parts = self._step(*batch)
            parts = tf.nest.map_structure(lambda t: t.numpy().astype(np.float64), parts)
            if totals is not None:
                parts = tf.nest.map_structure(np.add, totals, parts)
            totals = parts
        totals = summed(source.model.distribute_strategy, totals)
        return {
            name: [
                signal.result(sums[position], weight.ref)
                for weight, sums in zip(source.weights, totals, strict=True)
            ]
            for position, (name, signal) in enumerate(signals.items())
        }


def each_batch(data, batches=None):
    """Tensors `(x, y, sample_weight)` of batches, None for missing parts.

    They are tensors, since models whose inputs are a list of one array warn about arrays.

    Args:
        data: an iterable of batches, `x`, `(x, y)` or `(x, y, sample_weight)`.
        batches: the maximum number of batches; None for all.

    Raises:
        ValueError: if there are none, or `batches` is not a positive integer.

    >>> [x.numpy() for x, _, _ in each_batch([(np.ones(2), 2), (3, 4)], batches=1)]
    [array([1., 1.])]
    """
    if batches is not None:
        Integer(1).check("batches", batches)
    count = 0
    for batch in data:
        if count == batches:
            return
        count += 1
        parts = tuple(batch) if isinstance(batch, list) else batch
        unpacked = keras.utils.unpack_x_y_sample_weight(parts)
        yield tf.nest.map_structure(_tensor, unpacked)
    if not count:
        raise ValueError("data is empty: pass at least one batch (x, y).")


def observe(model, layers, data, record, batches=None):
    """Runs a model on batches in inference mode and records the calls of some layers.

    Args:
        model: a Keras model.
        layers: layers of the model.
        data: as in `each_batch`.
        record: as in `tfcompress.core.recording.recorded`.
        batches: as in `each_batch`.

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.ReLU()])
    >>> def show(layer, inputs, outputs, args, kwargs):
    ...     print(layer.name, outputs.numpy())
    >>> observe(model, model.layers, [np.array([[-1.0, 2.0]])], show)  # doctest: +ELLIPSIS
    re_lu... [[0. 2.]]
    """
    with recorded(layers, record):
        for x, _, _ in each_batch(data, batches):
            model(x, training=False)


def _tensor(value):
    return None if value is None else tf.convert_to_tensor(value)


def _name(need):
    return need if isinstance(need, str) else type(need).__name__


class Call:
    """One call of a layer.

    Attributes:
        layer: the layer.
        inputs: its first input, a tensor.
        outputs: its first output, a tensor.
        values: `{id(variable): effective value}` of the layer's variables.
        output_gradient: gradient of each sample's loss with respect to the output; None
            if no signal observes it.
        norm: the call of the batch normalization that reads its outputs; None if there
            is none, or no signal observes it.
    """

    output_gradient = None
    norm = None

    def __init__(self, layer, inputs, outputs, args, kwargs):
        self.inputs = keras.tree.flatten(inputs)[0]
        self.outputs = keras.tree.flatten(outputs)[0]
        # In a compressed layer, the variables stand for other values during the call.
        self.values = {id(v): tf.convert_to_tensor(v.value) for v in layer.variables}
        self.layer, self._arguments = layer, (args, kwargs)

    def run(self, values, inputs):
        """The first output of the same call on other inputs, in inference mode.

        Args:
            values: `{id(variable): tensor}` of the variables to replace.
            inputs: some of the samples.
        """
        args, kwargs = with_main_argument(self.layer, inputs, *self._arguments)
        values = self.values | values
        kwargs = {**kwargs, "training": False}
        done = call_substituted(self.layer, values, *args, **kwargs)
        return keras.tree.flatten(done.outputs)[0]


@dataclasses.dataclass
class Seen:
    """What one batch shows about a weight.

    Attributes:
        ref: its `WeightRef`.
        weight: the effective weight, a tensor.
        calls: the `Call`s of the layer that has it; for a cell, those of its recurrent
            layer.
        gradient: gradient of the mean loss with respect to the effective weight; None
            if no signal observes it.
        curvature: the mean of `v * (H v)` over random signs `v`, with the Hessian `H`
            of the mean loss; None if no signal observes it.
    """

    ref: object
    weight: tf.Tensor
    calls: list
    gradient: tf.Tensor | None = None
    curvature: tf.Tensor | None = None


class _Step:
    """Computes the contribution of a batch to all signals."""

    def __init__(self, model, copy, weights, signals, observed):
        self._model, self._copy = model, copy
        self._weights, self._signals, self._observed = weights, signals, observed

    def __call__(self, x, y, sample_weight):
        if "curvature" in self._observed:
            with tf.GradientTape(persistent=True) as outer:
                values, calls, gradients = self._run((x, y, sample_weight), outer)
                signs, products = _probes(values, gradients)
            curvatures = _curvatures(outer, values, signs, products)
        else:
            values, calls, gradients = self._run((x, y, sample_weight))
            curvatures = [None] * len(values)
        return [
            [
                signal.update(Seen(weight.ref, value[0], calls[i], total, curvature))
                for signal in self._signals
            ]
            for i, (weight, value, total, curvature) in enumerate(
                zip(
                    self._weights, values, map(_sum, gradients), curvatures, strict=True
                )
            )
        ]

    def _run(self, batch, *tapes):
        """Values of each weight, one per call, calls of its layer, and gradients."""
        x, y, sample_weight = batch
        with tf.GradientTape() as tape, contextlib.ExitStack() as stack:
            values = [
                stack.enter_context(weight.watched(tape, *tapes))
                for weight in self._weights
            ]
            calls = self._recorded(stack)
            outputs = self._copy(x, training=False)
            for weight, value in zip(self._weights, values, strict=True):
                # The layer does not run, so no gradients reach it.
                value += [] if value else [weight.ref.variable.value]
            if "norm" in self._observed:
                _join_norms(calls)
            if self._observed <= _WITHOUT_LOSS:
                return values, self._of_weights(calls), [[None] for _ in values]
            loss = self._model.compute_loss(
                x, y, outputs, sample_weight, training=False
            )
        each = [call for of_layer in calls.values() for call in of_layer]
        gradients, slopes = tape.gradient(
            loss,
            [values, [call.outputs for call in each]],
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        samples = tf.shape(keras.tree.flatten(x)[0])[0]
        for call, slope in zip(each, slopes, strict=True):
            call.output_gradient = slope * tf.cast(samples, slope.dtype)
        return values, self._of_weights(calls), gradients

    def _recorded(self, stack):
        """`{id(layer): calls}`, filled while the model runs."""
        layers = {id(leaf): leaf for leaf in (leaf_of(w.ref) for w in self._weights)}
        if "norm" in self._observed:
            layers |= {id(norm): norm for norm in batch_norms(self._copy)}
        calls = {key: [] for key in layers}

        def record(layer, *call):
            calls[id(layer)].append(Call(layer, *call))

        stack.enter_context(recorded(layers.values(), record))
        return calls

    def _of_weights(self, calls):
        return [calls[id(leaf_of(weight.ref))] for weight in self._weights]


def norms_after(model, refs):
    """The batch normalization that reads what the layer of each weight returns.

    Args:
        model: a Keras model, which is traced without data.
        refs: list of its `WeightRef`s.

    Returns:
        For each weight the layer, or None if there is none.

    >>> from tfcompress.core.walk import weight_refs
    >>> dense, norm = keras.layers.Dense(2), keras.layers.BatchNormalization(name="norm")
    >>> model = keras.Sequential([keras.Input((3,)), dense, norm, keras.layers.Dense(1)])
    >>> [norm and norm.name for norm in norms_after(model, weight_refs(model))[::4]]
    ['norm', None]
    """
    layers = {id(layer): layer for layer in map(leaf_of, refs)}
    layers |= {id(norm): norm for norm in batch_norms(model)}
    calls = {key: [] for key in layers}

    def record(layer, *call):
        calls[id(layer)].append(Call(layer, *call))

    with recorded(layers.values(), record):
        run = tf.function(lambda x: model(x, training=False))
        run.get_concrete_function(input_specs(model))
    _join_norms(calls)
    found = [
        [call.norm for call in calls[id(leaf_of(ref))] if call.norm] for ref in refs
    ]
    return [norms[0].layer if norms else None for norms in found]


def _join_norms(calls):
    """Links each call to that of the batch normalization that reads its outputs."""
    each = [call for of_layer in calls.values() for call in of_layer]
    readers = {id(call.inputs): call for call in each if is_batch_norm(call.layer)}
    for call in each:
        call.norm = readers.get(id(call.outputs))


def _sum(gradients):
    """The sum over the calls of a shared layer."""
    return None if gradients[0] is None else tf.add_n(gradients)


def _probes(values, gradients):
    """For each probe, random signs for each weight, and the gradient along them."""
    signs = [
        [tf.where(tf.random.uniform(v[0].shape) < 0.5, -1.0, 1.0) for v in values]
        for _ in range(_NUM_PROBES)
    ]
    totals = list(map(_sum, gradients))
    products = [
        tf.add_n([tf.reduce_sum(g * s) for g, s in zip(totals, probe, strict=True)])
        for probe in signs
    ]
    return signs, products


def _curvatures(tape, values, signs, products):
    """The mean of `v * (H v)` over the probes, for each weight."""
    found = [[] for _ in values]
    for probe, product in zip(signs, products, strict=True):
        columns = tape.gradient(
            product, values, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        for place, sign, column in zip(found, probe, columns, strict=True):
            place.append(sign * tf.add_n(column))
    return [tf.add_n(each) / _NUM_PROBES for each in found]
