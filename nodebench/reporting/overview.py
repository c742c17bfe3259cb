"""Overview plot of all claims: one row each with estimate, interval, region of support and published value.

Claims have different units, so each row has its own axis, scaled to the values that are drawn in the row.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from nodebench.analysis.statistics import Estimate
from nodebench.claims import ClaimResult, PartResult, Topic
from nodebench.escapes import for_matplotlib
from nodebench.reporting.charts import SUPPORT, VERDICT_COLOURS
from nodebench.reporting.document import page_name
from nodebench.reporting.drawing import INK, Drawing, Tooltips
from nodebench.store.snapshots import LARGEST

_WIDTH, _ROW = 8.0, 0.25  # inches
_NAMES, _WORDS = -0.03, 1.03  # x of the names (right edge) and of the results (left edge), in row widths


@dataclass(frozen=True)
class Row:
    """A claim in the overview plot.

    Attributes:
        result: the result of the claim.
        part: the effect that is drawn.
        estimate: the estimate of that effect.
    """

    result: ClaimResult
    part: PartResult
    estimate: Estimate

    @property
    def words(self) -> str:
        """The text at the end of the row."""
        return f"{self.part.number} · {self.result.verdict}"


def rows(results: Sequence[ClaimResult]) -> list[Row]:
    """Return a row for each claim that has an estimate, sorted by topic."""
    found = []
    for result in results:
        part = result.headline.headline_part if result.headline else None
        if part and part.estimate:
            found.append(Row(result, part, part.estimate))
    topics = list(Topic)
    return sorted(found, key=lambda row: topics.index(row.result.claim.topic))


def overview(name: str, shown: Sequence[Row]) -> Drawing:
    """Draw one row per claim, grouped by topic."""
    groups = [(topic, list(some)) for topic, some in groupby(shown, key=lambda row: row.result.claim.topic)]
    lines = len(shown) + len(groups)

    def draw() -> tuple[Figure, Tooltips]:
        drawn = Figure(figsize=(_WIDTH, 0.7 + _ROW * lines))
        axes = drawn.subplots()
        line = float(lines)
        for topic, some in groups:
            line -= 1
            axes.text(_NAMES, line, topic.value, ha="right", va="center", fontweight="bold")
            for row in some:
                line -= 1
                _draw(axes, row, line)
        axes.set(xlim=(0, 1), ylim=(-0.6, lines - 0.4))
        axes.axis("off")
        drawn.legend(handles=_legend(), loc="outside upper right", ncols=5)
        return drawn, {}

    return Drawing(name, draw)


def _legend() -> list[Patch | Line2D]:
    return [
        Patch(color=SUPPORT, alpha=0.18, linewidth=0, label="supports the claim"),
        Line2D([], [], color=INK, marker="o", linewidth=2.2, label="estimate and interval"),
        Line2D([], [], color=INK, marker="D", markerfacecolor="none", linestyle="", label="published"),
    ]


def _draw(axes: Axes, row: Row, line: float) -> None:
    claim, part, estimate = row.result.claim, row.part.part, row.estimate
    colour = VERDICT_COLOURS.get(row.result.verdict, INK)
    published = claim.published_value if part is claim.parts[0] else None
    place = _placement(row, published)
    low, high = (place(edge) for edge in part.supports)
    axes.fill_between([low, high], line - 0.42, line + 0.42, color=SUPPORT, alpha=0.18, linewidth=0)
    axes.plot([0, 1], [line, line], color=INK, alpha=0.15, linewidth=0.6)
    axes.plot([place(estimate.low), place(estimate.high)], [line, line], color=colour, linewidth=2.2)
    face = colour if row.result.verdict.is_decided else "none"
    axes.plot([place(estimate.value)], [line], "o", color=colour, markerfacecolor=face, markersize=5)
    if published is not None:
        axes.plot([place(published)], [line], "D", color=INK, markerfacecolor="none", markersize=6)
    label = claim.id if claim.scope == "default" else claim.name
    page = f"{page_name(f'claim-{claim.id}')}.html"
    axes.text(_NAMES, line, for_matplotlib(label), ha="right", va="center", url=page)
    axes.text(_WORDS, line, for_matplotlib(row.words), ha="left", va="center", color=colour)


def _placement(row: Row, published: float | None) -> Callable[[float], float]:
    """Return the function that maps a value to its position in [0, 1] on the axis of a row."""
    edges = [edge for edge in row.part.part.supports if math.isfinite(edge)]
    ends = (row.estimate.low, row.estimate.value, row.estimate.high)
    values = [*edges, *(value for value in ends if abs(value) <= LARGEST), *([] if published is None else [published])]
    logarithmic = row.part.part.scale == "log" and min(values) > 0
    scaled: Callable[[float], float] = math.log if logarithmic else float
    low, high = scaled(min(values)), scaled(max(values))
    room = 0.12 * (high - low) or 1.0

    def place(value: float) -> float:
        if logarithmic and value <= 0:
            return 0.0
        found = value if math.isinf(value) else scaled(value)
        return min(max((found - low + room) / (high - low + 2 * room), 0.0), 1.0)

    return place
