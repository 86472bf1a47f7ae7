"""What a compressed model may cost."""

import dataclasses

from tfcompress.core.kinds import Kind, Number
from tfcompress.core.plugin import did_you_mean

# What each may be: those up to 1 that are fractions of the model's own are marked.
_LIMITS = {
    "size_bytes": Number(above=0, meaning="bytes of the file, up to 1 a fraction"),
    "macs": Number(
        above=0, meaning="multiply-accumulates of a sample, up to 1 a fraction"
    ),
    "latency_ms": Number(above=0, meaning="milliseconds of a sample"),
    "memory_bytes": Number(above=0, meaning="bytes of activations at one time"),
    "accuracy_drop": Number(0, meaning="the largest loss of accuracy"),
}
_FRACTIONS = ("size_bytes", "macs")
COSTS = tuple(name for name in _LIMITS if name != "accuracy_drop")


class Limits(Kind):
    """`{what: limit}`, at least one.

    >>> Limits().check("budget", {"size_byte": 30_000})
    Traceback (most recent call last):
    ValueError: budget: got the unit 'size_byte', expected some of size_bytes, macs,
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
                    f"{name}: got the unit {key!r}, expected some of "
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
        costs: `{name: limit}` of what is counted or timed, among `COSTS`.
        accuracy_drop: of the dense model's accuracy, at most; None for any.
    """

    costs: dict
    accuracy_drop: float | None

    @classmethod
    def of(cls, limits, reference):
        """Fractions become numbers.

        Args:
            limits: as users write them.
            reference: `{name: what the model itself costs}`, for `COSTS`.
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
        """`{name: how many times the limit}` of what is above it.

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
