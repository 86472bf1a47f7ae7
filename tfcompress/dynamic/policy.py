"""Chooses how much of a network runs from what a device can spend."""

import dataclasses
import json
import pathlib

from tfcompress.core.files import check_writable, write_atomically
from tfcompress.core.kinds import Each, FilePath, Instance, Number, checked

_VERSION = 1
_LEVEL = Number(0, 1)


@dataclasses.dataclass(frozen=True)
class OperatingPoint:
    """One way to run a network, and what it costs on average.

    Attributes:
        setting: how to run it: `{"width": 0.5}`, or `{"thresholds": [0.9, 0.8]}` for a
            cascade; anything that JSON can hold.
        macs: multiply-accumulates per sample.
        accuracy: fraction of correct answers.
        latency_ms: time per sample, None if it was not measured.
    """

    setting: dict
    macs: float
    accuracy: float
    latency_ms: float | None = None


class Policy:
    """A table of operating points, from which a budget chooses one.

    Args:
        points: list of `OperatingPoint`; those that cost more than a point of at least the
            same accuracy are dropped.

    Attributes:
        points: the remaining points, the cheapest first.

    Raises:
        ValueError: if there are none.

    Example:
        >>> policy = Policy([OperatingPoint({"width": 0.5}, 2e6, 0.88, 1.0),
        ...     OperatingPoint({"width": 1.0}, 8e6, 0.92, 3.0)])
        >>> policy.choose(latency_ms=2.0).setting
        {'width': 0.5}
        >>> policy.choose(battery=0.9, headroom=1.0).setting
        {'width': 1.0}
        >>> policy.choose(battery=0.1).setting
        {'width': 0.5}
    """

    @checked
    def __init__(
        self,
        points: Each(
            Instance(OperatingPoint, "an OperatingPoint"), "operating points", least=1
        ),
    ):
        ordered = sorted(points, key=lambda point: (point.macs, -point.accuracy))
        self.points = []
        for point in ordered:
            if not self.points or point.accuracy > self.points[-1].accuracy:
                self.points.append(point)

    @checked
    def choose(
        self,
        latency_ms: Number(above=0) = None,
        macs: Number(above=0) = None,
        battery: _LEVEL = 1.0,
        headroom: _LEVEL = 1.0,
        comfortable: Number(0, 1) = 0.5,
    ):
        """The most accurate point within a budget.

        A low battery or heat lowers the budget: if `level = min(battery, headroom)` is
        below `comfortable`, the multiply-accumulates may be at most

            cheapest + level / comfortable * (dearest - cheapest)

        so that an empty battery or a hot device runs the cheapest point, which is never
        refused for that reason.

        Args:
            latency_ms: upper limit of the time per sample.
            macs: upper limit of the multiply-accumulates per sample.
            battery: charge from 0 (empty) to 1 (full).
            headroom: from 0 (about to throttle) to 1 (cool). Android's
                `getThermalHeadroom` h counts the other way: pass `1 - min(1, h)`.
            comfortable: level from which on nothing is saved.

        Raises:
            ValueError: if no point meets the latency or the multiply-accumulates; the
                message gives the smallest.
        """
        allowed = self._within("latency_ms", latency_ms, self.points)
        allowed = self._within("macs", macs, allowed)
        level = min(battery, headroom)
        share = 1.0 if level >= comfortable else level / comfortable
        cheapest, dearest = self.points[0].macs, self.points[-1].macs
        limit = cheapest + share * (dearest - cheapest)
        return max(
            (p for p in allowed if p.macs <= limit),
            key=lambda point: point.accuracy,
            default=allowed[0],
        )

    def _within(self, name, most, points):
        if most is None:
            return points
        if any(getattr(point, name) is None for point in self.points):
            raise ValueError(
                f"Policy.choose({name}): not all points have a {name}; expected "
                "measured points."
            )
        found = [point for point in points if getattr(point, name) <= most]
        if not found:
            raise ValueError(
                f"Policy.choose({name}): nothing is within {most:g}; the smallest is "
                f"{min(getattr(point, name) for point in points):g}."
            )
        return found

    @checked
    def save(self, path: FilePath("the .json file to write")):
        """Writes the table as JSON, which the Android app also reads."""
        points = [dataclasses.asdict(point) for point in self.points]
        text = json.dumps({"version": _VERSION, "points": points}, indent=2)
        return write_atomically(check_writable(path), text)

    @classmethod
    @checked
    def load(cls, path: FilePath("a .json file that save wrote")):
        """Reads what `save` wrote.

        Raises:
            ValueError: if the file is not such a table.
        """
        try:
            table = json.loads(pathlib.Path(path).read_text("utf-8"))
            points = [OperatingPoint(**point) for point in table["points"]]
            known = table["version"] == _VERSION
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path} is not a table of operating points ({error}); expected a file "
                "that Policy.save wrote."
            ) from error
        if not known:
            raise ValueError(
                f"{path} has version {table['version']}: expected {_VERSION}. Install a "
                "newer tfcompress."
            )
        return cls(points)

    def __str__(self):
        return "\n".join(
            f"{point.setting}: {point.macs:,.0f} MACs, {point.accuracy:.2%} right"
            + ("" if point.latency_ms is None else f", {point.latency_ms:.3g} ms")
            for point in self.points
        )
