"""Rounds weights to few bits without training."""

import keras
import numpy as np

from tfcompress.core.cloning import rebuild
from tfcompress.core.data import Samples
from tfcompress.core.keras_internals import all_layers
from tfcompress.core.kinds import BuiltModel, Flag, OneOf, PlugIn, checked
from tfcompress.core.left_out import warn_of
from tfcompress.core.matrices import (
    bias_of,
    from_matrix,
    is_table,
    kernel_of,
    to_matrix,
)
from tfcompress.core.nouns import Rounding
from tfcompress.quantization.post_training.folded import folded, matrix_layers
from tfcompress.quantization.post_training.inputs import measure
from tfcompress.quantization.post_training.nearest import Nearest
from tfcompress.quantization.post_training.plan import (
    BITS,
    MOST_BLOCK_BITS,
    check_blocks,
    plan_bits,
)
from tfcompress.quantization.post_training.scales import (
    SCALES,
    block_scales,
    channel_scales,
)
from tfcompress.quantization.post_training.side_by_side import run_side_by_side

BLOCK_SIZES = (32, 64, 128, 256)


@checked
def quantize_weights(
    model: BuiltModel(),
    bits: BITS = 8,
    samples: Samples() = None,
    rounding: PlugIn(Rounding) = "nearest",
    scales: OneOf(*SCALES) = "output_mse",
    correct_bias: Flag() = True,
    block_size: OneOf(*BLOCK_SIZES, None) = None,
) -> keras.Model:
    """Returns a plain copy of `model` with kernels rounded to few bits.

    The grids are symmetric, with one step per output channel and `2^(bits - 1) - 1` levels
    on each side of zero. `tfc.export_tflite` recovers the grids and writes exactly these
    integers to int8 and int4 files, and to `"dynamic"` and `"dynamic_int4"` files, in which
    only weights are integers. Layers are rounded in execution order, each for the
    inputs that it gets after the layers rounded before it; these also contain the errors of
    rounded activations, if `tfc.quantize_activations` was called before. Batch norm is
    folded first, and LoRA updates are added to their kernels.

    Embeddings have a step for each row, and are rounded to the nearest levels.

    Layers inside other layers are treated like all others. A warning names kernels that are
    not rounded (such as recurrent kernels, transposed and separable convolutions), or only
    rounded to the nearest level because their inputs cannot be recorded.

    With `correct_bias`, each bias compensates for the mean error of its channel:

        b += E[x]ᵀ W - E[z]ᵀ W̃

    over the rows `x` that the exact model feeds the layer and the rows `z` that the
    quantized model feeds it. Rounding then only considers the deviations from the mean.

    Args:
        model: a Sequential or Functional model, or a subclassed one whose `call` uses
            only Keras; compressed models are stripped.
        bits: 2 to 8 for the kernels of dense and convolution layers and of `EinsumDense`
            (which attention contains); depthwise kernels and embeddings get 8, as in
            int4 files. Or `{pattern: bits}` with patterns as in `tfc.compress`; kernels
            that match no pattern are not changed.
        samples: a few hundred typical inputs: an array, `{input name: array}` or a dataset
            of batches. Without samples, only `rounding="nearest"`, `scales="max"` or
            `"mse"`, and `correct_bias=False` are possible.
        rounding: a `Rounding` or its name: `"nearest"`, `"gptq"` or `"ada_round"`.
        scales: how a channel's step is chosen. `"max"`: the largest weight is the last
            level. `"mse"` clips if that reduces the squared error of the weights,
            `"output_mse"` that of the layer's outputs.
        correct_bias: whether biases compensate for the mean error; layers without a bias
            are not changed.
        block_size: None, or the number of consecutive inputs of an output that share a
            step: 32, 64, 128 or 256, for the kernels with 2 to 4 bits, all of which must
            have a multiple of it as inputs and be dense, `EinsumDense` or embeddings. It
            costs 16 / `block_size` bits per weight. Only `"dynamic_int4"` files hold
            blocks; the steps have 8 significant bits, with which LiteRT computes.

    Raises:
        TypeError: if `model` is not a Keras 3 model.
        ValueError: if an argument is out of range, samples are missing or do not match, a
            pattern matches nothing, or a kernel cannot have such blocks.

    Source: blocks: Dettmers and Zettlemoyer, "The case for 4-bit precision: k-bit Inference
    Scaling Laws" (2023), section 3; bias correction: Nagel et al., "Data-Free Quantization
    Through Weight Equalization and Bias Correction" (2019), section 4.2, measured on data.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
        >>> small = tfc.quantize_weights(model, bits=4, samples=x, rounding="gptq")
        >>> len(np.unique(small.layers[1].kernel[:, 0])) <= 15
        True
    """
    needs_moments = rounding.needs_inputs or scales == "output_mse"
    if samples is None and (needs_moments or correct_bias):
        raise ValueError(
            f"rounding={rounding!r}, scales={scales!r}, correct_bias={correct_bias} need "
            "samples: typical inputs, such as x[:256]."
        )
    flat = folded(model)
    copy = rebuild(flat)
    plan = plan_bits(flat, bits, "quantize_weights", with_tables=True)
    if block_size:
        check_blocks(flat, plan, block_size)
    pairs = zip(all_layers(flat), all_layers(copy), strict=True)
    task = plan, rounding, scales, block_size
    unseen = {id(exact): (exact, layer) for exact, layer in pairs if id(exact) in plan}

    def visit(exact, layer, exact_inputs, inputs):
        del unseen[id(exact)]
        bias = bias_of(layer) if correct_bias else None
        fed = exact, exact_inputs, inputs
        inputs = measure(*fed, needs_moments, centered=bias is not None)
        weight, rounded = _round(exact, layer, *task, inputs)
        if bias is not None:
            lost = inputs.exact_mean[:, None] @ weight - inputs.mean[:, None] @ rounded
            bias.assign_add(lost.reshape(bias.shape))

    if samples is not None:
        layers = [exact for exact, _ in unseen.values() if not is_table(exact)]
        run_side_by_side(flat, copy, samples, layers, visit)
        blind = {p: a for p, a in matrix_layers(flat).items() if id(a) in unseen}
        warn_of(
            blind,
            "quantize_weights rounded the kernels of {layers} to the nearest levels",
            "Their inputs cannot be recorded: they do not run, or run in a separate graph.",
        )
    for pair in unseen.values():
        _round(*pair, *task)
    return copy


def _round(exact, layer, plan, rounding, scales, block_size, inputs=None):
    """Rounds a copied layer's kernel; returns it before and after, as matrices."""
    if inputs is None and rounding.needs_inputs:
        rounding = Nearest()
    if inputs is None and scales == "output_mse":
        scales = "mse"
    weight = to_matrix(exact, kernel_of(exact).numpy().astype(np.float64))
    bits, moments = plan[id(exact)], inputs and inputs.moments
    level = 2 ** (bits - 1) - 1
    if block_size and bits <= MOST_BLOCK_BITS:
        scale = block_scales(weight, level, block_size, scales, moments)
    else:
        scale = channel_scales(weight, level, scales, moments)
    rounded = rounding(weight, scale, level, inputs) * scale
    kernel_of(layer).assign(from_matrix(layer, rounded))
    return weight, rounded
