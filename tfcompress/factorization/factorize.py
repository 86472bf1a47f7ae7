"""Factorises the layers of a model where it pays off, and reports the result."""

import dataclasses
import itertools

import keras
import rich.text

from tfcompress.core.graph import as_graph, flatten_with_origins, warn_of_training
from tfcompress.core.keras_internals import symbolic_calls
from tfcompress.core.kinds import VERBOSE, BuiltModel, Converted, checked
from tfcompress.core.left_out import closed_layers, warn_of
from tfcompress.core.macs import macs
from tfcompress.core.nouns import LayerRewrite
from tfcompress.core.plugin import did_you_mean
from tfcompress.core.rules import PATTERNS, Pattern, Rule, check_used, last_match
from tfcompress.core.text import Table, as_text
from tfcompress.core.walk import (
    INSIDE,
    leaves,
    path_of,
    sublayers,
    tied_layers,
    weight_refs,
)
from tfcompress.core.warn import warn
from tfcompress.factorization.factorizer import Factorizer, work
from tfcompress.rewrites.apply import apply_to_flat
from tfcompress.rewrites.attention import ATTENTION, expand_attention

_CLOSED = "Layers inside a layer that cannot be opened are not replaced."
_TIED = "It shares weights with another layer."


# Converted to rules, whatever users pass.
REWRITES = Converted(
    lambda value: _rules(value), "a factorizer or {pattern: factorizer}"
)


@dataclasses.dataclass(frozen=True)
class LayerFactorization:
    """The factorisation of one layer.

    Attributes:
        name: path of the layer, as in reports.
        layer: its class.
        rewrite: the `Factorizer`.
        shape: shape of its kernel.
        ranks: the chosen ranks; empty if none were chosen.
        macs_before: multiply-accumulates for one sample, over all calls of the layer.
        macs_after: those of the layers in its place, or of the layer itself if it stays.
        parameters_before: number of weights and biases.
        parameters_after: number of weights and biases of the layers in its place.
        error: `‖W - Ŵ‖ / ‖W‖` of the kernel, Frobenius norms; None if the layer stays.
        skipped: why it stays, or None.
    """

    name: str
    layer: str
    rewrite: Factorizer
    shape: tuple
    ranks: tuple
    macs_before: int
    macs_after: int
    parameters_before: int
    parameters_after: int
    error: float | None = None
    skipped: str | None = None


@dataclasses.dataclass(frozen=True)
class FactorizationPlan:
    """The factorisations of the requested layers; prints as a table.

    Attributes:
        model: name of the model.
        layers: list of `LayerFactorization`.
    """

    model: str
    layers: tuple

    @property
    def macs_before(self):
        """Multiply-accumulates of the layers for one sample."""
        return sum(row.macs_before for row in self.layers)

    @property
    def macs_after(self):
        """Multiply-accumulates of the resulting layers."""
        return sum(row.macs_after for row in self.layers)

    @property
    def parameters_before(self):
        """Number of weights and biases of the layers."""
        return sum(row.parameters_before for row in self.layers)

    @property
    def parameters_after(self):
        """Number of weights and biases of the resulting layers."""
        return sum(row.parameters_after for row in self.layers)

    def __getitem__(self, name):
        """The row of a layer, by path."""
        by_name = {row.name: row for row in self.layers}
        if name not in by_name:
            raise KeyError(
                f"No layer {name!r} in the plan for {self.model!r}."
                f"{did_you_mean(name, by_name)}"
            )
        return by_name[name]

    def table(self):
        """A `rich.table.Table`."""
        table = Table(title=f"Factorization of {self.model}", title_justify="left")
        table.add_column("layer", overflow="fold")
        for name in ("kernel", "ranks", "MACs", "parameters", "error"):
            table.add_column(name, justify="right")
        table.add_column("rewrite, or why none", overflow="fold")
        for row in self.layers:
            table.add_row(
                row.name,
                "x".join(map(str, row.shape)),
                ", ".join(map(str, row.ranks)),
                _change(row.macs_before, row.macs_after),
                _change(row.parameters_before, row.parameters_after),
                "" if row.error is None else f"{row.error:.3f}",
                rich.text.Text(row.skipped, "dim")
                if row.skipped
                else repr(row.rewrite),
            )
        table.add_section()
        kept = sum(row.skipped is not None for row in self.layers)
        table.add_row(
            "total",
            "",
            "",
            _change(self.macs_before, self.macs_after),
            _change(self.parameters_before, self.parameters_after),
            "",
            f"{len(self.layers) - kept} layers factorised, {kept} kept",
        )
        return table

    def __str__(self):
        return as_text(self.table(), width=140)


def _change(before, after):
    return f"{before:,}" if before == after else f"{before:,} → {after:,}"


@checked
def factorize(
    model: BuiltModel(),
    rewrite: REWRITES = "svd",
    where: Pattern() | PATTERNS = ".*",
    verbose: VERBOSE = 1,
) -> keras.Model:
    """Returns a copy of `model` with layers split into cheaper ones where it pays off.

    A layer is replaced if the new layers need fewer MACs, and therefore also fewer weights,
    since none of them is used less often than the old one; all others stay, and the plan
    gives the reason. Nested models are expanded, and layers that contain others opened; a
    warning names those that cannot be. Attention is expanded only where a projection is
    replaced. Layers that are called several times stay shared. Factorise first, train, then
    prune, quantize and export: every new layer is an ordinary Keras layer whose name starts
    with the name of the old one.

    Args:
        model: a built `keras.Model`; compressed layers are not changed.
        rewrite: a `tfc.rewrites.Factorizer` object or name: `"svd"`, `"spatial_svd"`,
            `"tucker"`, `"cp"`, `"tensor_train"`, `"depthwise_separable"`,
            `"global_average_head"`; or `{pattern: rewrite}`, where later patterns win.
        where: which layers: a regular expression that must match a whole layer name or
            path, a layer class, a predicate `layer -> bool`, or a list of them.
        verbose: 1 prints the plan.

    Returns:
        A functional model, which computes the approximation until it is trained.

    Raises:
        TypeError: if `model` is not a Keras 3 model.
        ValueError: if the model is not built or its graph cannot be followed, `where` or a
            pattern matches nothing, the rewrite is unknown or not a factoriser, a rank is
            out of range, or a kernel has NaN.

    Example:
        >>> x = keras.Input((16, 16, 8))
        >>> y = keras.layers.Conv2D(32, 3, name="wide")(x)
        >>> model = keras.Model(x, keras.layers.Conv2D(8, 1, name="thin")(y))
        >>> rewrite = tfc.rewrites.SpatialSVD(rank=8)
        >>> small = factorize(model, {"wide": rewrite, "thin": "svd"}, verbose=0)
        >>> [layer.name for layer in small.layers[1:]]
        ['wide_height', 'wide', 'thin_in', 'thin']
    """
    plan, factorized, closed, tied = _factorized(model, rewrite, where)
    if verbose:
        print(plan, end="")
    kept = all(row.skipped for row in plan.layers)
    warn_of(
        closed,
        "factorize left {layers} unchanged" + kept * ", and replaced no other layer",
        _CLOSED
        + " Build them into the model with the functional API to factorise them.",
    )
    warn_of(tied, "factorize left {layers} unchanged", _TIED)
    if kept and not closed and not tied:
        warn(
            f"factorize replaced no layer of {model.name!r}: "
            + "; ".join(f"{row.name!r}, {row.skipped}" for row in plan.layers[:3])
            + ". plan_factorization shows all of them.",
        )
    return factorized


@checked
def plan_factorization(
    model: BuiltModel(), rewrite: REWRITES = "svd", where: Pattern() | PATTERNS = ".*"
) -> FactorizationPlan:
    """What `factorize` would do: ranks, MACs, parameters and error of every layer.

    Args:
        model: as in `factorize`.
        rewrite: as in `factorize`.
        where: as in `factorize`.

    Returns:
        A `FactorizationPlan`, which prints as a table.

    Raises:
        TypeError: as in `factorize`.
        ValueError: as in `factorize`.

    Example:
        >>> dense = keras.layers.Dense(32, name="fc")
        >>> model = keras.Sequential([keras.Input((64,)), dense])
        >>> plan = plan_factorization(model, tfc.rewrites.SVD(rank=8))
        >>> plan["fc"].macs_before, plan["fc"].macs_after
        (2048, 768)
    """
    return _factorized(model, rewrite, where)[0]


def _factorized(model, rules, where):
    graph = as_graph(model, "factorize")
    flat, origins = flatten_with_origins(graph)
    warn_of_training(model, flat, "factorize")
    asked = _Asked(graph, rules, _places(where))
    attention = [
        name
        for name in asked.rules_of(origins)
        if isinstance(flat.get_layer(name), ATTENTION)
    ]
    found, inside = asked.results(flat, origins, attention)
    useful = [
        name
        for name in attention
        if any(found.rows[part].skipped is None for part in inside[name])
    ]
    if useful != attention:
        # The rest is better computed in one operation, as before.
        fewer, _ = asked.results(flat, origins, useful)
        rows = {name: fewer.rows.get(name, row) for name, row in found.rows.items()}
        found = dataclasses.replace(fewer, rows=rows)
    plan = FactorizationPlan(model.name, tuple(found.rows.values()))
    return plan, found.model, found.closed, found.tied


@dataclasses.dataclass(frozen=True)
class _Results:
    """The factorised model, a row for each layer, and layers that could not be."""

    model: keras.Model
    rows: dict
    closed: dict
    tied: dict


@dataclasses.dataclass(frozen=True)
class _Asked:
    """What is to be factorised.

    Attributes:
        graph: the model.
        rules: `Rule` of factorizers.
        places: `Rule` of which layers.
    """

    graph: keras.Model
    rules: list
    places: list

    def results(self, flat, origins, attention):
        """`_Results`, and `{attention layer: names of the layers inside}`.

        Args:
            flat: the flat model.
            origins: `{name of a layer in it: layer of the graph}`.
            attention: names of the attention layers to expand.
        """
        inside = {name: _inside(flat, origins, name) for name in attention}
        origins = {n: layer for n, layer in origins.items() if n not in inside}
        for parts in inside.values():
            origins |= parts
        results = self._on_flat(expand_attention(flat, attention), origins)
        return results, {
            name: results.rows.keys() & parts for name, parts in inside.items()
        }

    def _on_flat(self, flat, origins):
        rewrites = self.rules_of(origins)
        closed = {n: a for n, a in closed_layers(flat).items() if n in rewrites}
        tied = tied_layers(flat)
        tied = {n: a for n, a in tied.items() if n in rewrites.keys() - closed}
        reasons = {**dict.fromkeys(closed, _CLOSED), **dict.fromkeys(tied, _TIED)}
        rows = _rows(flat, rewrites, closed, reasons)
        result = flat
        for rule in self.rules:
            mine = {
                name: rows[name]
                for name in rewrites
                if rewrites[name] is rule and name not in reasons
            }
            survey = _Survey(
                rule.value, mine, taken={op.name for op in result.operations}
            )
            result = apply_to_flat(result, survey)
            rows.update(survey.rows)
        return _Results(result, rows, closed, tied)

    def rules_of(self, origins):
        """`{layer name in the flat model: rule}` for the layers to consider.

        Args:
            origins: `{layer name in the flat model: layer of the graph}`.
        """
        names = {id(layer): name for name, layer in origins.items()}
        refs = [ref for ref in weight_refs(self.graph) if ref.is_kernel]
        matched = {}
        for ref in refs:
            rule = last_match(self.rules, ref)
            if last_match(self.places, ref) and rule:
                # A model's own weights belong to no layer of its graph.
                owners = [
                    names[id(owner)] for owner in ref.owners if id(owner) in names
                ]
                matched.update(dict.fromkeys(owners[-1:], rule))
        check_used([*self.places, *self.rules], refs)
        return matched


def _inside(flat, origins, name):
    """`{name once expanded: layer of the graph}` of what is inside an attention layer."""
    copies, originals = sublayers(flat.get_layer(name)), sublayers(origins[name])
    return {
        f"{name}{INSIDE}{copy.name}": original
        for copy, original in zip(copies, originals, strict=True)
    }


def _rules(rewrite):
    is_rules = (
        isinstance(rewrite, dict)
        and "class_name" not in rewrite
        and not set(rewrite) & set(LayerRewrite.registered)
    )
    rules = rewrite if is_rules else {".*": rewrite}
    return [Rule(pattern, _factorizer(value)) for pattern, value in rules.items()]


def _factorizer(identifier):
    rewrite = LayerRewrite.get(identifier)
    if isinstance(rewrite, Factorizer):
        return rewrite
    raise ValueError(
        f"{rewrite!r} does not factorise; expected one of {factorizers()}. Use "
        "tfc.rewrites.apply for other rewrites."
    )


def factorizers():
    """The names of all factorizers."""
    return [
        name
        for name, cls in LayerRewrite.registered.items()
        if issubclass(cls, Factorizer)
    ]


def _places(where):
    return [Rule(p) for p in (where if isinstance(where, (list, tuple)) else [where])]


def _rows(flat, rewrites, closed, reasons):
    """`{layer name: LayerFactorization}` as if all layers stayed."""
    counts = macs(flat)
    rows = {}
    for name, rule in rewrites.items():
        layer = flat.get_layer(name)
        inner = [leaf for _, leaf in leaves(layer)]
        kernel = next(ref.variable for ref in weight_refs(layer) if ref.is_kernel)
        macs_before = sum(counts.get(id(leaf), 0) for leaf in inner)
        parameters = sum(leaf.count_params() for leaf in inner)
        rows[name] = LayerFactorization(
            name=path_of(name),
            layer=type(layer if name in closed else inner[0]).__name__,
            rewrite=rule.value,
            shape=tuple(kernel.shape),
            ranks=(),
            macs_before=macs_before,
            macs_after=macs_before,
            parameters_before=parameters,
            parameters_after=parameters,
            skipped=reasons.get(
                name, "no layer before it that could be replaced together with it"
            ),
        )
    return rows


class _Survey(LayerRewrite):
    """A factoriser that considers only some layers, and records the result for each.

    Args:
        rewrite: the factoriser.
        rows: `{layer name: LayerFactorization}` of the layers to consider.
        taken: names of the model's layers.
    """

    def __init__(self, rewrite, rows, taken):
        self.rewrite = rewrite
        self.length = rewrite.length
        self.rows = rows
        self._taken = taken
        self._new = {}
        self._seen = set()

    def matches(self, *layers):
        name = layers[-1].name
        # A shared layer is offered once per call.
        if name in self.rows and name not in self._seen:
            self._seen.add(name)
            self.rows[name] = self._weigh(self.rows[name], *layers)
        return name in self._new

    def __call__(self, *layers):
        return self._new[layers[-1].name]

    def _weigh(self, row, *layers):
        objection = self.rewrite.objection(*layers)
        if objection:
            return dataclasses.replace(row, skipped=objection)
        ranks = self.rewrite.ranks(*layers)
        row = dataclasses.replace(row, ranks=ranks)
        macs_after = self._macs_after(ranks, *layers)
        if macs_after >= row.macs_before:
            return dataclasses.replace(
                row, skipped=f"would need {macs_after:,} MACs: choose a lower rank"
            )
        name = layers[-1].name
        self._new[name], error = self.rewrite.build(ranks, *layers)
        self._rename(name)
        return dataclasses.replace(
            row,
            macs_after=macs_after,
            parameters_after=sum(new.count_params() for new in self._new[name]),
            error=error,
            skipped=None,
        )

    def _rename(self, name):
        """Numbers new layers whose names are already taken in the model."""
        for layer in self._new[name]:
            if layer.name != name and layer.name in self._taken:
                names = (f"{layer.name}_{number}" for number in itertools.count(2))
                layer.name = next(n for n in names if n not in self._taken)
            self._taken.add(layer.name)

    def _macs_after(self, ranks, *layers):
        chain = self.rewrite.chain(ranks, *layers)
        calls = symbolic_calls(layers[0])
        return sum(work(chain, call.input_tensors[0].shape)[0] for call in calls)
