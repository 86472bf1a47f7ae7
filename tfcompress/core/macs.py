"""Multiply-accumulate operations, counted while the model runs symbolically."""

import math

import keras
import tensorflow as tf

from tfcompress.core.cloning import is_graph
from tfcompress.core.keras_internals import producer
from tfcompress.core.layout import layout
from tfcompress.core.recording import recorded
from tfcompress.core.walk import leaf_refs, leaves

_POSITIONS_OF_INPUT = (
    keras.layers.RNN,
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)


def input_specs(model, batch_size=1):
    """A `tf.TensorSpec` for each input of a model, in the structure that it takes.

    Args:
        model: a built model.
        batch_size: batch size of the inputs, unless the model has a fixed one.

    Raises:
        ValueError: if the model's inputs are unknown or have unknown sizes.
    """
    if getattr(model, "is_compressed", False):
        return input_specs(model.inner, batch_size)
    if hasattr(model, "wraps_model"):
        return input_specs(getattr(model, model.wraps_model), batch_size)
    if isinstance(model, keras.Sequential) and model.built:
        inputs = model.inputs[0]
    elif is_graph(model):
        inputs = model.input
    else:
        inputs = _symbolic(_recorded_shape(model), "inputs")
    return keras.tree.map_structure(lambda x: _spec(x, batch_size), inputs)


def _symbolic(shape, name):
    """Symbolic tensors of a shape, or of shapes in a dictionary or list."""
    if isinstance(shape, dict):
        return {key: _symbolic(part, key) for key, part in shape.items()}
    if shape and isinstance(shape[0], (tuple, list)):
        names = [name, *(f"{name}_{number}" for number in range(1, len(shape)))]
        return list(map(_symbolic, shape, names))
    return keras.KerasTensor(shape, name=name)


def _recorded_shape(model):
    shape = (model.get_build_config() or {}).get("input_shape")
    if shape is None:
        raise ValueError(
            f"Model {model.name!r} has no recorded input shape. Call it once on a batch "
            "of data, or build it from a keras.Input. If it was called, then Keras could "
            "not trace its call(), which must not use .numpy() or branch on values."
        )
    return shape


def _spec(tensor, batch_size):
    source = producer(tensor)
    is_input = isinstance(source, keras.layers.InputLayer)
    name = source.name if is_input else tensor.name
    size = (is_input and tensor.shape[0]) or batch_size
    return tf.TensorSpec((size, *tensor.shape[1:]), tensor.dtype, name)


def fixed_batch_size(model):
    """The batch size that a model requires; None if it accepts any."""
    specs = keras.tree.flatten(input_specs(model, None))
    return next((spec.shape[0] for spec in specs if spec.shape[0]), None)


def macs(model):
    """Multiply-accumulate operations (MACs) of each layer with weights for one sample.

    A kernel is used once for each output position (input position for transposed
    convolutions, time step for recurrent layers), so that
    `MACs = kernel elements * positions`. Zeros count: these are the operations of a
    dense kernel. Products of two activations (attention scores) do not count, nor do
    embeddings, except for the product with all of them that `ReversibleEmbedding` computes.

    Args:
        model: a built model.

    Returns:
        `{id(layer): MACs}`, summed over the calls of a shared layer; unknown sizes
        count as 1.
    """
    counts = {}

    def record(layer, inputs, outputs, args, kwargs):
        sizes = inputs if isinstance(layer, _POSITIONS_OF_INPUT) else outputs
        shape = [size or 1 for size in keras.tree.flatten(sizes)[0].shape]
        if isinstance(layer, keras.layers.Embedding):
            found = _embedding_macs(layer, shape, *args[1:2], **kwargs)
        else:
            found = _layer_macs(layer, shape)
        counts[id(layer)] = counts.get(id(layer), 0) + found

    with recorded([layer for _, layer in leaves(model)], record):
        specs = input_specs(model)
        tf.function(lambda x: model(x, training=False)).get_concrete_function(specs)
    return counts


def _embedding_macs(layer, shape, reverse=False, **_):
    is_product = reverse and isinstance(layer, keras.layers.ReversibleEmbedding)
    return layer.output_dim * math.prod(shape[1:]) if is_product else 0


def _layer_macs(layer, shape):
    total = 0
    for ref in leaf_refs(layer):
        if not ref.is_kernel:
            continue
        channels = layout(ref.owner, ref.variable).num_outputs
        is_channels_first = getattr(layer, "data_format", None) == "channels_first"
        positions = math.prod(shape[2:] if is_channels_first else shape[1:-1])
        if isinstance(layer, keras.layers.EinsumDense):
            positions = math.prod(shape[1:]) // channels
        total += math.prod(ref.variable.shape) * max(positions, 1)
    return total
