"""Reads and restores the values of a masked model."""

import numpy as np

from tfcompress.core.walk import weight_paths
from tfcompress.pruning.prune import masked_weights


def snapshot(model):
    """`{path: array}` of all variables of a model except masks, random seeds included."""
    return {path: np.array(v.numpy()) for path, v in _variables(model).items()}


def masks_of(model):
    """`{path: booleans}` of the masks of a model; True = keep."""
    return {weight.path: weight.kept() for weight in masked_weights(model)}


def restore(model, values, masks):
    """Sets the values and masks of a model.

    Masked weights are set to zero, so that no criterion counts them.

    Args:
        model: a model with masks.
        values: as returned by `snapshot`.
        masks: as returned by `masks_of`.

    Raises:
        ValueError: if they do not fit the model.
    """
    variables, weights = _variables(model), masked_weights(model)
    _check_fit(model, "weights", values, variables)
    _check_fit(model, "masks", masks, {w.path: w.treatment.variable for w in weights})
    for path, variable in variables.items():
        variable.assign(values[path])
    for weight in weights:
        weight.mask.mask.assign(masks[weight.path])
        weight.treatment.refresh(after=weight.mask)
    drop_masked(model)


def drop_masked(model):
    """Sets latent weights to zero where they are masked."""
    for weight in masked_weights(model):
        treatment = weight.treatment
        if treatment.transforms[0] is weight.mask:
            treatment.variable.assign(weight.mask.bake(treatment.variable.numpy()))


def fraction_masked(masks):
    """The fraction of all weights with masks that is removed."""
    sizes, kept = zip(
        *((m.size, np.count_nonzero(m)) for m in masks.values()), strict=True
    )
    return 1 - sum(kept) / sum(sizes)


def _variables(model):
    masks = {id(weight.mask.mask) for weight in masked_weights(model)}
    paths = weight_paths(model)
    return {
        paths.get(id(variable), f"state/{position}"): variable
        for position, variable in enumerate(model.variables)
        if id(variable) not in masks
    }


def _check_fit(model, what, arrays, variables):
    expected = {path: tuple(variable.shape) for path, variable in variables.items()}
    given = {path: np.shape(array) for path, array in arrays.items()}
    wrong = sorted(
        path
        for path in expected.keys() | given.keys()
        if expected.get(path) != given.get(path)
    )
    if wrong:
        path = wrong[0]
        raise ValueError(
            f"The {what} do not fit model {model.name!r}: {path} has the shape "
            f"{given.get(path)} in them and {expected.get(path)} in the model (None if "
            f"missing). {len(wrong)} differ in total."
        )
