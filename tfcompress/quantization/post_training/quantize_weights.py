"""Weights rounded to few bits without training."""

import keras
import numpy as np

from tfcompress.core.cloning import rebuild
from tfcompress.core.errors import check_model
from tfcompress.core.matrices import from_matrix, to_matrix
from tfcompress.core.nouns import Rounding
from tfcompress.core.rules import Rule, check_used, last_match
from tfcompress.core.walk import weight_refs
from tfcompress.quantization.post_training.folded import folded, matrix_layers
from tfcompress.quantization.post_training.inputs import measure
from tfcompress.quantization.post_training.scales import SCALES, channel_scales
from tfcompress.quantization.post_training.side_by_side import run_side_by_side


def quantize_weights(
    model,
    bits=8,
    samples=None,
    rounding="nearest",
    scales="output_mse",
    correct_bias=True,
):
    """Returns a plain copy of `model` whose kernels lie on grids of few bits.

    Symmetric, with one step for each output channel and `2^(bits - 1) - 1` levels on each
    side of zero. `tfc.export_tflite` finds the grids again and writes exactly these
    integers, in int8 and int4 files. Layers are treated in the order they run, each with
    the inputs that it gets behind the layers rounded before it; rounded activations
    (`tfc.quantize_activations`, called before) count among these errors. Batch norm is
    folded first.

    With `correct_bias` each bias makes good the mean error of its channel:

        b += E[x]ᵀ W - E[z]ᵀ W̃

    over the rows `x` that the exact model feeds the layer and `z` that the quantized one
    does. Rounding then only minds what is left, the deviations from the mean.

    Args:
        model: a Sequential or Functional model, or a subclassed one whose `call` uses
            Keras only; compressed models are stripped.
        bits: 2 to 8 for the kernels of dense and convolution layers; depthwise kernels
            get 8, as in int4 files. Or `{pattern: bits}` with patterns as in
            `tfc.compress`; kernels without a pattern stay as they are.
        samples: an array, or `{input name: array}`: some hundred typical inputs. Without
            them there are `rounding="nearest"`, `scales="max"` or `"mse"`, and
            `correct_bias=False`.
        rounding: a `Rounding` or its name: `"nearest"`, `"gptq"` or `"ada_round"`.
        scales: how a channel's step is chosen. `"max"`: the largest weight is the last
            level. `"mse"` clips where that lessens the squared error of the weights,
            `"output_mse"` that of the layer's outputs.
        correct_bias: whether biases make good the mean error; layers without a bias
            are left as they are.

    Raises:
        TypeError: if `model` is not a Keras 3 model.
        ValueError: if an argument is out of range, samples are missing or do not fit, or
            a pattern matches nothing.

    Source: bias correction: Nagel et al., "Data-Free Quantization Through Weight
    Equalization and Bias Correction" (2019), section 4.2, measured on data.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
        >>> small = tfc.quantize_weights(model, bits=4, samples=x, rounding="gptq")
        >>> len(np.unique(small.layers[1].kernel[:, 0])) <= 15
        True
    """
    check_model(model, "quantize")
    rounding = Rounding.get(rounding)
    if scales not in SCALES:
        raise ValueError(f"scales={scales!r}: expected one of {', '.join(SCALES)}.")
    needs_moments = rounding.needs_inputs or scales == "output_mse"
    if samples is None and (needs_moments or correct_bias):
        raise ValueError(
            f"rounding={rounding!r}, scales={scales!r}, correct_bias={correct_bias} need "
            "samples: typical inputs, such as x[:256]."
        )
    flat = folded(model)
    copy = rebuild(flat)
    plan = _plan(flat, bits)

    def visit(exact, layer, *fed):
        if layer.name not in plan:
            return
        inputs = measure(exact, *fed, needs_moments) if fed else None
        weight = to_matrix(exact, exact.kernel.numpy().astype(np.float64))
        bias_moves = correct_bias and layer.use_bias
        seen = inputs.centered() if bias_moves and needs_moments else inputs
        level = 2 ** (plan[layer.name] - 1) - 1
        scale = channel_scales(weight, level, scales, seen and seen.moments)
        rounded = rounding(weight, scale, level, seen) * scale
        layer.kernel.assign(from_matrix(layer, rounded))
        if bias_moves:
            lost = inputs.exact_mean[:, None] @ weight - inputs.mean[:, None] @ rounded
            layer.bias.assign_add(lost.ravel())

    if samples is not None:
        run_side_by_side(flat, copy, samples, visit)
        return copy
    for exact in flat.layers:
        visit(exact, copy.get_layer(exact.name))
    return copy


def _plan(flat, bits):
    """`{layer name: bits}`."""
    layers = matrix_layers(flat)
    if not isinstance(bits, dict):
        _check_bits(bits)
        return {
            layer.name: 8 if isinstance(layer, keras.layers.DepthwiseConv2D) else bits
            for layer in layers
        }
    rules = [Rule(pattern, _check_bits(value)) for pattern, value in bits.items()]
    refs = weight_refs(flat)
    found = {ref.owner.name: last_match(rules, ref) for ref in refs if ref.is_kernel}
    check_used(rules, refs)
    names = {layer.name for layer in layers}
    return {name: rule.value for name, rule in found.items() if rule and name in names}


def _check_bits(bits):
    if not isinstance(bits, int) or not 2 <= bits <= 8:
        raise ValueError(f"bits={bits!r}: expected an integer from 2 to 8.")
    return bits
