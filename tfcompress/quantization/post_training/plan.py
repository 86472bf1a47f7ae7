"""The number of bits for each kernel."""

import keras

from tfcompress.core.kinds import Integer
from tfcompress.core.left_out import warn_of
from tfcompress.core.matrices import to_matrix
from tfcompress.core.rules import Rule, Rules, check_used, last_match
from tfcompress.core.walk import leaf_of, leaves, weight_refs
from tfcompress.quantization.post_training.folded import matrix_layers

BITS = Integer(2, 8) | Rules(Integer(2, 8), "bits", "{'dense.*': 4}")


def plan_bits(flat, bits, action):
    """`{id(layer): bits}`; warns about requested kernels that are not rounded.

    Args:
        flat: a flat functional model.
        bits: bits of all kernels, except that depthwise ones get 8; or `{pattern: bits}`.
        action: the name of the function, for warnings.
    """
    found, refs = matrix_layers(flat), weight_refs(flat)
    layers = found.values()
    if isinstance(bits, dict):
        rules = [Rule(pattern, value) for pattern, value in bits.items()]
        matches = [(ref, last_match(rules, ref)) for ref in refs if ref.is_kernel]
        check_used(rules, refs)
        asked = {id(ref.variable): rule.value for ref, rule in matches if rule}
    else:
        asked = dict.fromkeys([id(ref.variable) for ref in refs if ref.is_kernel], bits)
        depthwise = [a for a in layers if isinstance(a, keras.layers.DepthwiseConv2D)]
        asked |= {id(layer.kernel): 8 for layer in depthwise}
    kernels = {id(layer.kernel) for layer in layers}
    left = {
        path_of(ref): leaf_of(ref)
        for ref in refs
        if id(ref.variable) in asked and id(ref.variable) not in kernels
    }
    if not isinstance(bits, dict):
        left |= {
            path: layer
            for path, layer in leaves(flat)
            if getattr(layer, "quantization_mode", None)
        }
    warn_of(
        left,
        action + " left {layers} unchanged",
        "It rounds kernels of Dense, EinsumDense, Conv1D, Conv2D and DepthwiseConv2D with "
        "channels last that are not already quantized by Keras.",
    )
    planned = {p: layer for p, layer in found.items() if id(layer.kernel) in asked}
    warn_of(
        {p: layer for p, layer in planned.items() if _fits_any_grid(layer)},
        action + " changed nothing of {layers}",
        "Their kernels are zero, or have one weight per output channel, which its scale "
        "represents exactly.",
    )
    return {id(layer): asked[id(layer.kernel)] for layer in planned.values()}


def _fits_any_grid(layer):
    matrix = to_matrix(layer, layer.kernel.numpy())
    return matrix.shape[1] == 1 or not matrix.any()


def path_of(ref):
    """The path of the layer to which a weight belongs."""
    owners = ref.owners[1 : ref.owners.index(leaf_of(ref)) + 1]
    return "/".join(layer.name for layer in owners)
