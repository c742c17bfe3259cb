"""Plots of the report: one measured quantity against another.

The colours are the Okabe–Ito palette. Each series also has its own marker, so that series differ by more than colour.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import matplotlib as mpl
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from nodebench.analysis.statistics import median
from nodebench.claims import Verdict
from nodebench.escapes import for_matplotlib
from nodebench.reporting.drawing import INK, Drawing, Tooltips
from nodebench.store.snapshots import LARGEST

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F", "#B59B00")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
VERDICT_COLOURS = {
    Verdict.SUPPORTED: "#009E73",
    Verdict.REFUTED: "#D55E00",
    Verdict.PARTLY: "#E69F00",
    Verdict.INCONCLUSIVE: "#7F7F7F",
}
SUPPORT, REFUTE = VERDICT_COLOURS[Verdict.SUPPORTED], VERDICT_COLOURS[Verdict.REFUTED]
WIDTH, HEIGHT = 6.4, 3.6  # inches
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def plain_log(axis: mpl.axis.Axis) -> None:
    """Label a logarithmic axis with plain numbers up to three decades, with powers of ten beyond."""
    low, high = sorted(axis.get_view_interval())
    axis.set_minor_locator(NullLocator())  # minor ticks take half of the drawing time
    if high / low > 1000:
        axis.set_major_formatter(FuncFormatter(_power_of_ten))  # Matplotlib's own uses mathtext, which is slow
        return
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low > 4 else (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _power_of_ten(value: float, _: int) -> str:
    return "10" + str(round(math.log10(value))).translate(_SUPERSCRIPT)


# --- one quantity against another


@dataclass(frozen=True)
class Series:
    """One series of a plot: for each x, the values of all replicates.

    Attributes:
        partner: for published values, the label of the measured series whose colour and marker they take; empty if
            there is none.
    """

    label: str
    points: dict[float, list[float]]
    partner: str = ""


@dataclass(frozen=True)
class Look:
    """Axes, scales and style of a plot.

    Attributes:
        x, y: labels of the axes.
        guides: reference lines ``y = factor · x``, as pairs of label and factor.
        joined: whether the points of a series are joined, in the order of x.
        reverse: whether x decreases from left to right.
        whole: whether x takes whole numbers only, as epochs do.
        front: whether to draw the Pareto front: the points that no other point beats in both x and y (lower is better).
    """

    x: str
    y: str
    logs: Literal["", "x", "y", "xy"] = ""
    guides: tuple[tuple[str, float], ...] = ()
    joined: bool = True
    reverse: bool = False
    from_zero: bool = False
    whole: bool = False
    categories: tuple[str, ...] = ()  # names of x = 0, 1, 2, …
    front: bool = False


def against(name: str, series: Sequence[Series], look: Look, published: Sequence[Series] = ()) -> Drawing:
    """Plot medians over replicates with their range (minimum to maximum); published values have hollow markers."""

    def draw() -> tuple[Figure, Tooltips]:
        drawn = Figure(figsize=(WIDTH, HEIGHT))
        axes = drawn.subplots()
        drawable = list(map(_drawable, series))
        titles = {f"{name}-series-{index}": _titles(one, look) for index, one in enumerate(drawable)}
        for index, (one, gid) in enumerate(zip(drawable, titles, strict=True)):
            _series(axes, one, PALETTE[index % len(PALETTE)], _marker(index), look).set_gid(gid)
        for index, one in enumerate(published):
            _published(axes, one, _partner(one, series, index), look)
        logs = _logarithmic([*drawable, *published], look)
        axes.set_xscale("log" if "x" in logs else "linear")
        axes.set_yscale("log" if "y" in logs else "linear")
        for (label, factor), dashes in zip(look.guides, (":", "--"), strict=False):
            low, high = axes.get_xlim()
            low = max(low, 1e-12)
            axes.plot(
                [low, high],
                [factor * low, factor * high],
                color=INK,
                linewidth=0.8,
                linestyle=dashes,
                label=for_matplotlib(label),
            )
            axes.set_xlim(low, high)
        if look.front:
            _draw_front(axes, pareto_front(drawable))
        if look.from_zero and "y" not in logs:
            axes.set_ylim(bottom=0)
        if look.whole:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if look.categories:
            axes.set_xticks(range(len(look.categories)), list(map(for_matplotlib, look.categories)))
            axes.set_xlim(-0.5, len(look.categories) - 0.5)
        if look.reverse:
            axes.invert_xaxis()
        axes.set_xlabel(for_matplotlib(look.x))
        axes.set_ylabel(for_matplotlib(look.y))
        for axis, letter in ((axes.xaxis, "x"), (axes.yaxis, "y")):
            if letter in logs:
                plain_log(axis)
        axes.grid(visible=True, color=INK, alpha=0.1)
        if len(series) + len(published) + len(look.guides) + look.front > 1:
            _legend_below(drawn)
        sns.despine(drawn)
        return drawn, titles

    return Drawing(name, draw)


def _titles(one: Series, look: Look) -> list[str]:
    """Return the tooltip of each point by increasing x: its position, median, range and number of values."""
    found = []
    for x, ys in sorted(one.points.items()):
        where = look.categories[int(x)] if look.categories else f"{look.x} {x:.3g}"
        spread = f" [{min(ys):.3g}, {max(ys):.3g}]" if len(ys) > 1 else ""
        found.append(f"{one.label}\n{where}\n{look.y} {median(ys):.3g}{spread}, n = {len(ys)}")
    return found


def _legend_below(drawn: Figure) -> None:
    """Add a legend in as many columns as fit, at most three; rows beyond the second make the drawing higher."""
    renderer = FigureCanvasAgg(drawn).get_renderer()  # type: ignore[no-untyped-call]
    for columns in (3, 2, 1):
        legend = drawn.legend(loc="outside lower center", ncols=columns)
        if legend.get_window_extent(renderer).width <= 0.98 * drawn.bbox.width or columns == 1:
            break
        legend.remove()
    rows = math.ceil(len(legend.get_texts()) / columns)
    drawn.set_size_inches(WIDTH, HEIGHT + 0.2 * max(0, rows - 2))


def pareto_front(series: Sequence[Series]) -> list[tuple[float, float]]:
    """Return the medians on the Pareto front by increasing x; lower is better in both x and y."""
    found: list[tuple[float, float]] = []
    for x, y in sorted((x, median(ys)) for one in series for x, ys in one.points.items() if ys):
        if not found or y < found[-1][1]:
            found.append((x, y))
    return found


def _draw_front(axes: Axes, front: Sequence[tuple[float, float]]) -> None:
    """Draw the Pareto front as a step line."""
    if not front:
        return
    right, top = axes.get_xlim()[1], axes.get_ylim()[1]
    xs, ys = ([*one] for one in zip((front[0][0], top), *front, (right, front[-1][1]), strict=True))
    axes.step(xs, ys, where="post", color=INK, linewidth=1.2, linestyle=":", label="Pareto front", zorder=0)
    axes.set_xlim(right=right)
    axes.set_ylim(top=top)


def _drawable(one: Series) -> Series:
    """Return the series without the values that are too large for an axis."""
    found = {x: [y for y in ys if abs(y) <= LARGEST] for x, ys in one.points.items() if abs(x) <= LARGEST}
    return replace(one, points={x: ys for x, ys in found.items() if ys})


def _logarithmic(series: Sequence[Series], look: Look) -> str:
    """Return the axes to draw on a logarithmic scale: the requested ones that have at least one positive value."""
    values = {
        "x": [x for one in series for x in one.points],
        "y": [y for one in series for ys in one.points.values() for y in ys],
    }
    return "".join(letter for letter in look.logs if any(value > 0 for value in values[letter]))


def _published(axes: Axes, one: Series, index: int, look: Look) -> None:
    xs = sorted(one.points)
    colour = PALETTE[index % len(PALETTE)]
    axes.plot(
        xs,
        [one.points[x][0] for x in xs],
        _marker(index),
        markerfacecolor="none",
        markeredgecolor=colour,
        markersize=8,
        linestyle=":" if look.joined else "",
        color=colour,
        label=for_matplotlib(one.label),
    )


def _partner(one: Series, series: Sequence[Series], otherwise: int) -> int:
    """Return the index of the series whose colour and marker the published values take."""
    return next((i for i, ours in enumerate(series) if one.partner and one.partner == ours.label), otherwise)


def _marker(index: int) -> str:
    """Return a marker that no other series of the same colour has."""
    return MARKERS[(index + index // len(PALETTE)) % len(MARKERS)]


def _series(axes: Axes, one: Series, colour: str, marker: str, look: Look) -> Line2D:
    """Draw a series and return the line of its medians."""
    xs = sorted(one.points)
    middle = [median(one.points[x]) for x in xs]
    below = [m - min(one.points[x]) for m, x in zip(middle, xs, strict=True)]
    above = [max(one.points[x]) - m for m, x in zip(middle, xs, strict=True)]
    line, _, _ = axes.errorbar(
        xs,
        middle,
        yerr=(below, above),
        color=colour,
        marker=marker,
        markersize=5,
        linewidth=1.4,
        elinewidth=1,
        capsize=2,
        linestyle="-" if look.joined else "",
        label=for_matplotlib(one.label),
    )
    return line
