"""Sparsity, or another number, as a function of the optimizer step."""

import bisect
import math

from tfcompress.core.errors import refuse
from tfcompress.core.kinds import Each, Integer, Number, PlugIn
from tfcompress.core.nouns import Schedule
from tfcompress.core.plugin import register

# Defaults for gradual schedules without a frequency.
_LEAST_UPDATES = 20
_MOST_STEPS = 100
_FRACTION = Number(0, below=1, meaning="the fraction removed")


class _Updated(Schedule):
    """A schedule that is due at `begin_step`, then every `frequency` steps up to the end.

    With an `interval` of None it is due only at `begin_step`, with an `end_step` of
    None it never ends.
    """

    begin_step = 0
    end_step = None
    frequency = None

    @property
    def interval(self):
        """Steps between updates."""
        return self.frequency

    def due(self, previous_step, step):
        """Whether an update falls in `(previous_step, step]`."""
        return self._updates_until(step) > self._updates_until(previous_step)

    def _updates_until(self, step):
        if step < self.begin_step:
            return 0
        if self.interval is None:
            return 1
        last = step if self.end_step is None else min(step, self.end_step)
        updates = 1 + (last - self.begin_step) // self.interval
        ends_between = self.end_step is not None and (
            (self.end_step - self.begin_step) % self.interval > 0
        )
        return updates + (1 if ends_between and step >= self.end_step else 0)


class Constant(_Updated):
    """`s(t) = sparsity` from `begin_step` on, 0 before.

    Args:
        sparsity: fraction removed, in [0, 1).
        begin_step: first step with this sparsity.
        frequency: steps between updates of the choice; None to choose once.

    Raises:
        ValueError: if `sparsity` is outside [0, 1) or a step is negative.

    Example:
        >>> schedule = Constant(0.5, begin_step=10)
        >>> schedule(9), schedule(10), schedule.due(9, 10), schedule.due(10, 99)
        (0.0, 0.5, True, False)
    """

    stands_for = (int, float)

    def __init__(
        self,
        sparsity: _FRACTION,
        begin_step: Integer(0) = 0,
        frequency: Integer(1) = None,
    ):
        self.sparsity = sparsity
        self.begin_step = begin_step
        self.frequency = frequency

    def __call__(self, step):
        """The sparsity at `step`."""
        return self.sparsity if step >= self.begin_step else 0.0


class OneShot(Constant):
    """Prunes once, at `step`, and keeps that choice.

    Args:
        sparsity: fraction removed, in [0, 1).
        step: optimizer step at which to prune, at least 0.

    Raises:
        ValueError: if `sparsity` is outside [0, 1) or `step` is negative.

    Example:
        >>> schedule = OneShot(0.8, step=5)
        >>> [schedule.due(i, i + 1) for i in range(3, 7)]
        [False, True, False, False]
    """

    def __init__(self, sparsity: _FRACTION, step: Integer(0) = 0):
        super().__init__(sparsity, begin_step=step)
        self.step = step


class _Annealed(_Updated):
    """Changes from one sparsity to another: `s_f + (s_i - s_f) rest(progress)`."""

    def __init__(
        self,
        *,
        initial_sparsity: _FRACTION = 0.0,
        final_sparsity: _FRACTION,
        begin_step: Integer(0),
        end_step: Integer(0),
        frequency: Integer(1) = None,
    ):
        self.initial_sparsity = initial_sparsity
        self.final_sparsity = final_sparsity
        self.begin_step = begin_step
        if end_step <= begin_step:
            refuse(
                f"{type(self).__name__}(end_step)",
                end_step,
                f"a step after begin_step={begin_step}",
                "Steps are optimizer iterations: epochs * batches per epoch.",
            )
        self.end_step = end_step
        self.frequency = frequency

    @property
    def interval(self):
        """Steps between updates; by default such that there are enough of them."""
        length = self.end_step - self.begin_step
        return self.frequency or min(_MOST_STEPS, max(1, length // _LEAST_UPDATES))

    def __call__(self, step):
        """The sparsity at `step`."""
        if step < self.begin_step:
            return 0.0
        progress = (step - self.begin_step) / (self.end_step - self.begin_step)
        change = self.initial_sparsity - self.final_sparsity
        return self.final_sparsity + change * self._rest(min(progress, 1.0))

    def _rest(self, progress):
        """The remaining part of the change: 1 at progress 0, 0 at progress 1."""
        raise NotImplementedError


class Polynomial(_Annealed):
    """Rises quickly at first and then more and more slowly.

    `s(t) = s_f + (s_i - s_f) (1 - (t - t_0) / (t_1 - t_0))^power`, constant outside
    `[t_0, t_1]`; 0 before `t_0`.

    Args:
        initial_sparsity: `s_i`.
        final_sparsity: `s_f`, fraction removed at the end, in [0, 1).
        begin_step: `t_0`.
        end_step: `t_1`, larger than `t_0`.
        power: exponent; 3 is usual, 1 is linear.
        frequency: steps between updates; None: a twentieth of the total, at most 100.

    Raises:
        ValueError: if a sparsity is outside [0, 1) or the steps are not in order.

    Source: Zhu and Gupta, "To prune, or not to prune" (2017), equation 1.

    Example:
        >>> schedule = Polynomial(final_sparsity=0.8, begin_step=0, end_step=100)
        >>> [round(schedule(t), 3) for t in (0, 50, 100, 200)]
        [0.0, 0.7, 0.8, 0.8]
    """

    def __init__(
        self,
        *,
        initial_sparsity: _FRACTION = 0.0,
        final_sparsity: _FRACTION,
        begin_step: Integer(0),
        end_step: Integer(0),
        power: Number(above=0) = 3,
        frequency: Integer(1) = None,
    ):
        super().__init__(
            initial_sparsity=initial_sparsity,
            final_sparsity=final_sparsity,
            begin_step=begin_step,
            end_step=end_step,
            frequency=frequency,
        )
        self.power = power

    def _rest(self, progress):
        return (1.0 - progress) ** self.power


class Cosine(_Annealed):
    """Rises slowly, then quickly, then slowly.

    `s(t) = s_f + (s_i - s_f) (1 + cos(π (t - t_0) / (t_1 - t_0))) / 2`, constant outside
    `[t_0, t_1]`; 0 before `t_0`.

    Args:
        initial_sparsity: `s_i`.
        final_sparsity: `s_f`, in [0, 1).
        begin_step: `t_0`.
        end_step: `t_1`, larger than `t_0`.
        frequency: steps between updates; None: a twentieth of the total, at most 100.

    Raises:
        ValueError: if a sparsity is outside [0, 1) or the steps are not in order.

    Source: Loshchilov and Hutter, "SGDR" (2017), for the annealing curve.

    Example:
        >>> schedule = Cosine(final_sparsity=0.8, begin_step=0, end_step=100)
        >>> [round(schedule(t), 3) for t in (0, 50, 100)]
        [0.0, 0.4, 0.8]
    """

    def _rest(self, progress):
        return (1.0 + math.cos(math.pi * progress)) / 2


class Piecewise(Schedule):
    """Constant between steps: `values[i]` from `boundaries[i - 1]` on.

    Args:
        boundaries: steps at which the value changes, ascending, the first above 0.
        values: one more number than there are boundaries: fractions removed, or
            whatever else the schedule controls, such as bits.

    Raises:
        ValueError: if the boundaries are not ascending or the number of values does not
            match.

    Example:
        >>> bits = Piecewise(boundaries=[1000, 2000], values=[8, 4, 2])
        >>> bits(0), bits(1000), bits(5000), bits.due(998, 1001)
        (8, 4, 2, True)
    """

    def __init__(
        self,
        *,
        boundaries: Each(Integer(1), "steps from 1 on"),
        values: Each(Number(), "numbers", least=1),
    ):
        if list(boundaries) != sorted(set(boundaries)):
            refuse("Piecewise(boundaries)", boundaries, "ascending steps")
        if len(values) != len(boundaries) + 1:
            expected = f"{len(boundaries) + 1} for boundaries={list(boundaries)}"
            refuse("Piecewise(values)", values, expected)
        self.boundaries = list(boundaries)
        self.values = list(values)

    def __call__(self, step):
        """The value at `step`."""
        return self.values[bisect.bisect_right(self.boundaries, step)]

    def due(self, previous_step, step):
        """Whether a value starts in `(previous_step, step]`, the first one at step 0."""
        return any(previous_step < b <= step for b in (0, *self.boundaries))


class Iterative(_Updated):
    """Prunes the same fraction of what is left in each of several rounds.

    In round `i = 1 ... rounds`, which starts at `begin_step + (i - 1) steps_per_round`,
    `s = 1 - (1 - final_sparsity)^(i / rounds)`.

    Args:
        final_sparsity: fraction removed after the last round, in [0, 1).
        rounds: number of rounds.
        steps_per_round: training steps between prunings.
        begin_step: step of the first pruning.

    Raises:
        ValueError: if the sparsity is outside [0, 1) or a number is not positive.

    Source: Frankle and Carbin, "The Lottery Ticket Hypothesis" (2019), section 1.

    Example:
        >>> schedule = Iterative(final_sparsity=0.75, rounds=2, steps_per_round=10)
        >>> schedule(0), schedule(10), schedule.due(9, 10), schedule.due(19, 20)
        (0.5, 0.75, True, False)
    """

    def __init__(
        self,
        *,
        final_sparsity: _FRACTION,
        rounds: Integer(1),
        steps_per_round: Integer(1),
        begin_step: Integer(0) = 0,
    ):
        self.final_sparsity = final_sparsity
        self.rounds = rounds
        self.steps_per_round = steps_per_round
        self.begin_step = begin_step
        self.frequency = steps_per_round
        self.end_step = begin_step + (rounds - 1) * steps_per_round

    def __call__(self, step):
        """The sparsity at `step`."""
        if step < self.begin_step:
            return 0.0
        done = min((step - self.begin_step) // self.steps_per_round + 1, self.rounds)
        return 1.0 - (1.0 - self.final_sparsity) ** (done / self.rounds)


class Scaled(Schedule):
    """`s(t) = factor schedule(t)`: another schedule with scaled values.

    Args:
        schedule: a schedule, its name or `{name: arguments}`.
        factor: factor for all its values, at least 0.

    Raises:
        ValueError: if there is no such schedule, or `factor` is negative.

    Example:
        >>> schedule = Scaled(Constant(0.8, begin_step=10), factor=0.5)
        >>> schedule(9), schedule(10), schedule.due(9, 10), schedule.last_step
        (0.0, 0.4, True, 10)
    """

    def __init__(self, schedule: PlugIn(Schedule), factor: Number(0)):
        self.schedule = schedule
        self.factor = factor

    def __call__(self, step):
        """The value at `step`."""
        return self.factor * self.schedule(step)

    def due(self, previous_step, step):
        """Whether the other schedule is due."""
        return self.schedule.due(previous_step, step)


get = Schedule.get
register(Schedule, Constant, Cosine, Iterative, OneShot, Piecewise, Polynomial, Scaled)
