"""Where samples leave a network with early exits."""

import dataclasses

import numpy as np

from tfcompress.core.nouns import ExitRule

# Shares of the samples that leave at consecutive exits differ by a constant factor.
_FACTORS = np.exp(np.linspace(-6.0, 6.0, 481))
# A score that no sample reaches; JSON has no infinity.
_NEVER = 1e9


@dataclasses.dataclass(frozen=True)
class ExitPlan:
    """Decides at which exits samples leave, with the average cost.

    Attributes:
        rule: the `ExitRule` that measures how confident an exit is.
        thresholds: the scores from which samples leave, one per exit except the last.
        shares: fractions of the samples that leave at each exit.
        macs: average multiply-accumulates per sample.
        macs_ratio: the same as a fraction of those of all exits.
        accuracy: fraction of correct answers, None without labels.
    """

    rule: ExitRule
    thresholds: tuple
    shares: tuple
    macs: float
    macs_ratio: float
    accuracy: float | None = None

    def exits(self, probabilities):
        """The index of the exit at which each sample leaves.

        Args:
            probabilities: array `(exits, samples, classes)`.
        """
        return _leaving(self.rule(probabilities), self.thresholds)

    def transferred(self, probabilities, macs):
        """A plan with which the same number of samples leaves at each exit of a network.

        Args:
            probabilities: array `(exits, samples, classes)` of that network, such as the
                original one with rounded outputs.
            macs: multiply-accumulates up to the answer of each exit.
        """
        scores = self.rule(np.asarray(probabilities))
        thresholds = _thresholds(scores, self.shares)
        return _plan(scores, thresholds, np.asarray(macs, float), None, self.rule)

    def __str__(self):
        shares = ", ".join(f"{share:.1%}" for share in self.shares)
        accuracy = "" if self.accuracy is None else f", {self.accuracy:.2%} right"
        return (
            f"{self.macs_ratio:.1%} of the MACs{accuracy}; leave at the exits: {shares}"
        )


def solve_thresholds(
    probabilities, macs, labels=None, budget=None, accuracy_drop=None, rule="confidence"
):
    """Finds thresholds within a budget of multiply-accumulates or accuracy.

    Exit k of K should take a share `p_k ~ q^k` of the samples. For each q, thresholds are
    chosen exit by exit: the share is filled with the most confident of the remaining
    samples, and the threshold lies half way between the lowest score among them and the
    next lower one. Within a budget of MACs, the most accurate plan is taken, or the most
    expensive without labels; within an accuracy drop, the cheapest. Reported numbers are
    measured with the thresholds, including ties.

    Args:
        probabilities: array `(exits, samples, classes)` for samples that were not used in
            training.
        macs: multiply-accumulates up to the answer of each exit.
        labels: correct classes of the samples.
        budget: average multiply-accumulates per sample; values up to 1 are a fraction of
            the last exit's.
        accuracy_drop: allowed loss of accuracy compared with the last exit alone, a
            fraction.
        rule: an `ExitRule` or its name.

    Returns:
        An `ExitPlan`.

    Raises:
        ValueError: if there are no samples, neither or both of `budget` and
            `accuracy_drop` are given, labels are missing, or the budget is less than the
            first exit costs.

    Source: Huang et al., "Multi-Scale Dense Networks for Resource Efficient Image
    Classification" (2018), section 3 (budgeted batch).

    Example:
        >>> probabilities = np.array([[[0.9, 0.1], [0.6, 0.4]], [[1.0, 0.0], [0.2, 0.8]]])
        >>> plan = solve_thresholds(probabilities, [10, 30], [0, 1], budget=20)
        >>> plan.thresholds, plan.macs, plan.accuracy
        ((0.75,), 20.0, 1.0)
    """
    if (budget is None) == (accuracy_drop is None):
        raise ValueError(
            "calibrate needs either a budget, macs=..., or an accuracy, "
            "accuracy_drop=...; "
            f"got macs={budget} and accuracy_drop={accuracy_drop}."
        )
    if accuracy_drop is not None and labels is None:
        raise ValueError("calibrate(accuracy_drop) needs labels: pass data (x, y).")
    plans = all_plans(probabilities, macs, labels, ExitRule.get(rule))
    if budget is not None:
        limit = budget * macs[-1] if budget <= 1 else budget
        plans = [plan for plan in plans if plan.macs <= limit]
        if not plans:
            raise ValueError(
                f"No exit meets a budget of {limit:,.0f} MACs: if all samples leave at "
                f"the first exit, they take {macs[0]:,.0f} ({macs[0] / macs[-1]:.1%} of "
                "all). Raise the budget, or add an earlier exit."
            )
        return max(plans, key=lambda plan: (plan.accuracy or 0, plan.macs))
    alone = np.mean(np.argmax(probabilities[-1], axis=-1) == np.ravel(labels))
    plans = [plan for plan in plans if plan.accuracy >= alone - accuracy_drop]
    return min(plans, key=lambda plan: (plan.macs, -plan.accuracy))


def all_plans(probabilities, macs, labels, rule):
    """`ExitPlan`s from all samples leaving at the first exit to all at the last.

    Args:
        probabilities: as in `solve_thresholds`.
        macs: likewise.
        labels: likewise.
        rule: an `ExitRule`.
    """
    probabilities, macs = np.asarray(probabilities), np.asarray(macs, float)
    count = len(macs)
    if probabilities.shape[:1] != (count,) or not probabilities.size:
        raise ValueError(
            f"Choosing thresholds needs samples: got probabilities of the shape "
            f"{probabilities.shape} for {count} exits; expected (exits, samples, classes)."
        )
    scores = rule(probabilities)
    right = None
    if labels is not None:
        right = np.argmax(probabilities, axis=-1) == np.ravel(labels)
    found = {}
    for factor in (0.0, *_FACTORS, np.inf):
        thresholds = _thresholds(scores, _shares(factor, count))
        if thresholds not in found:
            found[thresholds] = _plan(scores, thresholds, macs, right, rule)
    return list(found.values())


def _shares(factor, count):
    """Fractions of the samples for each exit, in the ratio 1 : q : q² ..."""
    if np.isinf(factor):
        return np.eye(count)[-1]
    shares = factor ** np.arange(count, dtype=float)
    return shares / shares.sum()


def _thresholds(scores, shares):
    """One per exit except the last; infinite where no sample should leave."""
    inside, thresholds = np.ones(scores.shape[1], bool), []
    for of_exit, share in zip(scores[:-1], shares, strict=False):
        left = np.sort(of_exit[inside])[::-1]
        wanted = min(len(left), round(share * scores.shape[1]))
        threshold = _between(left, wanted)
        thresholds.append(threshold)
        inside &= of_exit < threshold
    return tuple(thresholds)


def _between(scores, wanted):
    """A threshold that the given number of scores reach, except for ties.

    It lies half way to the next score, so that rounding elsewhere does not matter.

    Args:
        scores: in descending order.
        wanted: the number of scores.
    """
    if not wanted:
        return _NEVER
    lowest = scores[wanted - 1]
    lower = scores[scores < lowest]
    return float((lowest + lower[0]) / 2 if lower.size else lowest)


def _leaving(scores, thresholds):
    leaves = scores[:-1] >= np.reshape(thresholds, (-1, 1))
    return np.where(leaves.any(axis=0), leaves.argmax(axis=0), len(thresholds))


def _plan(scores, thresholds, macs, right, rule):
    exits = _leaving(scores, thresholds)
    shares = np.bincount(exits, minlength=len(macs)) / len(exits)
    average = float(shares @ macs)
    accuracy = None
    if right is not None:
        accuracy = float(np.mean(right[exits, np.arange(len(exits))]))
    return ExitPlan(
        rule,
        thresholds,
        tuple(shares.tolist()),
        average,
        average / float(macs[-1]),
        accuracy,
    )
