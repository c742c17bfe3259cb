"""Compute the number of one replicate from its records."""

import math
from collections.abc import Sequence

from nodebench.analysis.curves import line, ratio_at_equal
from nodebench.analysis.fairness import Point
from nodebench.claims.contract import Match, Part
from nodebench.claims.outcome import Note
from nodebench.spec import Status

_FEWEST_ON_A_LINE = 3


def replicate(part: Part, sides: Sequence[Sequence[Point]], notes: list[Note]) -> float | None:
    """Return the number of one replicate; infinite if one arm failed, None if there is no number.

    There is no number if it would be the difference or the ratio of two infinite values, those of failed solves.

    Args:
        part: what is measured.
        sides: the records of each arm; several per arm along the axis of a line, or if a trial was run again.
        notes: list to which a note is appended for everything that is left out.
    """
    number = _number(part, sides, notes)
    if number is not None and math.isnan(number):
        notes.append(Note("replicate left out: both solves that are compared failed"))
        return None
    return number


def _number(part: Part, sides: Sequence[Sequence[Point]], notes: list[Note]) -> float | None:
    if part.match:
        return _matched(part, part.match, sides, notes)
    if part.fit:
        numbers = [_fitted(part, side) for side in _at_the_same_places(part.fit.along, sides, notes)]
    else:
        if any(len(side) > 1 for side in sides):
            notes.append(Note("a trial was measured more than once: its latest record counts"))
        numbers = [_read(part, max(side, key=lambda point: point.record.started)) for side in sides]
    if None in numbers:
        notes.append(Note("replicate left out: too few records for a line"))
        return None
    first, second = numbers[0], numbers[-1]
    assert first is not None
    assert second is not None
    return _combined(part, first, second, notes) if part.against else first


def _combined(part: Part, first: float, second: float, notes: list[Note]) -> float | None:
    if math.isinf(first) and math.isinf(second):
        notes.append(Note("replicate left out: both arms failed"))
        return None
    if part.combine == "difference":
        return first - second
    if second == 0:
        notes.append(Note("replicate left out: the ratio divides by 0"))
        return None
    return -math.inf if math.isinf(second) else first / second


def _read(part: Part, point: Point) -> float | None:
    """A record's number; if the trial failed because of its method, the value that counts as worst."""
    return part.reading.get(point.record) if point.record.status is Status.OK else part.reading.failed


def _at_the_same_places(along: str, sides: Sequence[Sequence[Point]], notes: list[Note]) -> list[list[Point]]:
    """Return for each arm the latest record at each axis value that all arms have."""
    by_place = [
        {str(point.axes.get(along)): point for point in sorted(side, key=lambda point: point.record.started)}
        for side in sides
    ]
    common = set.intersection(*(set(places) for places in by_place))
    if any(places.keys() != common for places in by_place):
        notes.append(Note(f"values of {along} that only one arm has are left out of its line"))
    return [[point for place, point in places.items() if place in common] for places in by_place]


def _matched(part: Part, match: Match, sides: Sequence[Sequence[Point]], notes: list[Note]) -> float | None:
    """Return the ratio of two curves at equal error; failed trials are left out of the curves."""
    curves = []
    for side in sides:
        good = [point.record for point in side if point.record.status is Status.OK]
        if len(good) < len(side):
            notes.append(Note("failed trial left out of its curve", len(side) - len(good)))
        read = [(match.error.get(record), part.reading.get(record)) for record in good]
        curves.append([(x, y) for x, y in read if x is not None and y is not None])
    first, second = curves
    ratio = ratio_at_equal(first, second)
    if ratio is None:
        notes.append(Note(f"replicate left out: the arms share no range of {match.error.label}"))
    return ratio


def _fitted(part: Part, side: Sequence[Point]) -> float | None:
    assert part.fit is not None
    if any(point.record.status is not Status.OK for point in side):
        return part.reading.failed
    read = [(part.fit.x.get(point.record), part.reading.get(point.record)) for point in side]
    known = [(x, y) for x, y in read if x is not None and y is not None]
    if part.fit.logs:
        known = [(math.log10(x), math.log10(y)) for x, y in known if x > 0 and y > 0]
    if len({x for x, _ in known}) < _FEWEST_ON_A_LINE:
        return None
    x, y = zip(*sorted(known), strict=True)
    found = line(x, y)
    if part.fit.take == "slope":
        return found.slope
    return found.r_squared if part.fit.take == "r_squared" else abs(found.intercept) * len(y) / sum(y)
