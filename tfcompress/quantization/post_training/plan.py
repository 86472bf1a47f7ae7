"""The number of bits for each kernel."""

import keras

from tfcompress.core.kinds import Integer
from tfcompress.core.left_out import warn_of
from tfcompress.core.matrices import kernel_of, to_matrix
from tfcompress.core.rules import Rule, Rules, check_used, last_match
from tfcompress.core.walk import leaf_of, leaves, weight_refs
from tfcompress.quantization.post_training.folded import matrix_layers

# LiteRT has no kernels for blocks of more bits.
MOST_BLOCK_BITS = 4
_BLOCKED = keras.layers.Dense, keras.layers.EinsumDense, keras.layers.Embedding
BITS = Integer(2, 8) | Rules(Integer(2, 8), "bits", "{'dense.*': 4}")


def plan_bits(flat, bits, action, with_tables=False):
    """`{id(layer): bits}`; warns about requested kernels that are not rounded.

    Args:
        flat: a flat functional model.
        bits: bits of all kernels, except that depthwise ones and tables of embeddings get
            8; or `{pattern: bits}`.
        action: the name of the function, for warnings.
        with_tables: whether it rounds tables of embeddings.
    """
    found, refs = matrix_layers(flat, with_tables), weight_refs(flat)
    layers = found.values()
    if isinstance(bits, dict):
        rules = [Rule(pattern, value) for pattern, value in bits.items()]
        matches = [(ref, last_match(rules, ref)) for ref in refs if ref.is_kernel]
        check_used(rules, refs)
        asked = {id(ref.variable): rule.value for ref, rule in matches if rule}
    else:
        asked = dict.fromkeys([id(ref.variable) for ref in refs if ref.is_kernel], bits)
        kinds = keras.layers.DepthwiseConv2D, keras.layers.Embedding
        fine = [layer for layer in layers if isinstance(layer, kinds)]
        asked |= {id(kernel_of(layer)): 8 for layer in fine}
    kernels = {id(kernel_of(layer)) for layer in layers}
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
        f"channels last{', and embeddings,' if with_tables else ''} that are not already "
        "quantized by Keras.",
    )
    planned = {p: a for p, a in found.items() if id(kernel_of(a)) in asked}
    warn_of(
        {p: layer for p, layer in planned.items() if _fits_any_grid(layer)},
        action + " changed nothing of {layers}",
        "Their kernels are zero, or have one weight per output channel, which its scale "
        "represents exactly.",
    )
    return {id(layer): asked[id(kernel_of(layer))] for layer in planned.values()}


def check_blocks(flat, plan, block_size):
    """Raises unless all kernels with 2 to 4 bits can have blocks of this size.

    Args:
        flat: a flat functional model.
        plan: from `plan_bits`.
        block_size: number of inputs that share a step.

    Raises:
        ValueError: if some cannot; names them.
    """
    wrong = [
        f"{path!r} ({type(layer).__name__}, {_inputs(layer)} inputs)"
        for path, layer in matrix_layers(flat, with_tables=True).items()
        if plan.get(id(layer), 8) <= MOST_BLOCK_BITS
        and (not isinstance(layer, _BLOCKED) or _inputs(layer) % block_size)
    ]
    if wrong:
        raise ValueError(
            f"block_size={block_size} does not suit {', '.join(wrong)}: expected Dense, "
            f"EinsumDense or Embedding layers with a multiple of {block_size} inputs "
            "(dimensions of an embedding). Choose the layers that have blocks with "
            "bits={pattern: bits}, or another block size."
        )
    if not any(bits <= MOST_BLOCK_BITS for bits in plan.values()):
        raise ValueError(
            f"block_size={block_size} needs kernels with 2 to {MOST_BLOCK_BITS} bits, got "
            f"{sorted(set(plan.values()))}: LiteRT has no kernels for finer blocks. Omit "
            "block_size, since at 8 bits a step for each output is fine enough, or ask "
            "for bits=4."
        )


def _inputs(layer):
    return to_matrix(layer, kernel_of(layer).numpy()).shape[1]


def _fits_any_grid(layer):
    matrix = to_matrix(layer, kernel_of(layer).numpy())
    return matrix.shape[1] == 1 or not matrix.any()


def path_of(ref):
    """The path of the layer to which a weight belongs."""
    owners = ref.owners[1 : ref.owners.index(leaf_of(ref)) + 1]
    return "/".join(layer.name for layer in owners)
