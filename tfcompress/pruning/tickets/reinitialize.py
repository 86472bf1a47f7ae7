"""Networks whose weights are all reinitialized."""

import keras
import numpy as np

from tfcompress.core.agreement import copy_model
from tfcompress.core.cloning import remake
from tfcompress.core.keras_internals import is_state
from tfcompress.core.kinds import BuiltModel, Integer, checked
from tfcompress.core.walk import leaf_refs, leaves

_MOST_SEED = 2**31


@checked
def reinitialize(model: BuiltModel(), seed: Integer(0) = 0) -> keras.Model:
    """Returns a copy of a model with reinitialized weights.

    Each layer draws from its own initializers; their fixed seeds, if any, are replaced.
    Statistics of batch normalization are reset; those of adapted preprocessing layers
    are kept, as are the masks of a compressed model. It is the control for what a
    pruned network, such as the result of `tfc.prune_channels`, owes to its architecture
    alone: train it for as many epochs (Scratch-E), or for as many operations (Scratch-B).

    Args:
        model: a built Keras model, which is not changed.
        seed: integer seed of the draws.

    Raises:
        TypeError: if `model` is not a Keras 3 model.
        ValueError: if a layer cannot be recreated from its configuration.

    Source: Liu et al., "Rethinking the Value of Network Pruning" (2019), section 3.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> fresh = tfc.pruning.tickets.reinitialize(model)
        >>> np.unique(fresh.layers[0].kernel == model.layers[0].kernel)
        array([False])
    """
    copy = copy_model(model)
    draw_anew(copy, np.random.default_rng(seed))
    return copy


def draw_anew(model, generator):
    """Reinitializes the weights of a model, in place.

    Args:
        model: a built model; compressed layers stay compressed.
        generator: `np.random.Generator`.
    """
    for _, layer in leaves(model):
        refs = [ref for ref in leaf_refs(layer) if not _is_kept(layer, ref)]
        if not refs:
            continue
        fresh = _fresh(layer, generator).variables
        for ref in refs:
            ref.variable.assign(fresh[ref.index].value)


def _is_kept(layer, ref):
    is_statistic = isinstance(layer, keras.layers.BatchNormalization)
    return is_state(ref.owner, ref.variable) and not is_statistic


def _fresh(layer, generator):
    """A built layer like another one, with new weights."""
    fresh = remake(layer, _with_new_seeds(layer.get_config(), generator))
    try:
        fresh.build_from_config(layer.get_build_config() or {})
    except Exception as error:
        raise ValueError(
            f"The weights of layer {layer.name!r} ({type(layer).__name__}) cannot be "
            f"reinitialized: {error}. Create them in build()."
        ) from error
    if [v.shape for v in fresh.variables] != [v.shape for v in layer.variables]:
        raise ValueError(
            f"The weights of layer {layer.name!r} ({type(layer).__name__}) cannot be "
            "reinitialized: its configuration makes others. Create all of them in build()."
        )
    return fresh


def _with_new_seeds(config, generator):
    """A configuration whose initializers have newly drawn seeds."""
    if isinstance(config, (list, tuple)):
        return [_with_new_seeds(part, generator) for part in config]
    if not isinstance(config, dict):
        return config
    new = {key: _with_new_seeds(part, generator) for key, part in config.items()}
    if config.get("module") == "keras.initializers" and "seed" in new["config"]:
        new["config"]["seed"] = int(generator.integers(_MOST_SEED))
    return new
