"""The same number of connections, chosen by training only the choice."""

from tfcompress.core.compress import compress, is_plain
from tfcompress.core.compressed import compressed_parts
from tfcompress.core.walk import own_variables, weight_refs
from tfcompress.transforms.annealing import Annealing
from tfcompress.transforms.edge_popup import EdgePopup


def chosen_by_training(model, masks):
    """A model that trains which of its weights stay and leaves their values unchanged.

    Args:
        model: a plain model in its initial state.
        masks: `{path: booleans}`; as many weights stay in each layer.

    Returns:
        The model and the callback with which it must be trained.

    Raises:
        ValueError: if the model already has transforms.
    """
    if not is_plain(model):
        raise ValueError(
            f"control('edge_popup'): got {model.name!r}, which is compressed, expected a "
            "ticket of a plain model, whose weights keep their initial values."
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
