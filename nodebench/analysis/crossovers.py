"""Compare two arms along an axis: the point at which one becomes cheaper, and the cost ratio at equal error."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from nodebench.analysis.comparability import largest
from nodebench.analysis.curves import crossing, ratio_at_equal
from nodebench.analysis.fairness import Point, by_installations, points_of, unreliable
from nodebench.analysis.readings import Reading
from nodebench.analysis.statistics import Estimate, estimate, median
from nodebench.analysis.study_membership import is_at
from nodebench.spec import Record, Status
from nodebench.spec.axes import Part, axis_names
from nodebench.spec.trial import Scalar


@dataclass(frozen=True)
class Crossover:
    """The point on an axis above which one arm needs less of a metric than another.

    Attributes:
        each: the point in each replicate; minus infinity if the first arm needs less at every measured point, infinity
            if it does not need less at the last one.
        at: geometric mean of ``each``; the median if one of them is infinite.
        span: the smallest and the largest measured point.
        price: ratio of another metric at the largest measured point: the median over the replicates in which the
            first arm is cheaper there; None if there is no such replicate.
    """

    each: tuple[float, ...]
    at: Estimate
    span: tuple[float, float]
    price: float | None


ArmAxes = Mapping[str, Scalar | None]


def crossover(
    points: Iterable[Point],
    axis: Reading,
    metric: Reading,
    price: Reading,
    arms: tuple[ArmAxes, ArmAxes],
    over: str = "",
) -> Crossover | None:
    """Find the point on an axis above which the first arm needs less of a metric than the second.

    Each replicate has its own point, interpolated between the measured ones. A failed trial costs more than any other.
    None if the arms have fewer than two points in common.

    Args:
        points: records of any trials; the largest comparable subset is used.
        axis: reads the position of a record on the axis.
        metric: reads the metric to compare.
        price: reads the metric whose ratio is reported as ``Crossover.price``.
        arms: the axes of the first arm and of the second.
        over: the trial axis that sets the position; by default the one that ``axis`` reads.
    """
    usable = [point for point in points if point.is_outcome and not unreliable(point.record, metric.timed)]
    sides = [_places(members, axis) for members in comparable(usable, arms, over or axis.metric)]
    crossed, prices, measured = [], [], list[float]()
    for seed in sorted(sides[0].keys() & sides[1].keys()):
        places = sorted(sides[0][seed].keys() & sides[1][seed].keys())
        known = [(place, _ratio(metric, sides[0][seed][place], sides[1][seed][place])) for place in places]
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
    mean = estimate(crossed, "log", metric.exact)
    return Crossover(tuple(crossed), mean, span, median(prices, "log") if prices else None)


_Places = dict[int, dict[float, Record]]  # by seed and place


def _places(points: Iterable[Point], axis: Reading) -> _Places:
    found: _Places = {}
    for point in points:
        place = axis.get(point.record)
        if place is not None:
            found.setdefault(point.seed, {})[place] = point.record
    return found


def comparable(points: Sequence[Point], arms: tuple[ArmAxes, ArmAxes], over: str = "") -> tuple[list[Point], ...]:
    """Select the largest subset of the records of two arms that differs only in arm, method and position on the axis.

    Both arms have the same problem, machine and packages. Within an arm only the position on the axis differs.

    Args:
        points: records of any trials.
        arms: the axes of the first arm and of the second.
        over: the axis along which an arm has several records; empty for none.
    """
    members = [point for point in points if any(is_at(point.axes, arm) for arm in arms)]
    packages: dict[str, list[Point]] = {}
    for point in members:
        packages.setdefault(str(point.machine), []).append(point)
    free = {over, *axis_names(Part.METHOD), *(name for arm in arms for name in arm)}
    alike = max(
        (largest(group, free, machines=True) for some in packages.values() for group in by_installations(some)),
        key=len,
        default=[],
    )
    return tuple(
        largest([point for point in alike if is_at(point.axes, arm)], {over, *arm}, machines=True) for arm in arms
    )


def _ratio(metric: Reading, first: Record, second: Record) -> float | None:
    """Return the ratio of a metric of two records; infinity or 0 if only the first or only the second failed."""
    good = first.status is Status.OK, second.status is Status.OK
    if not all(good):
        return None if not any(good) else math.inf if good[1] else 0.0
    above, below = metric.get(first), metric.get(second)
    return above / below if above is not None and below else None


def at_equal_error(
    records: Iterable[Record], error: Reading, cost: Reading, arms: tuple[ArmAxes, ArmAxes]
) -> Estimate | None:
    """Return the cost of the first arm relative to the second at equal error.

    Each replicate gives one ratio, from the curves of cost over error along ``rtol``. The largest comparable subset of
    the records is used.
    """
    sides: tuple[dict[int, list[tuple[float, float]]], ...] = ({}, {})
    usable = points_of(r for r in records if r.status is Status.OK and not unreliable(r, cost.timed))
    for side, members in zip(sides, comparable(usable, arms, "rtol"), strict=True):
        for point in members:
            x, y = error.get(point.record), cost.get(point.record)
            if x is not None and y is not None:
                side.setdefault(point.seed, []).append((x, y))
    both = [ratio_at_equal(sides[0][seed], sides[1][seed]) for seed in sorted(sides[0].keys() & sides[1].keys())]
    ratios = [ratio for ratio in both if ratio is not None]
    return estimate(ratios, "log") if ratios else None
