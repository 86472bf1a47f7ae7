"""The same connections in number, chosen by training them and nothing else."""

from tfcompress.core.compress import compress, is_plain
from tfcompress.core.compressed import compressed_parts
from tfcompress.core.walk import own_variables, weight_refs
from tfcompress.transforms.annealing import Annealing
from tfcompress.transforms.edge_popup import EdgePopup


def chosen_by_training(model, masks):
    """A model that trains which of its weights stay, and leaves all values as they are.

    Args:
        model: a plain model, as it was in the beginning.
        masks: `{path: booleans}`; in each layer as many weights stay.

    Returns:
        The model and the callback that it must be trained with.

    Raises:
        ValueError: if the model has transforms of its own.
    """
    if not is_plain(model):
        raise ValueError(
            f"control('edge_popup'): got {model.name!r}, which is compressed, expected a "
            "ticket of a plain model, whose weights are left as they were drawn."
        )
    kept = {}
    for ref in weight_refs(model):
        if ref.path in masks:
            kept.setdefault(id(ref.owner), []).append(masks[ref.path])
    rules = {
        _is(ref.owner): EdgePopup(_sparsity(kept[id(ref.owner)]))
        for ref in weight_refs(model)
        if ref.path in masks
    }
    popup = compress(model, rules)
    scores = {id(v) for part in compressed_parts(popup) for v in own_variables(part)}
    for variable in popup.trainable_variables:
        variable.trainable = id(variable) in scores
    return popup, Annealing()


def _is(owner):
    return lambda layer: layer is owner


def _sparsity(masks):
    return 1 - sum(int(mask.sum()) for mask in masks) / sum(mask.size for mask in masks)
