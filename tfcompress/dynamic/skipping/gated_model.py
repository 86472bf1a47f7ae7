"""What all residual networks with gates share."""

import threading

import keras
import numpy as np
from keras import ops

from tfcompress.core.cloning import rebuild
from tfcompress.core.data import Samples
from tfcompress.core.graph import Graph, editable, rewire
from tfcompress.core.kinds import Integer, checked
from tfcompress.core.macs import macs
from tfcompress.dynamic.skipping.blocks import find_blocks
from tfcompress.dynamic.skipping.deployed import deployed
from tfcompress.dynamic.skipping.gates import GatedAdd
from tfcompress.dynamic.skipping.rewired import rewired_outputs


class GatedModel(keras.Model):
    """A model with a gate for each residual block.

    Args:
        model: a built Keras model.
        at: as for `find_blocks`.
        make_gates: `(inputs, blocks, total MACs) -> (gate_of, tensors)`, where
            `gate_of(x, block) -> gate` returns a gate of 0 or 1, `(batch, 1)`, and
            `tensors()` returns all `gates` and their `logits`, `(batch, blocks)`.
        name: name of the model.

    Attributes:
        blocks: names of the blocks that have a gate, in execution order.
        gated: the functional model with `outputs`, `gates` and `logits`.
    """

    # Where the model is: it has the inputs, and rules name its weights.
    wraps_model = "gated"

    def __init__(self, model, at, make_gates, name):
        super().__init__(name=name, dtype=model.dtype_policy, autocast=False)
        flat = editable(model, "put gates into")
        graph = Graph(flat)
        blocks = find_blocks(flat, graph, at)
        total = max(sum(macs(flat).values()), 1)
        gate_of, tensors = make_gates(flat.inputs, blocks, total)
        stand_ins = {one.addition.key: _gated(one, gate_of) for one in blocks}
        outputs = rewired_outputs(flat, graph, stand_ins)
        self.blocks = [block.name for block in blocks]
        self.gated = rebuild(
            keras.Model(flat.input, {"outputs": outputs, **tensors()}, name=flat.name)
        )
        self._output_names = list(flat.output_names)
        with_gates = sum(macs(self.gated).values())
        self._shares = np.array([block.macs / total for block in blocks], "float32")
        self._fixed_share = with_gates / total - float(self._shares.sum())
        self._latest = threading.local()
        self._macs_metric = keras.metrics.Mean("macs")
        self.built = True

    @property
    def output_names(self):
        """The model's output names, usable as keys for losses and metrics."""
        return self._output_names

    def call(self, inputs, training=None):
        """The outputs of the model."""
        self._latest.run = self.gated(inputs, training=training)
        return self._latest.run["outputs"]

    def _run_of(self, x, y_pred, training):
        """Outputs, gates and logits of the call that returned `y_pred`."""
        run = getattr(self._latest, "run", None)
        flat = keras.tree.flatten(y_pred)
        if run is None or keras.tree.flatten(run["outputs"])[0] is not flat[0]:
            # Keras, or a user, asks for the loss without the call.
            run = self.gated(x, training=training)
        return {k: ops.cast(run[k], "float32") for k in ("gates", "logits")}

    def _used(self, gates):
        """The share of MACs that each sample uses."""
        return self._fixed_share + ops.sum(gates * self._shares, axis=-1)

    @checked
    def decisions(self, x: Samples(), batch_size: Integer(1) = 32):
        """Which samples run which block.

        Args:
            x: inputs.
            batch_size: samples per batch.

        Returns:
            `{block: boolean array (samples,)}`.
        """
        gates = self._predicted_gates(x, batch_size)
        return {name: gates[:, k] > 0 for k, name in enumerate(self.blocks)}

    @checked
    def macs_used(self, x: Samples(), batch_size: Integer(1) = 32):
        """The share of the model's MACs that each sample uses, including those of gates.

        Args:
            x: inputs.
            batch_size: samples per batch.

        Returns:
            Array `(samples,)`; above 1 if all blocks run, since gates cost some MACs.
        """
        gates = self._predicted_gates(x, batch_size)
        return ops.convert_to_numpy(self._used(gates))

    def _predicted_gates(self, x, batch_size):
        return self.gated.predict(x, batch_size=batch_size, verbose=0)["gates"]

    def plain(self):
        """The model without gates: a functional copy in which every block runs."""

        def call(key, operation, /, *args, **kwargs):
            if isinstance(operation, GatedAdd):
                shortcut, branch, _ = args
                name = operation.name.removesuffix("_gated")
                return keras.layers.Add(name=name)([shortcut, branch])
            return operation(*args, **kwargs)

        outputs = self.gated.output["outputs"]
        return rewire(keras.Model(self.gated.input, outputs), call)

    def deployed(self):
        """A functional copy that runs only what it needs, for `tfc.export_tflite`.

        In a file for one sample, blocks whose gate is closed take no time (`IF`). In
        integer files, rounding opens or closes gates near their threshold, which may exceed
        what the check of the file allows: then compare the accuracy, and export with
        `verify=False`. Blocks that no sample runs stay float.
        """
        return deployed(self.gated, self.name)


def _gated(block, gate_of):
    """A function that replaces the addition of a block."""

    def stand_in(current):
        x, branch = current(block.shortcut), current(block.branch)
        gate = gate_of(x, block.name)
        return GatedAdd(name=f"{block.name}_gated")(x, branch, gate)

    return stand_in
