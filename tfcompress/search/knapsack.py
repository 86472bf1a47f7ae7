"""One choice for each row, with the least harm within a budget, solved exactly."""

import dataclasses
import itertools
import math

import numpy as np
import scipy.optimize
import scipy.sparse

# Time limit of the solver: with products, closing the last 0.1 % of the gap may take hours.
_SECONDS = 60
# SciPy's status code.
_OUT_OF_TIME = 1


@dataclasses.dataclass
class Cost:
    """The cost of choices: a sum of terms, each of which depends on a few rows.

    Attributes:
        limit: limit of the sum.
        constant: cost that does not depend on choices.
        terms: `{rows: array of the joint costs of their choices}`; rows are a tuple, and
            the array has one axis per row.
    """

    limit: float
    constant: float = 0.0
    terms: dict = dataclasses.field(default_factory=dict)

    def add(self, rows, values):
        """Adds values to the term of `rows`, a tuple in ascending order."""
        self.terms[rows] = self.terms.get(rows, 0.0) + np.asarray(values, float)

    def __call__(self, choice):
        """The cost of a choice, given as one column per row."""
        return self.constant + sum(
            values[tuple(choice[row] for row in rows)]
            for rows, values in self.terms.items()
        )


def choose(harms, costs):
    """The column of each row such that the sum of harms is least within all budgets.

        minimise  Σ_r h_r(c_r)    subject to    Σ_t cost_t(c_{rows of t}) <= limit

    A multiple-choice knapsack, as an integer linear programme. The joint cost of several
    rows is a variable `y >= 0` for each combination of their choices, whose sums over all
    but one row are that row's choices: where those are integers, so is `y`.

    Args:
        harms: list of arrays, one number per choice of a row; choices whose harm is not
            finite are excluded.
        costs: list of `Cost`.

    Returns:
        A list of columns; None if no combination is within all budgets.

    Raises:
        TimeoutError: if no solution is found within a minute.

    >>> cost = Cost(limit=3)
    >>> cost.add((0,), [1, 2])
    >>> cost.add((1,), [1, 2])
    >>> choose([[9.0, 1.0], [4.0, 0.0]], [cost])
    [1, 0]
    """
    found = _solved(harms, costs)
    if found and any(cost(found) > cost.limit for cost in costs):
        # Above the limit by the solver's tolerance.
        tighter = [dataclasses.replace(c, limit=c.limit * (1 - 1e-5)) for c in costs]
        found = _solved(harms, tighter)
    return found


def _solved(harms, costs):
    programme = _Programme([np.asarray(h, float) for h in harms])
    for cost in costs:
        programme.bound(cost)
    return programme.solution()


class _Programme:
    """The integer linear programme: one vector of variables, and its constraints."""

    def __init__(self, harms):
        self._harms = harms
        self._starts = np.cumsum([0, *(h.size for h in harms)])
        self._num = int(self._starts[-1])
        self._products, self._equations, self._bounds = {}, [], []
        for row in range(len(harms)):
            self._equations.append((self._of_row(row), np.ones(harms[row].size), 1.0))

    def _of_row(self, row):
        return np.arange(self._starts[row], self._starts[row + 1])

    def bound(self, cost):
        """Adds the constraint that a cost is within its limit."""
        scale = max(abs(cost.limit - cost.constant), 1e-300)
        places, values = [], []
        for rows, of_term in cost.terms.items():
            places.append(self._variables(rows).ravel())
            values.append(of_term.ravel() / scale)
        limit = (cost.limit - cost.constant) / scale
        self._bounds.append((np.concatenate(places), np.concatenate(values), limit))

    def _variables(self, rows):
        """Indices of the variables for combined choices of rows, with one axis per row."""
        if len(rows) == 1:
            return self._of_row(rows[0])
        if rows not in self._products:
            shape = [self._harms[row].size for row in rows]
            made = self._num + np.arange(math.prod(shape)).reshape(shape)
            self._num += made.size
            self._products[rows] = made
            for axis, row in enumerate(rows):
                places = np.moveaxis(made, axis, 0).reshape(shape[axis], -1)
                for column, whole in zip(places, self._of_row(row), strict=True):
                    values = np.concatenate([np.ones(column.size), [-1.0]])
                    self._equations.append((np.append(column, whole), values, 0.0))
        return self._products[rows]

    def solution(self):
        """The choice, or None."""
        harms = np.concatenate(self._harms)
        allowed = np.isfinite(harms)
        objective = np.zeros(self._num)
        worst = harms[allowed].max(initial=1e-300)
        # Large numbers make the solver's absolute gap of 1e-6 relatively small.
        objective[: harms.size] = (
            1e4 * np.where(allowed, harms, 0.0) / max(worst, 1e-300)
        )
        upper = np.ones(self._num)
        upper[: harms.size] = allowed
        integral = np.zeros(self._num)
        integral[: harms.size] = 1
        constraints = [self._constraint(self._equations, equal=True)]
        if self._bounds:
            constraints.append(self._constraint(self._bounds))
        found = scipy.optimize.milp(
            objective,
            integrality=integral,
            bounds=scipy.optimize.Bounds(0, upper),
            constraints=constraints,
            options={"mip_rel_gap": 0, "time_limit": _SECONDS},
        )
        if found.x is None and found.status == _OUT_OF_TIME:
            raise TimeoutError(
                f"The knapsack of {self._num:,} variables has no solution after {_SECONDS} "
                "s: allow fewer choices for each layer, or use another engine."
            )
        if found.x is None:
            return None
        return [
            int(np.argmax(found.x[self._of_row(r)])) for r in range(len(self._harms))
        ]

    def _constraint(self, lines, equal=False):
        counts = [places.size for places, _, _ in lines]
        matrix = scipy.sparse.csr_array(
            (
                np.concatenate([values for _, values, _ in lines]),
                np.concatenate([places for places, _, _ in lines]),
                list(itertools.accumulate(counts, initial=0)),
            ),
            shape=(len(lines), self._num),
        )
        limits = np.array([limit for _, _, limit in lines])
        low = limits if equal else -np.inf
        return scipy.optimize.LinearConstraint(matrix, low, limits)
