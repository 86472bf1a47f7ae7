"""A member of a space as the steps of a recipe."""

import dataclasses
import re

from tfcompress.core.nouns import Criterion
from tfcompress.core.plugin import snake_case
from tfcompress.pruning.criteria import L2
from tfcompress.search import kernels
from tfcompress.search.space import of_layer

_SOLVER = "sparse_gpt"
_FILE = "float32"


@dataclasses.dataclass(frozen=True)
class Making:
    """How members are made, all of them alike.

    Attributes:
        precision: of the file.
        codec: of the file; None for an ordinary one.
        criterion: the `Criterion` that ranks channels.
        round_to: channels that groups keep a multiple of.
        epochs: of training; 0 for none.
        learning_rate: of the training.
    """

    precision: str = _FILE
    codec: str | None = "auto"
    criterion: Criterion = dataclasses.field(default_factory=L2)
    round_to: int = 1
    epochs: int = 0
    learning_rate: float = 1e-3


def steps_of(member, layers, making, path):
    """The steps of a `tfc.Recipe`.

    Args:
        member: `{dimension: {name: choice}}`.
        layers: `{path: layer}` of the model that the recipe is for.
        making: a `Making`.
        path: of the file.
    """
    steps = [*_structure(member, layers, making), *_training(member, layers, making)]
    steps += _storage(member, layers)
    profile = "custom" if making.codec else "builtin"
    export = {"path": path, "precision": making.precision, "profile": profile}
    if making.codec:
        export["codec"] = making.codec
    return [*steps, {"export": export}]


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


def _training(member, layers, making):
    if not making.epochs:
        return
    sparse = _rules(member, layers, "sparsity")
    fit = {"epochs": making.epochs, "learning_rate": making.learning_rate}
    if sparse:
        yield {"prune_weights": {"sparsity": sparse, "solver": _SOLVER}}
        yield {"compress": {"rules": dict.fromkeys(sparse, "mask")}}
    yield {"fit": fit}
    yield "strip"


def _storage(member, layers):
    """What is done without training, each layer corrected for those before it."""
    sparse = _rules(member, layers, "sparsity")
    bits = _rules(member, layers, "bits", but=None)
    clusters = _rules(member, layers, "clusters")
    if sparse:
        arguments = {"sparsity": sparse, "solver": _SOLVER}
        yield {"prune_weights": {**arguments, **({"bits": bits} if bits else {})}}
    elif bits:
        yield {"quantize_weights": {"bits": bits, "rounding": "gptq"}}
    if clusters:
        rules = {
            name: {"codebook": {"num_clusters": n, "initialization": "optimal"}}
            for name, n in clusters.items()
        }
        yield {"compress": {"rules": rules}}
        yield "strip"


def _rules(member, layers, dimension, but=(0, None)):
    """`{pattern: choice}` of the layers, or of what takes their places."""
    left_out = but or ()
    return {
        re.escape(name): choice
        for path, choice in member.get(dimension, {}).items()
        if choice not in left_out
        for name in kernels.paths_of_parts(path, layers[path], of_layer(member, path))
    }
