"""Rules determine which transforms each weight gets."""

import inspect
import re

from tfcompress.core.errors import refuse
from tfcompress.core.kinds import Each, Kind, Mapping, is_function
from tfcompress.core.plugin import did_you_mean
from tfcompress.core.walk import named, names_of, path_of


class Pattern(Kind):
    """What a rule may match: a regular expression, a layer class or a function."""

    expected = (
        "a pattern: a regular expression for layer names, a layer class or a function "
        "of a layer"
    )
    error = TypeError
    hint = "str | Callable[..., Any]"

    def check(self, name, value):
        if not isinstance(value, str) and not is_function(value):
            self.refuse(name, value)
        if isinstance(value, str):
            try:
                re.compile(value)
            except re.error as error:
                hint = (
                    f"{value!r} is not a regular expression: {error}. To match any text, "
                    "write '.*', not '*'."
                )
                refuse(name, value, self.expected, hint)
        return value

    def wrong(self):
        return [5, object(), "*"]


class Expression(Pattern):
    """A regular expression for names or paths of layers."""

    expected = "a regular expression for layer names"
    hint = "str"

    def check(self, name, value):
        if not isinstance(value, str):
            self.refuse(name, value)
        return super().check(name, value)

    def wrong(self):
        return [*super().wrong(), len]


PATTERNS = Each(Pattern(), "patterns of layers")
EXPRESSIONS = Each(Expression(), "regular expressions for layer names")


class Rules(Mapping):
    """`{pattern: value for the layers it matches}`.

    Args:
        kind: the kind of the values.
        plural: a description of the values.
        example: an example of such rules.
        least: how many at least.
    """

    def __init__(self, kind, plural, example, least=0):
        expected = f"{{pattern: {plural}}} such as {example}"
        super().__init__(Pattern(), kind, expected, least)


class Rule:
    """A pattern and its value.

    Args:
        pattern: a regular expression, a layer class, or a predicate `layer -> bool`.
            An expression must match a whole layer name (`"conv.*"`) or path in nested
            models (`"backbone/conv.*"`) and covers the kernels of those layers; with
            the name of a weight at the end (`"conv.*/bias"`) it covers that weight.
        value: what to use where the pattern matches.
    """

    def __init__(self, pattern, value=None):
        self.pattern = Pattern().check("pattern", pattern)
        self.value = value
        self.used = False

    def matches(self, ref):
        """Whether the rule covers a weight (`WeightRef`)."""
        matched = self._matches(ref)
        self.used |= matched
        return matched

    def _matches(self, ref):
        layers = _layers(ref)
        if inspect.isclass(self.pattern):
            return ref.is_kernel and any(isinstance(a, self.pattern) for a in layers)
        if callable(self.pattern):
            return ref.is_kernel and any(self.pattern(layer) for layer in layers)
        head, _, tail = self.pattern.rpartition("/")
        if head and tail == ref.variable.name:
            return _matches_names(head, layers)
        return ref.is_kernel and _matches_names(self.pattern, layers)


def _layers(ref):
    """The layers on the way to a weight; includes the whole model only if it owns it."""
    owners = named(ref.owners)
    return owners[1:] or owners


def _matches_names(expression, layers):
    return matches_part(expression, [n for layer in layers for n in names_of(layer)])


def matches_part(expression, names):
    """Whether an expression is for a part of a path, given as names.

    >>> names = ["block_1", "dense"]
    >>> matches_part("block_.*", names), matches_part("block", names)
    (True, False)
    """
    paths = [
        "/".join(names[i : j + 1]) for j in range(len(names)) for i in range(j + 1)
    ]
    return any(re.fullmatch(expression, path) for path in paths)


def last_match(rules, ref):
    """The last rule that covers a weight, or None: later rules win."""
    matched = [rule for rule in rules if rule.matches(ref)]
    return matched[-1] if matched else None


def check_used(rules, refs):
    """Raises if a rule matched no weight."""
    names = sorted({path_of(layer.name) for ref in refs for layer in _layers(ref)})
    for rule in rules:
        if rule.used:
            continue
        hint = (
            did_you_mean(rule.pattern, names) if isinstance(rule.pattern, str) else ""
        )
        if not names:
            raise ValueError(
                f"Rule {rule.pattern!r} matches no weight, because no layer of this model "
                "has weights that could be treated like this."
            )
        raise ValueError(
            f"Rule {rule.pattern!r} matches no weight: expected a layer with weights, "
            f"{', '.join(names[:20])}{', …' if len(names) > 20 else ''}.{hint} Rules "
            "cover kernels; name other weights as 'layer/bias'."
        )
