"""Plots of a study: the class that declares one (``Plot``) and the function that draws it (``draw``)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

from nodebench.analysis.comparability import differences, parted
from nodebench.analysis.fairness import Point, points_of, unreliable
from nodebench.analysis.readings import Reading, all_paired, axis
from nodebench.analysis.statistics import median
from nodebench.claims.freeze import frozen_declarations
from nodebench.reporting.charts import Look, Series, against
from nodebench.reporting.document import Chart, slug
from nodebench.spec import Preset, Record, Status
from nodebench.spec.metrics import metric, several, short
from nodebench.spec.trial import Scalar

XY = tuple[float, float]
# Records by origin: the user's own under an empty name, others under the name that labels them.
Sides = Mapping[str, Sequence[Record]]
PointsByPreset = Mapping[Preset, Mapping[str, Sequence[Point]]]  # by preset and origin


@dataclass(frozen=True)
class Points:
    """The points that a plot takes from a record.

    Attributes:
        of: returns the points of a record.
        timed: whether x or y is a wall time, which depends on the machine and on its load.
        paired: whether all such times are ratios of arms that ran interleaved.
        over: the axes and options of a trial that x represents.
        places: whether x is a category, so that trials of two categories may differ in other axes, too.
    """

    of: Callable[[Record], Iterable[XY]] = field(repr=False)
    timed: bool = False
    paired: bool = False
    over: tuple[str, ...] = ()
    places: bool = False


def each(x: Reading, y: Reading, scale: float = 1.0) -> Points:
    """Return one point per record."""

    def points(record: Record) -> Iterable[XY]:
        first, second = x.get(record), y.get(record)
        return [] if first is None or second is None else [(first, second * scale)]

    return Points(points, x.timed or y.timed, all_paired((x, y)))


def by_axis(name: str, y: Reading, scale: float = 1.0) -> Points:
    """Return one point per record, at its value of an axis or an option."""
    points = each(axis(name), y, scale)
    return Points(points.of, points.timed, points.paired, over=(name,))


def rows(table: str, x: str, y: str) -> Points:
    """Return one point per row of ``history`` or ``profile`` that has both values."""

    def points(record: Record) -> Iterable[XY]:
        for row in getattr(record, table):
            first, second = row.get(x), row.get(y)
            if first is not None and second is not None:
                yield first, second

    return Points(points, metric(x).is_time or metric(y).is_time)


def category(name: str, order: Sequence[str], y: Reading) -> Points:
    """Return one point per record, at the index of its axis value in ``order``."""

    def points(record: Record) -> Iterable[XY]:
        place, value = str(getattr(record.trial, name)), y.get(record)
        return [(float(order.index(place)), value)] if place in order and value is not None else []

    return Points(points, y.timed, y.paired, over=_COMBINED.get(name, (name,)), places=True)


# Properties of a trial that combine several axes.
_COMBINED = {"solver_label": ("solver", "batching", "compile")}


@dataclass(frozen=True)
class Plot:
    """A plot of a study.

    Attributes:
        about: what is drawn, for the caption and the text alternative.
        by: the axes that label the series; trials that differ in any other axis or option are separate series, too.
        groups: groups of the study to draw; empty for all.
        study: the study whose records are drawn; empty for the study of the page.
        where: axes with their accepted values.
        along: an axis with one point per value, at the median of x; used if x is measured, as y is.
        over: axes and options in which the trials of one series may differ, besides ``along`` and those of x.
        published: the published value at each x, by the label of the series that it belongs to; an empty label
            belongs to no series.
    """

    name: str
    about: str
    points: Points
    by: tuple[str, ...]
    look: Look
    groups: tuple[str, ...] = ()
    study: str = ""
    where: tuple[tuple[str, object], ...] = ()
    along: str = ""
    over: tuple[str, ...] = ()
    published: tuple[tuple[str, tuple[XY, ...]], ...] = ()

    @property
    def free(self) -> frozenset[str]:
        """Axes in which the trials of one series may differ."""
        return frozenset({*self.points.over, *self.over, self.along} - {""})

    def takes(self, point: Point) -> bool:
        """Return whether a record, usable or not, belongs to this plot."""
        record = point.record
        return (
            (not self.groups or bool(set(self.groups) & set(record.place.groups)))
            and all(point.axes.get(name) in allowed for name, allowed in self.where)  # type: ignore[operator]
        )


def points_by_preset(sides: Sides) -> PointsByPreset:
    """Return the records of a study as points, by preset and origin, in the order of the study."""
    return {
        preset: {side: found for side, records in sides.items() if (found := _points(preset, records))}
        for preset in Preset
    }


def draw(plot: Plot, study: str, points: PointsByPreset) -> list[Chart]:
    """Draw a plot of a study, one chart per preset that has something to draw."""
    drawn = [_draw(plot, study, preset, sides) for preset, sides in points.items()]
    return [chart for chart in drawn if chart is not None]


def _draw(plot: Plot, study: str, preset: Preset, sides: Mapping[str, Sequence[Point]]) -> Chart | None:
    taken = {side: [point for point in points if plot.takes(point)] for side, points in sides.items()}
    usable = {
        side: [p for p in points if _why_not(plot, p) is None and any(True for _ in plot.points.of(p.record))]
        for side, points in taken.items()
    }
    labelled = _series(plot, usable)
    series = [Series(label, values) for label, points in labelled.items() if (values := _values(plot, points))]
    if not series:
        return None
    # Unusable records count in the order, so that a series has the same colour in all plots of a study.
    order = {label: place for place, label in enumerate(labelled if usable == taken else _series(plot, taken))}
    series.sort(key=lambda one: order.get(one.label, len(order)))
    published = [
        Series(f"{partner}, published" if partner else "published", {x: [y] for x, y in known}, partner)
        for partner, known in plot.published
    ]
    name = slug(f"{study}-{plot.name}") + ("" if preset is Preset.QUICK else f"-{preset}")
    counts = {len(values) for one in series for values in one.points.values()}
    n = f"n = {min(counts)}" + (f" to {max(counts)}" if len(counts) > 1 else "")
    caption = (
        f"{plot.about.rstrip('.')}. Median and range (minimum to maximum) over replicates; preset {preset}, "
        f"{n} per point.{_left_out(plot, taken)}"
    )
    drawing = against(name, series, plot.look, published)
    table = [(one.label, x, y) for one in (*series, *published) for x in sorted(one.points) for y in one.points[x]]
    alt = f"{plot.about}. Series: {'; '.join(_described(one, plot.look.categories) for one in series)}."
    return Chart(name, caption, alt, drawing, ("series", plot.look.x or "place", plot.look.y), table)


def _points(preset: Preset, records: Sequence[Record]) -> list[Point]:
    ordered = sorted(records, key=lambda r: (r.place.number or 0, r.trial.seed, r.started))
    neutral = _neutral()
    return [
        replace(point, axes={**neutral.get(point.record.trial.task, {}), **point.axes})
        for point in points_of(record for record in ordered if record.trial.preset is preset)
    ]


@cache
def _neutral() -> Mapping[str, Mapping[str, Scalar | None]]:
    """Return by task the option values of records older than the option: a missing option is no difference."""
    return frozen_declarations().neutral


def _why_not(plot: Plot, point: Point) -> str | None:
    """Return why a record must not be drawn, or None if it may be drawn."""
    if point.record.status is not Status.OK:
        return "the trial failed"
    return unreliable(point.record, plot.points.timed, plot.points.paired)


def _left_out(plot: Plot, taken: Mapping[str, Sequence[Point]]) -> str:
    """Return a sentence about the records that are not drawn; empty if there are none."""
    reasons = [why for points in taken.values() for point in points if (why := _why_not(plot, point))]
    left_out = [f"{several(reasons.count(why), 'trial')} ({why})" for why in dict.fromkeys(reasons)]
    return f" Left out: {', '.join(left_out)}." if left_out else ""


def _series(plot: Plot, sides: Mapping[str, Sequence[Point]]) -> dict[str, list[Point]]:
    """Group records by the label of their series; within a series only the seed and ``plot.free`` may differ."""
    by: dict[str, dict[str, list[tuple[str, Point]]]] = {}
    for side, points in sides.items():
        for point in points:
            label = ", ".join(_label(name, point) for name in plot.by if point.axes.get(name) is not None)
            by.setdefault(label, {}).setdefault(_place(plot, point), []).append((side, point))
    found: dict[str, list[Point]] = {}
    for label, places in by.items():
        every = [
            differences([point for _, point in members], plot.free | set(plot.by), plot.points.timed)
            for members in places.values()
        ]
        anywhere = {one.name: one for some in every for one in some}  # a line has one set of names for all points
        for members, here in zip(places.values(), every, strict=True):
            apart = here if plot.points.places else list(anywhere.values())
            for side, point in members:
                (more,) = parted([point], apart)
                found.setdefault(", ".join(filter(None, (label, more, side))) or "measured", []).append(point)
    return found


def _place(plot: Plot, point: Point) -> str:
    """Return the category of a record if x is categorical; otherwise an empty text for all records."""
    return str([x for x, _ in plot.points.of(point.record)]) if plot.points.places else ""


def _values(plot: Plot, points: Sequence[Point]) -> dict[float, list[float]]:
    """The values of a series at each x."""
    found: dict[float, list[float]] = {}
    along: dict[str, list[XY]] = {}
    for point in points:
        for x, y in plot.points.of(point.record):
            if plot.along:
                along.setdefault(str(point.axes.get(plot.along)), []).append((x, y))
            else:
                found.setdefault(x, []).append(y)
    for some in along.values():
        x = median([x for x, _ in some])
        while x in found:  # two values of the axis with the same x stay two points
            x *= 1 + 1e-9
        found[x] = [y for _, y in some]
    return found


def _described(one: Series, categories: Sequence[str]) -> str:
    """Describe a series in words: all values if x is categorical, otherwise the first and the last."""
    values = {x: f"{median(ys):.3g}" for x, ys in sorted(one.points.items())}
    if categories:
        return f"{one.label}: " + ", ".join(f"{categories[int(x)]} {y}" for x, y in values.items())
    first, last = next(iter(values)), next(reversed(values))
    return f"{one.label} from {values[first]} at {first:g} to {values[last]} at {last:g}"


_NAMED = {
    "rtol": "rtol",
    "adjoint_rtol": "backward rtol",
    "autocast": "autocast",
    "step_size": "h",
    "window_times": "windows",
}


def _label(name: str, point: Point) -> str:
    value = point.axes[name]
    if isinstance(value, bool):
        return name if value else f"not {name}"
    text = short(value) if isinstance(value, float) else str(value)
    named = isinstance(value, int | float) or name in _NAMED
    return f"{_NAMED.get(name, name.replace('_', ' '))} {text}" if named else text
