"""The figures of a study: what a declaration of one says, and the one piece of code that draws it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from nodebench.analysis.fairness import Point, unreliable
from nodebench.analysis.readings import Reading
from nodebench.analysis.statistics import median
from nodebench.report.charts import Look, Series, against
from nodebench.report.document import Chart, slug
from nodebench.spec import Record
from nodebench.spec.figures import short

Points = Callable[[Record], Iterable[tuple[float, float]]]


def each(x: Reading, y: Reading, scale: float = 1.0) -> Points:
    """One point a record."""

    def points(record: Record) -> Iterable[tuple[float, float]]:
        first, second = x.get(record), y.get(record)
        return [] if first is None or second is None else [(first, second * scale)]

    return points


def rows(table: str, x: str, y: str) -> Points:
    """One point for each row of the ``history`` or the ``profile`` that has both."""

    def points(record: Record) -> Iterable[tuple[float, float]]:
        for row in getattr(record, table):
            first, second = row.get(x), row.get(y)
            if first is not None and second is not None:
                yield first, second

    return points


def category(name: str, order: Sequence[str], y: Reading) -> Points:
    """One point a record, at the place of its axis's value in an order."""

    def points(record: Record) -> Iterable[tuple[float, float]]:
        place, value = str(getattr(record.trial, name)), y.get(record)
        return [(float(order.index(place)), value)] if place in order and value is not None else []

    return points


@dataclass(frozen=True)
class Plot:
    """A figure of a study.

    Attributes:
        about: what is drawn, for the caption and for someone who does not see it.
        by: the axes that tell the series apart.
        groups: of the study; all where none is named.
        study: whose records, where it is not the page's own.
        where: axes with the values asked for.
        along: an axis of which each value is one point, at the median of its x; where x is measured, as y is.
        published: what the paper has, by label and x.
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
    published: tuple[tuple[str, tuple[tuple[float, float], ...]], ...] = ()


def draw(plot: Plot, study: str, records: Sequence[Record]) -> Chart | None:
    """Draw a figure of a study; None where there is nothing to draw."""
    grouped: dict[str, dict[float, list[float]]] = {}
    along: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for record in sorted(records, key=lambda r: (r.place.number or 0, r.trial.seed, r.started)):
        point = Point.of(record)
        if plot.groups and not set(plot.groups) & set(record.place.groups):
            continue
        if unreliable(record, "seconds" in plot.look.y or plot.look.y.endswith("(s)") or "seconds" in plot.look.x):
            continue
        if any(point.axes.get(name) not in allowed for name, allowed in plot.where):  # type: ignore[operator]
            continue
        label = ", ".join(_label(name, point) for name in plot.by if point.axes.get(name) is not None) or "measured"
        for x, y in plot.points(record):
            if plot.along:
                along.setdefault(label, {}).setdefault(str(point.axes.get(plot.along)), []).append((x, y))
            else:
                grouped.setdefault(label, {}).setdefault(x, []).append(y)
    for label, places in along.items():
        for points in places.values():
            x = median([x for x, _ in points])
            while x in grouped.get(label, {}):  # two values of the axis at one place stay two points
                x *= 1 + 1e-9
            grouped.setdefault(label, {})[x] = [y for _, y in points]
    if not grouped:
        return None
    series = [Series(label, points) for label, points in grouped.items()]
    published = [Series(label, {x: [y] for x, y in known}) for label, known in plot.published]
    name = slug(f"{study}-{plot.name}")
    counts = {len(values) for one in series for values in one.points.values()}
    n = f"n = {min(counts)}" + (f" to {max(counts)}" if len(counts) > 1 else "")
    caption = f"{plot.about.rstrip('.')}. Median, and the range from the least to the greatest; {n} a point."
    drawing = against(name, series, plot.look, published)
    table = [(one.label, x, y) for one in (*series, *published) for x in sorted(one.points) for y in one.points[x]]
    alt = f"{plot.about}. Series: {'; '.join(_described(one) for one in series)}."
    return Chart(name, caption, alt, drawing, ("series", plot.look.x or "place", plot.look.y), table)


def _described(one: Series) -> str:
    xs = sorted(one.points)
    first, last = (median(one.points[x]) for x in (xs[0], xs[-1]))
    return f"{one.label} from {first:.3g} at {xs[0]:g} to {last:.3g} at {xs[-1]:g}"


_NAMED = {"rtol": "rtol", "step_size": "h", "window_times": "windows", "irregular": "irregular"}


def _label(name: str, point: Point) -> str:
    value = point.axes[name]
    if isinstance(value, bool):
        return name if value else f"not {name}"
    text = short(value) if isinstance(value, float) else str(value)
    return f"{_NAMED[name]} {text}" if name in _NAMED else text
