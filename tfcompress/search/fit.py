"""From the members that an engine proposes to a file within a budget."""

import math

from tfcompress.core.warn import warn
from tfcompress.search.result import SearchResult
from tfcompress.search.space import STRUCTURE

_MOST_ROUNDS = 8
# A file that uses at least this fraction of the budget is good enough.
_CLOSE = 0.97
# The fraction of a limit that is aimed for.
_AIM = 0.995
# The factor by which the aim is lowered if the engine proposes nothing new.
_CAUTION = 0.98
_HALVINGS = 6
_MOST_TRAININGS = 3


class Fit:
    """Asks an engine for members until a file is within the budget.

    Engines know MACs and the approximate bytes of kernels. Measured costs are predicted
    from these: the bytes of a file from those of kernels, and milliseconds and memory by
    linear interpolation between the files nearest to the limit, one on each side of it.

    Args:
        study: the `Study`.
        engine: the `SearchEngine`.
        budget: the `Budget`.
    """

    def __init__(self, study, engine, budget):
        self._study, self._engine, self._budget = study, engine, budget
        self._least = least_member(study)
        self._check_reachable()

    def result(self):
        """The `SearchResult`.

        Raises:
            ValueError: if no member is within the budget.
        """
        study, budget = self._study, self._budget
        best = self._smallest() if not budget.costs else self._most_accurate()
        if study.making.epochs:
            best = self._trained(best)
        result = SearchResult(study.dense, best, tuple(study.candidates), budget)
        drop = study.dense.accuracy - best.accuracy
        if budget.accuracy_drop is not None and drop > budget.accuracy_drop:
            within = f"within {_listed(budget.costs)} " * bool(budget.costs)
            raise ValueError(
                f"The budget cannot be met: {within}the best candidate loses "
                f"{drop:.4f} of accuracy, {budget.accuracy_drop:g} is allowed. Relax the "
                f"budget, or train (epochs=). The candidates are in {str(study.folder)!r}."
            )
        return result

    def _trained(self, best):
        """The best candidate after training, or one a little smaller.

        Training changes weights, so files may grow.
        """
        study, budget = self._study, self._budget
        found, aims = [best], dict(budget.costs)
        for _ in range(_MOST_TRAININGS):
            made = study.candidate(best.member, is_trained=True)
            excess = budget.excess(made.costs)
            if not excess:
                found.append(made)
                break
            aims = {n: aims[n] / excess.get(n, 1.0) * _AIM for n in aims}
            member = self._proposed(self._limits(aims))
            if member is None or member == best.member:
                break
            best = study.candidate(member)
            if not budget.excess(best.costs):
                found.append(best)
        best = max(found, key=lambda candidate: candidate.accuracy)
        if not best.epochs:
            warn(
                "compress_to: the best file is one that was not trained; those that were "
                "are above the budget, or less accurate. See result.candidates."
            )
        return best

    def _check_reachable(self):
        """Raises if the most compressed member is known to be above the budget."""
        limit = self._budget.costs.get("macs")
        if limit is not None and self._study.proxy.macs(self._least) > limit:
            self._refuse("macs", self._study.proxy.macs(self._least))

    def _refuse(self, name, value):
        binding = binding_layer(self._study, self._least, name)
        raise ValueError(
            f"The budget cannot be met: {name} <= {self._budget.costs[name]:,.6g} is asked "
            f"for, and {value:,.6g} is the smallest that the space reaches. The layer "
            f"{binding!r} contributes most to it. Relax the budget, or widen the space."
        )

    def _most_accurate(self):
        study, best, done, aim = self._study, None, [], _AIM
        for _ in range(_MOST_ROUNDS):
            member = self._proposed(self._limits(self._budget.costs, aim))
            if member is None:
                break
            if member in done:
                aim *= _CAUTION
                continue
            done.append(member)
            found = study.candidate(member)
            if self._budget.excess(found.costs):
                # Sizes of files have steps, so that a little less may change nothing.
                aim *= _CAUTION
                continue
            if best is None or found.accuracy > best.accuracy:
                best = found
            if self._is_close(found):
                break
        return best or self._last_resort()

    def _proposed(self, limits):
        if not limits:
            return self._study.space.neutral()
        return self._engine.propose(self._study, limits)

    def _is_close(self, candidate):
        """Whether any cost is close to what the budget allows."""
        return any(
            candidate.costs[name] > _CLOSE * limit
            for name, limit in self._budget.costs.items()
        )

    def _last_resort(self):
        """The most compressed member, if that one is within the budget."""
        least = self._study.candidate(self._least)
        for name in self._budget.excess(least.costs):
            self._refuse(name, least.costs[name])
        return least

    def _limits(self, costs, aim=_AIM):
        """Limits of the engine's own counts for files of these costs."""
        limits = {}
        for name, limit in costs.items():
            if name == "size_bytes":
                limits["kernel_bytes"] = self._kernel_bytes(aim * limit)
                continue
            most = limit if name == "macs" else self._macs_for(name, limit, aim)
            limits["macs"] = min(most, limits.get("macs", math.inf))
        return {count: most for count, most in limits.items() if most < math.inf}

    def _kernel_bytes(self, size_bytes):
        """The limit for kernels, if the rest of the file is as in the nearest one."""
        points = self._points("size_bytes", "kernel_bytes")
        if min(points)[0] > self._budget.costs["size_bytes"]:
            self._refuse("size_bytes", min(points)[0])
        size, kernels = min(points, key=lambda point: abs(point[0] - size_bytes))
        return kernels + size_bytes - size

    def _macs_for(self, name, limit, aim):
        """The MACs at which a cost that increases with them reaches its limit."""
        dense = self._study.dense
        points = [*self._points(name, "macs"), (dense.costs[name], dense.macs)]
        below = max((p for p in points if p[0] <= limit), default=None)
        above = min((p for p in points if p[0] > limit), default=None)
        if below is None:
            self._refuse(name, min(points)[0])
        if above is None:
            return math.inf
        part = max(aim * limit - below[0], 0.0) / (above[0] - below[0])
        return below[1] + part * (above[1] - below[1])

    def _points(self, name, count):
        """`[(cost, count)]` of the known candidates and the most compressed member."""
        study = self._study
        study.candidate(self._least)
        return [
            (c.costs[name], study.proxy.costs(c.member)[count])
            for c in study.candidates
            if not c.epochs
        ]

    def _smallest(self):
        """The smallest file whose loss of accuracy is allowed."""
        study = self._study
        least = study.candidate(self._least)
        allowed = study.dense.accuracy - self._budget.accuracy_drop
        if least.accuracy >= allowed:
            return least
        low = math.log(study.proxy.size_bytes(self._least))
        high = math.log(study.proxy.size_bytes(study.space.neutral()))
        best = None
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            member = self._proposed({"kernel_bytes": math.exp(middle)})
            found = member and study.candidate(member)
            if found and found.accuracy >= allowed:
                high = middle
                if best is None or found.size_bytes < best.size_bytes:
                    best = found
                if low == high:
                    break
            else:
                low = middle
        if best is not None:
            return best
        study.candidate(study.space.neutral())
        return max(study.candidates, key=lambda candidate: candidate.accuracy)


def least_member(study):
    """The most compressed member: for each row, the choice that saves most."""
    found = {}
    for dimension, name, choices in study.space.flat():

        def cost(choice, dimension=dimension, name=name):
            member = {dimension: {name: choice}}
            if dimension in STRUCTURE:
                return study.proxy.macs(member)
            return study.proxy.size_bytes(member)

        found.setdefault(dimension, {})[name] = min(choices, key=cost)
    return found


def binding_layer(study, member, name):
    """The layer that contributes most to the cost of a member."""
    proxy = study.proxy
    count = proxy.sizes_of_layers if name == "size_bytes" else proxy.macs_of_layers
    of_layers = count(member)
    return max(of_layers, key=of_layers.get)


def _listed(limits):
    return ", ".join(f"{name} <= {limit:,.6g}" for name, limit in limits.items())
