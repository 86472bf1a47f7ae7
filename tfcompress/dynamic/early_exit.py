"""Networks that may answer before their last layer."""

import keras
import numpy as np
from keras import ops

from tfcompress.core.behaviour import kept_states
from tfcompress.core.data import Data
from tfcompress.core.errors import did_you_mean
from tfcompress.core.graph import Graph, editable
from tfcompress.core.keras_internals import producer, symbolic_calls
from tfcompress.core.kinds import (
    BuiltModel,
    Each,
    Flag,
    Function,
    Integer,
    Name,
    Number,
    OneOf,
    PlugIn,
    Text,
    checked,
)
from tfcompress.core.nouns import DistillationLoss, ExitRule
from tfcompress.distillation.outputs import ends_in_softmax, to_logits
from tfcompress.distillation.reduction import reduced
from tfcompress.dynamic.stages import cumulative_macs
from tfcompress.dynamic.thresholds import all_plans, solve_thresholds

# The weight of the last exit's loss, if the first one's is 1.
_LAST_WEIGHT = 0.3
_HEAD = Function("head(tensor) that returns the exit's answer, a symbolic tensor")


@keras.saving.register_keras_serializable("tfcompress")
class EarlyExit(keras.Model):
    """A classifier with exits: easy samples leave early and skip the remaining layers.

        L = Σ_i w_i (L_task(y, e_i) + D(e_i, e_K))

    over the exits `e_1 ... e_K`, the last of which is the model's own output. `D` is a
    distillation loss with the last exit as teacher, to which it passes no gradient; it is
    omitted if `distillation` is None. The model compiles, trains and evaluates like any
    Keras model: `compile` takes one loss, and metrics that are created for each exit; its
    outputs are `{"exit_1": ..., "exit_2": ...}`. `network` is the functional model inside,
    with one output per exit, which can be compressed like any other.

        exits = tfc.dynamic.EarlyExit(model, at=["stage1", "stage2"])
        exits.compile("adam", loss, metrics=["accuracy"])
        exits.fit(x, y)
        plan = exits.calibrate((x_val, y_val), macs=0.6)
        tfc.dynamic.export_cascade(exits, plan, "model.tflite")

    Args:
        model: a built classifier with one output, compressed or not, which is copied; or
            a network that already has several outputs, earliest exit first, whose layers
            are used as they are.
        at: names of layers after which an exit is added, on the path from the input to
            the output and in this order; none for a network with several outputs.
        heads: a function that computes an exit's answer from such a layer's output, a
            symbolic tensor; or one function per exit. By default, global average pooling
            if there are positions, and a dense layer with the last layer's activation.
        weights: `"early"`: from 1 for the first exit down to 0.3 for the last, by a
            constant factor; `"equal"`: 1 for each; or one number per exit.
        distillation: a `tfc.distillation` loss on logits, or its name; earlier exits
            learn from the last. `KL(temperature=1)` weighs as much as the task; at
            temperature T its gradients are about T times as large.
        freeze: whether only the heads are trained and the model stays as it is. For a
            trained model, train the heads first, then call `unfreeze` and train everything
            with a lower learning rate: untrained heads would undo what the model has
            learned.
        name: name of the model.

    Attributes:
        network: the functional model.
        macs: list of the multiply-accumulates up to the answer of each exit.

    Raises:
        TypeError: if `model` is not a Keras 3 model.
        ValueError: if a layer is unknown, the output does not depend on it, no weights
            follow it, the layers are not in order, the output shape of a head differs
            from the model's, there are no exits, or the model keeps state between calls.

    Source: Teerapittayanon et al., "BranchyNet: Fast Inference via Early Exiting from
    Deep Neural Networks" (2016), section III; distillation from the last exit as in
    Zhang et al., "Be Your Own Teacher" (2019).

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(6, name="a"),
        ...     keras.layers.ReLU(), keras.layers.Dense(6), keras.layers.Dense(3)])
        >>> exits = EarlyExit(model, at=["a"])
        >>> exits.macs
        [66, 120]
        >>> exits.compile("sgd", keras.losses.SparseCategoricalCrossentropy(True))
        >>> history = exits.fit(np.ones((4, 8)), np.zeros(4), verbose=0).history
        >>> sorted(history)
        ['exit_1_loss', 'exit_2_loss', 'loss']
    """

    # Where the network is: it has the inputs, and rules name its weights.
    wraps_model = "network"

    @checked
    def __init__(
        self,
        model: BuiltModel(),
        at: Each(Text(), "names of layers") = (),
        heads: _HEAD | Each(_HEAD, "functions, one per exit") = None,
        weights: OneOf("early", "equal")
        | Each(Number(0), "numbers, one per exit") = "early",
        distillation: PlugIn(DistillationLoss) = None,
        freeze: Flag() = False,
        name: Name() = None,
    ):
        super().__init__(name=name)
        if not at and (heads is not None or freeze):
            raise ValueError(
                "EarlyExit(at): heads and freeze only apply to added exits: expected "
                "names of layers, at=[...]."
            )
        self.network, self._frozen = (
            _with_exits(model, at, heads, freeze) if at else (model, [])
        )
        shapes = {tuple(output.shape) for output in self.network.outputs}
        if len(self.network.outputs) < 2 or len(shapes) > 1:
            raise ValueError(
                f"EarlyExit: {model.name!r} has outputs of the shapes "
                f"{[tuple(o.shape) for o in self.network.outputs]}; expected several of "
                "equal shape, or names of layers to add exits after: at=[...]."
            )
        if len(self.network.inputs) != 1:
            raise ValueError(
                f"EarlyExit: {model.name!r} has {len(self.network.inputs)} inputs: "
                "expected one, so that each sample can leave on its own."
            )
        if kept_states(self.network):
            raise ValueError(
                f"EarlyExit: {model.name!r} keeps state between calls, which would miss "
                "samples that leave early: expected a model without stateful layers."
            )
        self.exit_names = [
            f"exit_{number + 1}" for number in range(len(self.network.outputs))
        ]
        self.weights_of_loss = _loss_weights(weights, self.exit_names)
        self.distillation = distillation
        self.has_softmax = ends_in_softmax(self.network)
        self.macs = cumulative_macs(self.network)
        self.built = True

    def unfreeze(self):
        """Makes trainable what `freeze` froze; compile again before training.

        Keras ignores `network.trainable = True`, because the network as a whole never
        stopped being trainable.
        """
        for name in self._frozen:
            self.network.get_layer(name).trainable = True
        self._frozen = []

    @property
    def output_names(self):
        """The exits' names, usable as keys for losses and metrics."""
        return self.exit_names

    def call(self, inputs, training=None):
        """`{exit: its answer}`."""
        outputs = self.network(inputs, training=training)
        return dict(zip(self.exit_names, keras.tree.flatten(outputs), strict=True))

    def compile(self, optimizer="rmsprop", loss=None, metrics=None, **kwargs):
        """As for any Keras model; the loss and the metrics are applied to each exit.

        Args:
            optimizer: as for any Keras model.
            loss: one for all exits, or `{exit: loss}`.
            metrics: a list for all exits, or `{exit: list}`.
            **kwargs: as for any Keras model.
        """
        if loss is not None and not isinstance(loss, dict):
            loss = {name: loss for name in self.exit_names}
            kwargs.setdefault("loss_weights", self.weights_of_loss)
        super().compile(optimizer, loss, metrics=self._for_each(metrics), **kwargs)

    def compile_from_config(self, config):
        """Compiles with the arguments used before the model was saved."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def _for_each(self, metrics):
        if metrics is None or isinstance(metrics, dict):
            return metrics
        return {name: [_fresh(m) for m in metrics] for name in self.exit_names}

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        """The weighted sum over the exits."""
        sample_weight = self._shared(sample_weight)
        loss = super().compute_loss(x, self._shared(y), y_pred, sample_weight, training)
        if self.distillation is None or not training:
            return loss
        kind = "softmax" if self.has_softmax else "logits"
        *early, last = (to_logits(y_pred[name], kind) for name in self.exit_names)
        last = ops.stop_gradient(last)
        for name, logits in zip(self.exit_names, early, strict=False):
            values = self.distillation(logits, last)
            weight = sample_weight and sample_weight.get(name)
            loss += self.weights_of_loss[name] * reduced(values, y_pred[name], weight)
        return loss

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """The metrics of each exit."""
        return super().compute_metrics(
            x, self._shared(y), y_pred, self._shared(sample_weight)
        )

    def _shared(self, values):
        """Labels or sample weights for each exit."""
        if values is None or isinstance(values, dict):
            return values
        return {name: values for name in self.exit_names}

    @checked
    def probabilities(self, x, batch_size: Integer(1) = 256):
        """The answers of all exits for samples, an array `(exits, samples, classes)`.

        Args:
            x: inputs, as for `predict`.
            batch_size: samples per batch.
        """
        outputs = self.predict(x, batch_size=batch_size, verbose=0)
        stacked = np.stack([outputs[name] for name in self.exit_names])
        return (
            stacked if self.has_softmax else ops.convert_to_numpy(ops.softmax(stacked))
        )

    @checked
    def calibrate(
        self,
        data: Data(or_inputs=True),
        macs: Number(above=0) = None,
        accuracy_drop: Number(0, below=1) = None,
        rule: PlugIn(ExitRule) = "confidence",
    ):
        """Chooses the thresholds at which samples leave, see `solve_thresholds`.

        Args:
            data: `(x, y)`, or `x` for a budget of MACs; not the training samples, on
                which every exit is overconfident.
            macs: average multiply-accumulates per sample; values up to 1 are a fraction
                of those of all exits.
            accuracy_drop: how much accuracy may be lost compared with the last exit
                alone, a fraction such as 0.01; chooses the cheapest thresholds.
            rule: how the confidence of an exit is measured: a `tfc.dynamic.exit_rules`
                object or its name.

        Returns:
            An `ExitPlan`.

        Raises:
            ValueError: if neither or both of `macs` and `accuracy_drop` are given, labels
                are missing, or no exit meets the budget; the message gives the smallest.
        """
        x, y = data if isinstance(data, (tuple, list)) else (data, None)
        return solve_thresholds(
            self.probabilities(x), self.macs, y, macs, accuracy_drop, rule
        )

    @checked
    def plans(self, data: Data(), rule: PlugIn(ExitRule) = "confidence"):
        """All plans that `calibrate` chooses from, the cheapest first.

        They give the operating points of a `Policy`:

            points = [
                tfc.dynamic.OperatingPoint(
                    {"thresholds": plan.thresholds}, plan.macs, plan.accuracy
                )
                for plan in exits.plans((x_val, y_val))
            ]

        Args:
            data: `(x, y)`, samples not used for training.
            rule: as in `calibrate`.

        Returns:
            A list of `ExitPlan`.
        """
        x, y = data
        plans = all_plans(self.probabilities(x), self.macs, y, rule)
        return sorted(plans, key=lambda plan: plan.macs)

    def get_config(self):
        """The network, whose outputs are the exits, and the training arguments."""
        return {
            "model": keras.saving.serialize_keras_object(self.network),
            "weights": list(self.weights_of_loss.values()),
            "distillation": keras.saving.serialize_keras_object(self.distillation),
            "name": self.name,
            "frozen": self._frozen,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Restores the model."""
        restore = keras.saving.deserialize_keras_object
        arguments = {k: restore(v, custom_objects) for k, v in config.items()}
        frozen = arguments.pop("frozen", [])
        model = cls(**arguments)
        model._frozen = frozen
        return model


def _fresh(metric):
    """A copy of a metric, since exits must not share its state."""
    if not isinstance(metric, keras.Metric):
        return metric
    return type(metric).from_config(metric.get_config())


def _loss_weights(weights, names):
    """`{exit: weight}`."""
    last = len(names) - 1
    if weights == "early":
        weights = [_LAST_WEIGHT ** (i / last) for i in range(len(names))]
    elif weights == "equal":
        weights = [1.0] * len(names)
    if len(weights) != len(names):
        raise ValueError(
            f"EarlyExit(weights): got {len(weights)} numbers for the exits {names}; "
            "expected one per exit, including the last."
        )
    return dict(zip(names, weights, strict=True))


def _with_exits(model, at, heads, freeze):
    """A functional copy of a model with more outputs, the earliest first.

    Returns:
        The copy, and the names of the layers that are frozen.
    """
    flat = editable(model, "add exits to")
    if len(flat.outputs) != 1:
        raise ValueError(
            f"EarlyExit: {model.name!r} has {len(flat.outputs)} outputs: expected one to "
            "add exits to, or at=() if they are already the exits."
        )
    tensors = _exit_tensors(flat, at)
    frozen = [layer for layer in flat.layers if freeze and layer.trainable]
    for layer in frozen:
        layer.trainable = False
    heads = heads or _default_head(flat)
    if not isinstance(heads, (list, tuple)):
        heads = [heads] * len(at)
    if len(heads) != len(at):
        raise ValueError(
            f"EarlyExit(heads): got {len(heads)} functions for {len(at)} exits: expected "
            "one per layer of `at`, or one for all."
        )
    answers = [head(tensor) for head, tensor in zip(heads, tensors, strict=True)]
    for layer, answer in zip(at, answers, strict=True):
        if tuple(answer.shape) != tuple(flat.outputs[0].shape):
            raise ValueError(
                f"EarlyExit: the head after {layer!r} returns the shape "
                f"{tuple(answer.shape)}: expected {tuple(flat.outputs[0].shape)}, that of "
                "the model's own output."
            )
    _make_names_unique(flat, answers)
    network = keras.Model(flat.inputs[0], [*answers, flat.outputs[0]], name=model.name)
    return network, [layer.name for layer in frozen]


def _make_names_unique(flat, answers):
    """Renames operations of heads whose names are taken, as Keras would."""
    known = {id(operation) for operation in flat.operations}
    taken = {operation.name for operation in flat.operations}
    waiting = list(answers)
    while waiting:
        operation = producer(waiting.pop())
        if id(operation) in known:
            continue
        known.add(id(operation))
        name, number = operation.name, 0
        while operation.name in taken:
            number += 1
            operation.name = f"{name}_{number}"
        taken.add(operation.name)
        waiting += [x for call in symbolic_calls(operation) for x in call.input_tensors]


def _exit_tensors(flat, at):
    """The outputs of the named layers, checked to be on the path to the output."""
    graph = Graph(flat)
    nodes = {node.operation.name: node for node in graph.nodes}
    on_path = graph.ancestors(flat.outputs)
    last = max(
        (i for i, node in enumerate(graph.nodes) if _has_weights(node.operation)),
        default=0,
    )
    places = []
    for name in at:
        if name not in nodes:
            raise ValueError(
                f"EarlyExit(at): {flat.name!r} has no layer {name!r}."
                f"{did_you_mean(name, nodes)}"
            )
        node = nodes[name]
        if id(node) not in on_path or len(node.outputs) != 1:
            raise ValueError(
                f"EarlyExit(at): {name!r} is not on the path to the output of "
                f"{flat.name!r}: expected a layer that it depends on."
            )
        places.append(graph.nodes.index(node))
        if places[-1] >= last:
            raise ValueError(
                f"EarlyExit(at): nothing with weights follows {name!r} in {flat.name!r}, "
                "so an exit there would save nothing: name an earlier layer."
            )
    if places != sorted(set(places)):
        raise ValueError(
            f"EarlyExit(at): {list(at)} do not follow each other in {flat.name!r}: "
            "expected different layers in execution order."
        )
    return [nodes[name].outputs[0] for name in at]


def _has_weights(operation):
    return bool(getattr(operation, "weights", ()))


def _default_head(flat):
    classes = flat.outputs[0].shape[-1]
    activation = "softmax" if ends_in_softmax(flat) else None

    def head(tensor):
        positions = range(1, len(tensor.shape) - 1)
        if positions:
            tensor = ops.mean(tensor, axis=list(positions))
        return keras.layers.Dense(classes, activation=activation)(tensor)

    return head
