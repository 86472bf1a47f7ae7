"""The choices for each layer of a model."""

import dataclasses

from tfcompress.core.kinds import Each, Flag, Integer, Kind, Number, OneOf
from tfcompress.core.plugin import did_you_mean
from tfcompress.core.rules import Rule, Rules, check_used, last_match
from tfcompress.core.walk import weight_refs
from tfcompress.factorization.factorize import factorizers
from tfcompress.pruning.channels.selection import free_groups, makers
from tfcompress.quantization.post_training.folded import matrix_layers
from tfcompress.search.kernels import named_factorizer


@dataclasses.dataclass(frozen=True)
class Dimension:
    """Something that can be chosen for each layer, or for each group of channels.

    Attributes:
        kind: the kind of one choice.
        neutral: the choice that changes nothing; it is always allowed.
        usual: the choices if the user specifies none.
        order: 1 if larger choices save more, -1 if smaller ones do, 0 if there is no order.
        is_method: whether it determines how the whole model is quantized, rather than what
            happens to a layer.
    """

    kind: Kind
    neutral: object
    usual: tuple
    order: int = 0
    is_method: bool = False


ROUNDINGS = ("nearest", "bias_correction", "gptq", "ada_round")
DIMENSIONS = {
    # Fractions of a group's channels to remove.
    "channels": Dimension(Number(0, below=1), 0, tuple(i / 8 for i in range(8)), 1),
    # Fractions of the rank to keep.
    "rank": Dimension(Number(above=0, most=1), 1, (0.5, 0.25), -1),
    # Layers of another kind that replace a layer.
    "block": Dimension(OneOf(*factorizers()), None, ("depthwise_separable",)),
    # Fractions of a kernel's weights to remove.
    "sparsity": Dimension(Number(0, below=1), 0, (0.25, 0.5, 0.75, 0.9), 1),
    # Bits per weight.
    "bits": Dimension(Integer(2, 8), 8, (6, 4, 3, 2), -1),
    # Shared values of a kernel, not counting zero.
    "clusters": Dimension(Integer(1, 255), None, (63, 31, 15, 7), -1),
    # Whether the channels of consecutive layers are scaled to the same range.
    "equalization": Dimension(Flag(), False, (True,), is_method=True),
    # How kernels are rounded, with clipping ranges of activations; None: by the converter.
    "rounding": Dimension(OneOf(*ROUNDINGS), None, ROUNDINGS, is_method=True),
}
# The name that choices for the whole model have.
MODEL = "model"
# Dimensions that change how much is computed; the others change what is stored.
STRUCTURE = ("channels", "rank", "block")

_USUAL = {
    "size_bytes": ("sparsity", "bits"),
    "accuracy_drop": ("sparsity", "bits"),
    "macs": ("channels",),
    "latency_ms": ("channels",),
    "memory_bytes": ("channels",),
}


class Choices(Kind):
    """`{dimension: choices}`, with choices for all layers or `{pattern: choices}`."""

    expected = "a space such as {'bits': [8, 4], 'sparsity': {'conv.*': [0.5, 0.75]}}"
    hint = "Mapping[str, Any]"

    def check(self, name, value):
        if not isinstance(value, dict) or not value:
            self.refuse(name, value)
        for key in value:
            if key not in DIMENSIONS:
                raise ValueError(
                    f"{name}: got the dimension {key!r}, expected one of "
                    f"{', '.join(DIMENSIONS)}.{did_you_mean(str(key), DIMENSIONS)}"
                )
        if "bits" in value and "clusters" in value:
            raise ValueError(
                f"{name}: got 'bits' and 'clusters', expected one of them: both determine "
                "which values a weight may have."
            )
        return {
            key: _of_dimension(DIMENSIONS[key]).check(f"{name}[{key!r}]", one)
            for key, one in value.items()
        }

    def wrong(self):
        return ["x", 5, object(), {}, {"bit": [8]}, {"bits": [64]}, {"sparsity": [1]}]


def _of_dimension(dimension):
    kind = dimension.kind
    each = Each(kind, f"choices, each {kind.expected}", least=1)
    if dimension.is_method:
        return each
    return each | Rules(each, "choices", "{'conv.*': [...]}", least=1)


def usual_dimensions(budget, engine):
    """The dimensions to search for a budget, `{dimension: choices}`.

    >>> budget = {"macs": 0.5, "size_bytes": 30_000}
    >>> sorted(usual_dimensions(budget, tfc.search.engines.Knapsack()))
    ['bits', 'channels', 'sparsity']
    """
    names = {name for key in budget for name in _USUAL[key]}
    if engine.chooses_methods:
        names = {name for name in DIMENSIONS if DIMENSIONS[name].is_method}
    return {name: DIMENSIONS[name].usual for name in DIMENSIONS if name in names}


def check_engine(dimensions, engine):
    """Raises if an engine does not support one of the dimensions.

    Raises:
        ValueError: if it chooses methods and a dimension is for layers, or vice versa.
    """
    for name in dimensions:
        if DIMENSIONS[name].is_method != engine.chooses_methods:
            known = [
                one
                for one in DIMENSIONS
                if DIMENSIONS[one].is_method == engine.chooses_methods
            ]
            raise ValueError(
                f"space: got {name!r}, which {type(engine).__name__} does not choose: "
                f"expected one or more of {', '.join(known)}, or another engine."
            )


class Space:
    """All choices for a model.

    A member is `{dimension: {name: choice}}`, with names of layers or, for channels, of the
    first layer that produces a group of them. For channels, an engine may also choose a
    fraction between two choices, or list the positions in the group to remove.

    Args:
        graph: the `ChannelGraph` of the model.
        dimensions: `{dimension: choices}`, as checked by `Choices`.

    Attributes:
        choices: `{dimension: {name: tuple of choices}}`, the neutral one first.

    Raises:
        ValueError: if a pattern matches nothing, or there is nothing to choose.
    """

    def __init__(self, graph, dimensions):
        self.choices = {
            name: _choices(graph, name, values) for name, values in dimensions.items()
        }
        for name, found in self.choices.items():
            if not found:
                what = "group of channels" if name == "channels" else "kernel"
                raise ValueError(
                    f"space[{name!r}] names no {what} of the model {graph.flat.name!r} "
                    "that could be changed. tfc.channel_groups(model) and "
                    "tfc.report(model) list them."
                )

    def check_only_channels(self, called):
        """Raises unless channels are the only dimension.

        Args:
            called: name of the engine that requires it, for the error.

        Raises:
            ValueError: if the space has other dimensions.
        """
        if list(self.choices) != ["channels"]:
            raise ValueError(
                f"{called} chooses channels: got a space of {', '.join(self.choices)}, "
                "expected space={'channels': ...}. The engines 'knapsack', 'optuna' and "
                "'apq' accept others."
            )

    def neutral(self):
        """The member that changes nothing."""
        return {
            dimension: {name: choices[0] for name, choices in of_names.items()}
            for dimension, of_names in self.choices.items()
        }

    def flat(self):
        """`[(dimension, name, choices)]`, one for each choice to make."""
        return [
            (dimension, name, choices)
            for dimension, of_names in self.choices.items()
            for name, choices in of_names.items()
        ]

    def member(self, places):
        """The member with the choice at a given place in each row of `flat`."""
        found = {}
        for (dimension, name, choices), place in zip(self.flat(), places, strict=True):
            found.setdefault(dimension, {})[name] = choices[place]
        return found


def of_layer(member, path):
    """`{dimension: choice}` of one layer, without its channels."""
    return {
        dimension: choices[path]
        for dimension, choices in member.items()
        if dimension != "channels" and path in choices
    }


def _choices(graph, dimension, values):
    """`{name: choices}` of one dimension."""
    if DIMENSIONS[dimension].is_method:
        return {MODEL: _in_order(DIMENSIONS[dimension], values)}
    refs = [ref for ref in weight_refs(graph.flat) if ref.is_kernel]
    names = _names(graph, dimension)
    rules = values if isinstance(values, dict) else {".*": values}
    rules = [Rule(pattern, one) for pattern, one in rules.items()]
    matches = {id(ref.variable): last_match(rules, ref) for ref in refs}
    check_used(rules, refs)
    return {
        name: _in_order(DIMENSIONS[dimension], rule.value)
        for name, kernel in names.items()
        if (rule := matches.get(id(kernel)))
    }


def _in_order(dimension, choices):
    """The neutral choice, then the others in ascending order of what they save."""
    others = [c for c in dict.fromkeys(choices) if c != dimension.neutral]
    if dimension.order:
        others.sort(key=lambda choice: dimension.order * choice)
    return (dimension.neutral, *others)


def _names(graph, dimension):
    """`{name: kernel that rules are matched with}` of layers or groups with choices."""
    if dimension == "channels":
        groups = free_groups(graph)
        return {g.name: makers(graph, [g])[0].variable for g in reversed(groups)}
    layers = matrix_layers(graph.flat)
    if dimension in STRUCTURE:
        # Those inside of other layers, such as attention, stay whole.
        called = set(map(id, graph.flat.layers))
        layers = {
            path: layer
            for path, layer in layers.items()
            if id(layer) in called
            if named_factorizer(layer, {dimension: DIMENSIONS[dimension].usual[0]})
        }
    return {path: layer.kernel for path, layer in layers.items()}
