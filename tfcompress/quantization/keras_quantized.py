"""Models that Keras itself quantized, as models with float weights on the same grids."""

import keras
import numpy as np

from tfcompress.core.cloning import clone_layer, is_graph
from tfcompress.core.graph import flatten_with_origins, rewire
from tfcompress.core.keras_internals import (
    all_layers,
    make_float,
    quantized_by_keras,
    quantized_weight,
)
from tfcompress.core.kinds import BuiltModel, checked
from tfcompress.core.left_out import warn_of


def is_quantized(model):
    """Whether Keras quantized any layer of a model."""
    return any(map(quantized_by_keras, all_layers(model)))


@checked
def dequantize(model: BuiltModel()) -> keras.Model:
    """Returns a float copy of a model quantized by `model.quantize`, on the same grids.

    Keras stores the weights of `Dense`, `EinsumDense` and `Embedding` as 8-bit or packed
    4-bit integers `q` with steps `s` and zero points `z`, and computes with

        w = q / s  (int8, int4),    w = s (q - z)  (int4 and GPTQ in groups),
        w = s (q - z) / a_i  (AWQ)

    These become ordinary float weights, so that everything here takes the model.
    `tfc.export_tflite` does this itself and recovers the integers from the weights:
    `"dynamic"` files hold those of int8 models, `"dynamic_int4"` files those of int4, GPTQ
    and AWQ models in groups of 32, 64, 128 or 256 consecutive inputs, or one per output;
    other groups, such as those of GPTQ in the order of activations, are rounded anew.
    Inputs of AWQ layers are divided by `a` in an operation of its own, so that their
    weights lie on a grid as well.

    In int8 mode, Keras also rounds the inputs of layers to 8 bits, each row by its largest
    magnitude; LiteRT rounds them likewise in such files, the copy does not.

    Args:
        model: a built model; layers that Keras did not quantize stay as they are.

    Raises:
        TypeError: if `model` is not a Keras 3 model.
        ValueError: if a quantized layer has an unmerged LoRA update.

    Example:
        >>> model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(32)])
        >>> model.quantize("int4")
        >>> plain = tfc.interop.dequantize(model)
        >>> plain.layers[0].kernel.dtype, len(np.unique(plain.layers[0].kernel[:, 0])) <= 16
        ('float32', True)
    """
    copy, divisors = clone_layer(model), {}
    for layer in all_layers(copy):
        if not quantized_by_keras(layer):
            continue
        if getattr(layer, "lora_enabled", False):
            raise ValueError(
                f"Layer {layer.name!r} has a LoRA update next to its integers. Save and "
                "load the model, which merges it."
            )
        weight, divided = quantized_weight(layer)
        make_float(layer, weight)
        if divided is not None:
            divisors[id(layer)] = layer, divided
    if not divisors:
        return copy
    shown = {id(layer) for layer in _graph_layers(copy)}
    _merge([pair for key, pair in divisors.items() if key not in shown])
    return _with_divided_inputs(copy, divisors) if shown & divisors.keys() else copy


def _graph_layers(model):
    """The layers that a graph of the model calls, also in nested graphs."""
    for layer in model.layers if is_graph(model) else ():
        yield layer
        yield from _graph_layers(layer)


def _merge(pairs):
    """Divides the weights of layers whose inputs cannot be divided."""
    for layer, divided in pairs:
        kernel = layer.kernel.numpy()
        rows = kernel.reshape(len(divided), -1) / divided[:, None]
        layer.kernel.assign(rows.reshape(kernel.shape))
    warn_of(
        {layer.name: layer for layer, _ in pairs},
        "dequantize merged the scales of AWQ into the weights of {layers}",
        "They lie inside of other layers, where inputs cannot be divided: their weights "
        "are exact, but on no grid, and are rounded anew when they are exported.",
    )


def _with_divided_inputs(model, divisors):
    flat, origins = flatten_with_origins(model)
    divided = {
        name: divisors[id(layer)][1].astype(np.float32)
        for name, layer in origins.items()
        if id(layer) in divisors
    }

    def call(key, operation, /, *args, **kwargs):
        if key[0] in divided:
            args = (args[0] / divided[key[0]], *args[1:])
        return operation(*args, **kwargs)

    return rewire(flat, call)
