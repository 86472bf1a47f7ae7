"""A member of a space as the steps of a recipe."""

import dataclasses
import re

from tfcompress.core.nouns import Criterion
from tfcompress.core.plugin import snake_case
from tfcompress.export.precisions import precision_of
from tfcompress.pruning.criteria import L2
from tfcompress.recipes.recipe import ORIGINAL
from tfcompress.search import kernels
from tfcompress.search.space import MODEL, of_layer

_SOLVER = "sparse_gpt"
_FILE = "float32"
_SHARE_OF_LABELS = 0.3


@dataclasses.dataclass(frozen=True)
class Making:
    """Settings for building members, the same for all.

    Attributes:
        precision: precision of the file.
        codec: codec of the file; None for an ordinary file.
        criterion: the `Criterion` that ranks channels.
        round_to: the number of channels kept in a group is a multiple of this.
        epochs: training epochs of the members that are trained.
        learning_rate: initial learning rate of the training.
    """

    precision: str = _FILE
    codec: str | None = "auto"
    criterion: Criterion = dataclasses.field(default_factory=L2)
    round_to: int = 1
    epochs: int = 0
    learning_rate: float = 1e-3


def steps_of(member, layers, making, path, is_trained=False, is_taught=False):
    """The steps of a `tfc.Recipe`.

    Args:
        member: `{dimension: {name: choice}}`.
        layers: `{path: layer}` of the model that the recipe is for.
        making: a `Making`.
        path: path of the file.
        is_trained: whether weights are trained at the end, with the grids, zeros and
            shared values that were chosen for them.
        is_taught: whether the training also uses the outputs of the original model.
    """
    profile = "custom" if making.codec else "builtin"
    export = {"path": path, "precision": making.precision, "profile": profile}
    if making.codec:
        export["codec"] = making.codec
    return [
        *_structure(member, layers, making),
        *(
            _training(member, layers, making, is_taught)
            if is_trained
            else _storage(member, layers, making.precision)
        ),
        {"export": export},
    ]


def _structure(member, layers, making):
    ratios = {
        re.escape(name): ratio
        for name, ratio in member.get("channels", {}).items()
        if ratio
    }
    if ratios:
        yield {
            "prune_channels": {
                "ratio": ratios,
                "criterion": _written(making.criterion),
                "round_to": making.round_to,
                "reconstruct": True,
            }
        }
    rewrites = {
        re.escape(path): rewrite
        for path, layer in layers.items()
        if (rewrite := kernels.named_factorizer(layer, of_layer(member, path)))
    }
    if rewrites:
        yield {"factorize": {"rewrite": rewrites, "where": list(rewrites)}}


def _written(plugin):
    """A plug-in as recipes name it."""
    name, arguments = snake_case(type(plugin).__name__), plugin.get_config()
    return {name: arguments} if arguments else name


def _storage(member, layers, precision):
    """Steps without training, in which each layer compensates for earlier ones."""
    sparse = _rules(member, layers, "sparsity")
    bits = _rules(member, layers, "bits", but=())
    clusters = _rules(member, layers, "clusters")
    yield from _methods(member, precision)
    if sparse:
        arguments = {"sparsity": sparse, "solver": _SOLVER}
        yield {"prune_weights": {**arguments, **({"bits": bits} if bits else {})}}
    elif bits:
        yield {"quantize_weights": {"bits": bits, "rounding": "gptq"}}
    if clusters:
        rules = {name: _codebook(number) for name, number in clusters.items()}
        yield {"compress": {"rules": rules}}
        yield "strip"


def _methods(member, precision):
    """Quantization of the whole model, if it is chosen by the ladder."""
    if member.get("equalization", {}).get(MODEL):
        yield "equalize"
    rounding = member.get("rounding", {}).get(MODEL)
    if rounding is None:
        return
    yield {"quantize_activations": {"ranges": "mse", "samples": True}}
    arguments = {"bits": precision_of(precision).weight_bits, "rounding": rounding}
    if rounding == "bias_correction":
        arguments["rounding"] = "nearest"
    yield {"quantize_weights": {**arguments, "correct_bias": rounding != "nearest"}}


def _training(member, layers, making, is_taught):
    """The same with transforms that are kept up while weights are trained."""
    sparse = _rules(member, layers, "sparsity")
    if sparse:
        yield {"prune_weights": {"sparsity": sparse, "solver": _SOLVER}}
    rules = {name: ["mask"] for name in sparse}
    for name, bits in _rules(member, layers, "bits", but=()).items():
        rules.setdefault(name, []).append({"learned_step": {"bits": bits}})
    for name, number in _rules(member, layers, "clusters").items():
        rules.setdefault(name, []).append(_codebook(number))
    if rules:
        yield {"compress": {"rules": rules}}
    if precision_of(making.precision).holds_ranges:
        yield "quantize_activations"
    fit = {
        "epochs": making.epochs,
        "learning_rate": making.learning_rate,
        "decay": "cosine",
    }
    if is_taught:
        fit["distillation"] = {"teacher": ORIGINAL, "alpha": _SHARE_OF_LABELS}
    yield {"fit": fit}
    yield "strip"


def _codebook(num_clusters):
    return {"codebook": {"num_clusters": num_clusters, "initialization": "optimal"}}


def _rules(member, layers, dimension, but=(0, None)):
    """`{pattern: choice}` of the layers, or of the layers that replace them."""
    return {
        re.escape(name): choice
        for path, choice in member.get(dimension, {}).items()
        if choice not in but
        for name in kernels.paths_of_parts(path, layers[path], of_layer(member, path))
    }
