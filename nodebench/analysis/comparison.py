"""Two arms along an axis: from where on one is the cheaper, and what it costs where both err equally."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from nodebench.analysis.curves import crossing, ratio_at_equal
from nodebench.analysis.fairness import Point, unreliable
from nodebench.analysis.homes import is_at
from nodebench.analysis.readings import Reading
from nodebench.analysis.statistics import Estimate, estimate, median
from nodebench.spec import Record, Status
from nodebench.spec.trial import Scalar


@dataclass(frozen=True)
class Crossover:
    """From where on one arm needs less of a figure than another.

    Attributes:
        at: the place, one a replicate; minus infinity where it holds at every place measured, infinity where at none.
        span: the least and the greatest place measured.
        price: the ratio of another figure at the greatest place where the first arm is the cheaper one; None if none.
    """

    at: Estimate
    span: tuple[float, float]
    price: float | None


ArmAxes = Mapping[str, Scalar | None]


def crossover(
    points: Iterable[Point], axis: Reading, figure: Reading, price: Reading, arms: tuple[ArmAxes, ArmAxes]
) -> Crossover | None:
    """Find from which place of an axis on the first arm needs less of a figure than the second does.

    Each replicate has a place of its own, interpolated between those measured. A trial that failed costs more than
    any other. None where the arms have fewer than two places in common.
    """
    sides: tuple[_Places, _Places] = ({}, {})
    for point in points:
        if not point.is_outcome or unreliable(point.record, figure.timed):
            continue
        place = axis.get(point.record)
        for side, arm in zip(sides, arms, strict=True):
            if place is not None and is_at(point.axes, arm):
                side.setdefault(point.seed, {})[place] = point.record
    crossed, prices, measured = [], [], list[float]()
    for seed in sorted(sides[0].keys() & sides[1].keys()):
        places = sorted(sides[0][seed].keys() & sides[1][seed].keys())
        known = [(place, _ratio(figure, sides[0][seed][place], sides[1][seed][place])) for place in places]
        ratios = [(place, ratio) for place, ratio in known if ratio is not None]
        if len(ratios) < 2:
            continue
        crossed.append(crossing(ratios))
        measured += [ratios[0][0], ratios[-1][0]]
        last = ratios[-1][0]
        both = sides[0][seed][last], sides[1][seed][last]
        paid = None if any(unreliable(record, price.timed) for record in both) else _ratio(price, *both)
        if ratios[-1][1] < 1 and paid and math.isfinite(paid):
            prices.append(paid)
    if not crossed:
        return None
    span = min(measured), max(measured)
    return Crossover(estimate(crossed, "log", figure.exact), span, median(prices, "log") if prices else None)


_Places = dict[int, dict[float, Record]]


def _ratio(figure: Reading, first: Record, second: Record) -> float | None:
    """A figure of one record over that of another; beyond every number where one alone has failed."""
    good = first.status is Status.OK, second.status is Status.OK
    if not all(good):
        return None if not any(good) else math.inf if good[1] else 0.0
    above, below = figure.get(first), figure.get(second)
    return above / below if above is not None and below else None


def at_equal_error(
    records: Iterable[Record], error: Reading, cost: Reading, arms: tuple[ArmAxes, ArmAxes]
) -> Estimate | None:
    """What the first arm costs over the second where both err equally: over tolerances, one ratio a replicate."""
    sides: tuple[dict[int, list[tuple[float, float]]], ...] = ({}, {})
    for record in records:
        point = Point.of(record)
        if record.status is not Status.OK or unreliable(record, cost.timed):
            continue
        x, y = error.get(record), cost.get(record)
        for side, arm in zip(sides, arms, strict=True):
            if x is not None and y is not None and is_at(point.axes, arm):
                side.setdefault(point.seed, []).append((x, y))
    both = [ratio_at_equal(sides[0][seed], sides[1][seed]) for seed in sorted(sides[0].keys() & sides[1].keys())]
    ratios = [ratio for ratio in both if ratio is not None]
    return estimate(ratios, "log") if ratios else None
