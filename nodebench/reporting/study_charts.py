"""The figures of a study: what a declaration of one says, and the one piece of code that draws it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

from nodebench.analysis.fairness import Point, points_of, unreliable
from nodebench.analysis.lines import differences, parted
from nodebench.analysis.readings import Reading, all_paired, axis
from nodebench.analysis.statistics import median
from nodebench.claims.freeze import frozen_declarations
from nodebench.reporting.charts import Look, Series, against
from nodebench.reporting.document import Chart, slug
from nodebench.spec import Preset, Record, Status
from nodebench.spec.figures import figure, several, short
from nodebench.spec.trial import Scalar

XY = tuple[float, float]
# Records by where they come from: the reader's own under an empty name, others under a name that labels them.
Sides = Mapping[str, Sequence[Record]]


@dataclass(frozen=True)
class Points:
    """What a plot reads off a record.

    Attributes:
        of: gives the points of a record.
        timed: whether x or y is a wall time, which a busy machine spoils and which two machines do not share.
        paired: whether all such times are ratios of arms that ran interleaved.
        over: the axes and options of a trial that x stands for.
        places: whether each x is a place of its own, so that the trials at two of them need not be alike.
    """

    of: Callable[[Record], Iterable[XY]] = field(repr=False)
    timed: bool = False
    paired: bool = False
    over: tuple[str, ...] = ()
    places: bool = False


def each(x: Reading, y: Reading, scale: float = 1.0) -> Points:
    """One point a record."""

    def points(record: Record) -> Iterable[XY]:
        first, second = x.get(record), y.get(record)
        return [] if first is None or second is None else [(first, second * scale)]

    return Points(points, x.timed or y.timed, all_paired((x, y)))


def by_axis(name: str, y: Reading, scale: float = 1.0) -> Points:
    """One point a record, at its value on an axis or an option."""
    points = each(axis(name), y, scale)
    return Points(points.of, points.timed, points.paired, over=(name,))


def rows(table: str, x: str, y: str) -> Points:
    """One point for each row of the ``history`` or the ``profile`` that has both."""

    def points(record: Record) -> Iterable[XY]:
        for row in getattr(record, table):
            first, second = row.get(x), row.get(y)
            if first is not None and second is not None:
                yield first, second

    return Points(points, figure(x).is_time or figure(y).is_time)


def category(name: str, order: Sequence[str], y: Reading) -> Points:
    """One point a record, at the place of its axis's value in an order."""

    def points(record: Record) -> Iterable[XY]:
        place, value = str(getattr(record.trial, name)), y.get(record)
        return [(float(order.index(place)), value)] if place in order and value is not None else []

    return Points(points, y.timed, y.paired, over=_COMBINED.get(name, (name,)), places=True)


# Properties of a trial that stand for several axes at once.
_COMBINED = {"solver_label": ("solver", "batching", "compile")}


@dataclass(frozen=True)
class Plot:
    """A figure of a study.

    Attributes:
        about: what is drawn, for the caption and for someone who does not see it.
        by: the axes that tell the series apart; trials that differ in any other axis or option are told apart too.
        groups: of the study; all where none is named.
        study: whose records, where it is not the page's own.
        where: axes with the values asked for.
        along: an axis of which each value is one point, at the median of its x; where x is measured, as y is.
        over: axes and options in which the trials of one series may differ, beside ``along`` and those that x is.
        published: what the paper has at each x, by the label of the series that it stands beside; an empty label stands
            beside none.
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
        """Whether a record belongs to this figure, usable or not."""
        record = point.record
        return (
            (not self.groups or bool(set(self.groups) & set(record.place.groups)))
            and all(point.axes.get(name) in allowed for name, allowed in self.where)  # type: ignore[operator]
        )


def draw(plot: Plot, study: str, sides: Sides) -> list[Chart]:
    """Draw a figure of a study, one for each preset; none where there is nothing to draw."""
    there = {record.trial.preset for records in sides.values() for record in records}
    drawn = [_draw(plot, study, preset, sides) for preset in Preset if preset in there]
    return [chart for chart in drawn if chart is not None]


def _draw(plot: Plot, study: str, preset: Preset, sides: Sides) -> Chart | None:
    taken = {side: _taken(plot, preset, records) for side, records in sides.items()}
    usable = {
        side: [p for p in points if _why_not(plot, p) is None and any(True for _ in plot.points.of(p.record))]
        for side, points in taken.items()
    }
    labelled = _series(plot, usable)
    series = [Series(label, values) for label, points in labelled.items() if (values := _values(plot, points))]
    if not series:
        return None
    # What is left out of one figure does not change the order, and so the colours, of the others.
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
        f"{plot.about.rstrip('.')}. Median, and the range from the least to the greatest; preset {preset}, "
        f"{n} a point.{_left_out(plot, taken)}"
    )
    drawing = against(name, series, plot.look, published)
    table = [(one.label, x, y) for one in (*series, *published) for x in sorted(one.points) for y in one.points[x]]
    alt = f"{plot.about}. Series: {'; '.join(_described(one, plot.look.categories) for one in series)}."
    return Chart(name, caption, alt, drawing, ("series", plot.look.x or "place", plot.look.y), table)


def _taken(plot: Plot, preset: Preset, records: Sequence[Record]) -> list[Point]:
    """The records of a figure at one preset, in the order of their study."""
    ordered = sorted(records, key=lambda r: (r.place.number or 0, r.trial.seed, r.started))
    neutral = _neutral()
    points = [
        replace(point, axes={**neutral.get(point.record.trial.task, {}), **point.axes})
        for point in points_of(record for record in ordered if record.trial.preset is preset)
    ]
    return [point for point in points if plot.takes(point)]


@cache
def _neutral() -> Mapping[str, Mapping[str, Scalar | None]]:
    """By task, the options that a record older than them has: an option that is missing is no difference."""
    return frozen_declarations().neutral


def _why_not(plot: Plot, point: Point) -> str | None:
    """Why a record may not be drawn; None if it may."""
    if point.record.status is not Status.OK:
        return "the trial failed"
    return unreliable(point.record, plot.points.timed, plot.points.paired)


def _left_out(plot: Plot, taken: Mapping[str, Sequence[Point]]) -> str:
    """A sentence on the records that are not drawn; empty where there are none."""
    reasons = [why for points in taken.values() for point in points if (why := _why_not(plot, point))]
    told = [f"{several(reasons.count(why), 'trial')} ({why})" for why in dict.fromkeys(reasons)]
    return f" Left out: {', '.join(told)}." if told else ""


def _series(plot: Plot, sides: Mapping[str, Sequence[Point]]) -> dict[str, list[Point]]:
    """Records by the label of their series: no two in one that differ in anything but the seed and ``plot.free``."""
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
        anywhere = {one.name: one for some in every for one in some}  # along a line all points have the same names
        for members, here in zip(places.values(), every, strict=True):
            apart = here if plot.points.places else list(anywhere.values())
            for side, point in members:
                (more,) = parted([point], apart)
                found.setdefault(", ".join(filter(None, (label, more, side))) or "measured", []).append(point)
    return found


def _place(plot: Plot, point: Point) -> str:
    """Where a record lies on an axis of places; one place for all on any other axis."""
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
        while x in found:  # two values of the axis at one place stay two points
            x *= 1 + 1e-9
        found[x] = [y for _, y in some]
    return found


def _described(one: Series, categories: Sequence[str]) -> str:
    """A series in words: each of its values where x has names, else the first and the last."""
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
