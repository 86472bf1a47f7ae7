"""A trained model whose channels have factors, to learn by gradients which to keep."""

import contextlib

import keras
import numpy as np
import tensorflow as tf

from tfcompress.core.behaviour import batch_norms
from tfcompress.core.substituted import call_substituted
from tfcompress.distillation.losses import KL
from tfcompress.distillation.outputs import output_kinds, to_logits
from tfcompress.export.trace import named_outputs
from tfcompress.measuring.scores import CLASSES
from tfcompress.pruning.channels.masks import unit_axes
from tfcompress.rewrites.batch_norm import by_batch

_DIVERGENCE = KL(temperature=4.0)


class SoftWidths:
    """The model of a `Proxy`, run with mixtures of widths and compared with itself.

    A width keeps the channels that rank highest. A mixture multiplies each channel `u`
    by the sum of the weights of the widths that keep it,

        f_u = Σ_j w_j [width j keeps u]

    by scaling all weights that produce or carry the channel. Batch norms use the
    statistics of the batch: scaling before one then has no effect, and scaling its own
    weights does.

    Args:
        proxy: the `Proxy`; its model is not changed.
        rows: `[("channels", name, ratios)]`, groups of channels.

    Attributes:
        weights: copies of the trainable variables; the model runs with them.
        batches: `[(inputs, outputs of the unchanged model)]`.
    """

    def __init__(self, proxy, rows):
        flat = proxy.graph.flat
        self._model = keras.Model(flat.input, named_outputs(flat, flat.output))
        self._copies = {id(v): keras.Variable(v) for v in flat.trainable_variables}
        self.weights = list(self._copies.values())
        self._masked = {
            id(slot.variable): slot.variable
            for slot in proxy.graph.trace.slots.values()
        }
        self._axes = unit_axes(proxy.graph)
        self._gone = tf.constant(_gone(proxy, rows))
        size = _num_samples(proxy.samples[0])
        self.batches = [
            (inputs, self._model(inputs, training=False))
            for inputs in proxy.samples
            if _num_samples(inputs) == size
        ]
        self._losses = self._of_outputs(proxy)

    def _of_outputs(self, proxy):
        """`{name: loss(student, teacher)}`."""
        _, outputs = self.batches[0]
        kinds = output_kinds(self._model, outputs)
        names = keras.tree.flatten({name: name for name in outputs})
        kinds = dict(zip(names, kinds, strict=True))
        return {
            name: _divergence(kinds[name])
            if task.kind == CLASSES
            else _error(np.concatenate([exact[name] for _, exact in self.batches]))
            for name, task in zip(proxy.exact, proxy.tasks, strict=True)
        }

    @contextlib.contextmanager
    def normalized_by_batch(self):
        """A context in which batch norms use the statistics of each batch."""
        with contextlib.ExitStack() as stack:
            for norm in batch_norms(self._model):
                stack.enter_context(by_batch(norm))
            yield

    def outputs(self, inputs, mixtures):
        """The outputs of the model for a batch, `{name: tensor}`.

        Args:
            inputs: inputs of the model.
            mixtures: weights of the widths of each group, `(groups, most widths)`.
        """
        factors = 1 - tf.einsum("gw,gwu->u", mixtures, self._gone)
        values = {key: copy.value for key, copy in self._copies.items()}
        for key, axes in self._axes.items():
            value = values.get(key, self._masked[key].value)
            for units, shape in axes:
                kept = tf.reshape(tf.gather(factors, units), shape)
                value = value * tf.cast(kept, value.dtype)
            values[key] = value
        return call_substituted(self._model, values, inputs, training=False).outputs

    def loss(self, batch, mixtures):
        """The distance of the outputs from those of the unchanged model.

        Classes: `T² KL(softmax(t / T), softmax(s / T))` at a temperature of 4; others:
        the squared error relative to the spread.

        Args:
            batch: one of `batches`.
            mixtures: weights of the widths of each group, `(groups, most widths)`.
        """
        inputs, exact = batch
        outputs = self.outputs(inputs, mixtures)
        parts = [loss(outputs[n], exact[n]) for n, loss in self._losses.items()]
        return tf.add_n(parts) / len(parts)


def _gone(proxy, rows):
    """The units that each width removes, `(groups, most widths, units)`."""
    most = max(2, *(len(ratios) for _, _, ratios in rows))
    found = np.zeros((len(rows), most, proxy.graph.num_units), np.float32)
    for row, (dimension, name, ratios) in enumerate(rows):
        for column, ratio in enumerate(ratios):
            found[row, column] = ~proxy.keep({dimension: {name: ratio}})
    return found


def _num_samples(inputs):
    return len(keras.tree.flatten(inputs)[0])


def _divergence(kind):
    def loss(student, teacher):
        student, teacher = (to_logits(output, kind) for output in (student, teacher))
        return tf.reduce_mean(_DIVERGENCE(student, teacher))

    return loss


def _error(exact):
    spread = np.mean(np.square(exact - exact.mean(axis=0))) or 1.0

    def loss(student, teacher):
        return tf.reduce_mean(tf.square(student - teacher)) / spread

    return loss
