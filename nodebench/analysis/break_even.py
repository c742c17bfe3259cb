"""Number of training steps after which a slow first step, such as one that compiles, is amortised."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from nodebench.analysis.crossovers import ArmAxes, comparable
from nodebench.analysis.fairness import points_of, unreliable
from nodebench.analysis.readings import final
from nodebench.analysis.statistics import Estimate, estimate, median
from nodebench.spec import Record, Status

_FIRST, _LATER = final("first_step_seconds"), final("step_seconds")


@dataclass(frozen=True)
class BreakEven:
    """An arm with a slow first step, compared with another arm.

    Attributes:
        first: median time of the first step in seconds.
        steps: number of training steps after which the arm's total time is at most that of the other arm, estimated
            over replicates; infinity if this never happens.
        ratio: time of a later step, relative to the other arm.
    """

    first: float
    steps: Estimate
    ratio: Estimate


def steps_until_even(first: float, later: float, other_first: float, other_later: float) -> float:
    """Return the least n after which the arm's total time is at most the other arm's; infinity if there is none.

    After m steps an arm has taken ``first + (m − 1) later`` seconds. The condition must hold for every m ≥ n.

    Args:
        first: seconds of the first step.
        later: seconds of each later step.
        other_first: seconds of the other arm's first step.
        other_later: seconds of each later step of the other arm.
    """
    if first <= other_first:
        return 1.0 if later <= other_later else math.inf
    if later >= other_later:
        return math.inf
    return 1 + math.ceil((first - other_first) / (other_later - later))


def break_even(records: Iterable[Record], arm: ArmAxes, base: ArmAxes) -> BreakEven | None:
    """Compare the first and the later steps of two arms, seed by seed; None if no seed has both arms.

    Args:
        records: records of any trials; the largest comparable subset is used.
        arm: axes of the arm with the slow first step.
        base: axes of the other arm.
    """
    usable = points_of(one for one in records if one.status is Status.OK and not unreliable(one, timed=True))
    sides = [{point.seed: point.record for point in side} for side in comparable(usable, (arm, base))]
    firsts, steps, ratios = [], [], []
    for seed in sorted(sides[0].keys() & sides[1].keys()):
        times = [reading.get(side[seed]) for side in sides for reading in (_FIRST, _LATER)]
        if None not in times:
            first, later, other_first, other_later = (float(one) for one in times if one is not None)
            firsts.append(first)
            steps.append(steps_until_even(first, later, other_first, other_later))
            ratios.append(later / other_later)
    if not steps:
        return None
    return BreakEven(median(firsts), estimate(steps, "log"), estimate(ratios, "log"))
