"""Rules say which transforms each weight gets."""

import inspect
import re

from tfcompress.core.plugin import did_you_mean
from tfcompress.core.walk import named


class Rule:
    """A pattern with what it stands for.

    Args:
        pattern: a regular expression, a layer class, or a predicate `layer -> bool`.
            An expression must match a whole layer name (`"conv.*"`) or path in nested
            models (`"backbone/conv.*"`) and covers the kernels of those layers; with
            a weight's name at its end (`"conv.*/bias"`) it covers that weight.
        value: what to use where the pattern matches.
    """

    def __init__(self, pattern, value=None):
        if not (isinstance(pattern, str) or callable(pattern)):
            raise TypeError(
                f"A rule's pattern must be a regular expression, a layer class or a "
                f"function of a layer; got {pattern!r}."
            )
        self.pattern = pattern
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
    """The layers on the way to a weight; the whole model only if it has it itself."""
    owners = named(ref.owners)
    return owners[1:] or owners


def _matches_names(expression, layers):
    names = [layer.name for layer in layers]
    paths = [
        "/".join(names[i : j + 1]) for j in range(len(names)) for i in range(j + 1)
    ]
    try:
        return any(re.fullmatch(expression, path) for path in paths)
    except re.error as error:
        raise ValueError(
            f"Rule {expression!r} is not a regular expression: {error}. To match any "
            "text write '.*', not '*'."
        ) from error


def last_match(rules, ref):
    """The last rule that covers a weight, or None: later rules win."""
    matched = [rule for rule in rules if rule.matches(ref)]
    return matched[-1] if matched else None


def check_used(rules, refs):
    """Raises if a rule matched no weight."""
    names = sorted({layer.name for ref in refs for layer in _layers(ref)})
    for rule in rules:
        if rule.used:
            continue
        hint = (
            did_you_mean(rule.pattern, names) if isinstance(rule.pattern, str) else ""
        )
        raise ValueError(
            f"Rule {rule.pattern!r} matches no weight. Layers with weights: "
            f"{', '.join(names[:20])}{', …' if len(names) > 20 else ''}.{hint} Rules "
            "cover kernels; name other weights as 'layer/bias'."
        )
