"""Limits on what a compressed model costs."""

import dataclasses

from tfcompress.core.kinds import Kind, Number
from tfcompress.core.plugin import did_you_mean

# Limits whose meaning mentions a fraction are relative to the model's own cost up to 1.
_LIMITS = {
    "size_bytes": Number(above=0, meaning="bytes of the file; up to 1, a fraction"),
    "macs": Number(
        above=0, meaning="multiply-accumulates per sample; up to 1, a fraction"
    ),
    "latency_ms": Number(above=0, meaning="milliseconds per sample"),
    "memory_bytes": Number(
        above=0, meaning="bytes of activations needed at the same time"
    ),
    "accuracy_drop": Number(0, meaning="the largest loss of accuracy"),
}
_FRACTIONS = ("size_bytes", "macs")
COSTS = tuple(name for name in _LIMITS if name != "accuracy_drop")


class Limits(Kind):
    """`{what: limit}`, at least one.

    >>> Limits().check("budget", {"size_byte": 30_000})
    Traceback (most recent call last):
    ValueError: budget: got the unit 'size_byte', expected one of size_bytes, macs,
    latency_ms, memory_bytes, accuracy_drop. Did you mean 'size_bytes'?
    """

    expected = "a budget such as {'size_bytes': 30_000, 'macs': 0.5}"
    hint = "Mapping[str, float]"

    def has_form(self, value):
        return isinstance(value, dict)

    def check(self, name, value):
        if not isinstance(value, dict) or not value:
            self.refuse(name, value)
        for key in value:
            if key not in _LIMITS:
                raise ValueError(
                    f"{name}: got the unit {key!r}, expected one of "
                    f"{', '.join(_LIMITS)}.{did_you_mean(str(key), _LIMITS)}"
                )
        return {
            key: _LIMITS[key].check(f"{name}[{key!r}]", value[key]) for key in value
        }

    def wrong(self):
        return ["x", 5, object(), {}, {"size": 1}, {"macs": 0}, {"size_bytes": -1}]


@dataclasses.dataclass(frozen=True)
class Budget:
    """Limits in absolute numbers.

    Attributes:
        costs: `{name: limit}` for counted or timed costs, those in `COSTS`.
        accuracy_drop: largest loss of the dense model's accuracy; None for no limit.
    """

    costs: dict
    accuracy_drop: float | None

    @classmethod
    def of(cls, limits, reference):
        """Converts fractions to absolute numbers.

        Args:
            limits: as passed by the user.
            reference: `{name: cost of the model itself}`, for `COSTS`.
        """
        costs = {
            name: limit * reference[name]
            if name in _FRACTIONS and limit <= 1
            else limit
            for name, limit in limits.items()
            if name in COSTS
        }
        return cls(costs, limits.get("accuracy_drop"))

    def excess(self, costs):
        """`{name: cost / limit}` of the costs that exceed their limits.

        Args:
            costs: `{name: cost}`.

        >>> Budget({"macs": 100}, None).excess({"macs": 150, "size_bytes": 1})
        {'macs': 1.5}
        """
        return {
            name: costs[name] / limit
            for name, limit in self.costs.items()
            if costs[name] > limit
        }
