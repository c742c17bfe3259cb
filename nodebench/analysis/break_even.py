"""After how many training steps a slow first step, such as one that compiles, has paid for itself."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from nodebench.analysis.comparison import ArmAxes, comparable
from nodebench.analysis.fairness import points_of, unreliable
from nodebench.analysis.readings import final
from nodebench.analysis.statistics import Estimate, estimate, median
from nodebench.spec import Record, Status

_FIRST, _LATER = final("first_step_seconds"), final("step_seconds")


@dataclass(frozen=True)
class BreakEven:
    """One arm against another whose first step is quick.

    Attributes:
        first: median of the first step's seconds.
        steps: number of training steps from which on the arm has taken no more time in all, one a replicate; infinity
            where it never does.
        ratio: a later step over one of the other arm.
    """

    first: float
    steps: Estimate
    ratio: Estimate


def steps_until_even(first: float, later: float, other_first: float, other_later: float) -> float:
    """The least n from which on the arm has taken no more time in all; infinity if there is none.

    After m steps an arm has taken ``first + (m − 1) later`` seconds; it must be ahead for every m from n on.

    Args:
        first: seconds of the first step.
        later: seconds of each later step.
        other_first: seconds of the first step of the arm that it is compared with.
        other_later: seconds of each of its later steps.
    """
    if first <= other_first:
        return 1.0 if later <= other_later else math.inf
    if later >= other_later:
        return math.inf
    return 1 + math.ceil((first - other_first) / (other_later - later))


def break_even(records: Iterable[Record], arm: ArmAxes, base: ArmAxes) -> BreakEven | None:
    """Compare the first and the later steps of two arms, seed by seed; None where no seed has both.

    Args:
        records: of any trials; the largest part of them that may be compared is used.
        arm: the axes of the arm whose first step is slow.
        base: those of the other one.
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
