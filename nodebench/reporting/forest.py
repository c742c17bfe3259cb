"""Forest plot of a claim: estimates against the regions of support and refutation."""

import math
from collections.abc import Sequence

import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nodebench.analysis.statistics import Range
from nodebench.claims import PartResult
from nodebench.escapes import for_matplotlib
from nodebench.reporting.charts import REFUTE, SUPPORT, VERDICT_COLOURS, WIDTH, plain_log
from nodebench.reporting.drawing import INK, Drawing, Tooltips
from nodebench.store.snapshots import LARGEST


def forest(name: str, results: Sequence[PartResult], published: float | None, ratio: bool) -> Drawing:
    """Draw estimates with intervals and replicates, over the regions that support and refute the claim.

    All results belong to one part. ``ratio`` selects a logarithmic axis.
    """
    shown = [one for one in results if one.estimate is not None]
    part = shown[0].part
    scale = 100 if part.unit == "%" else 1

    def draw() -> tuple[Figure, Tooltips]:
        drawn = Figure(figsize=(WIDTH, 1.1 + 0.42 * len(shown)))
        axes = drawn.subplots()
        values = [v * scale for one in shown for v in _on_axis(one)]
        values += [published * scale] if published is not None and (published > 0 or not ratio) else []
        edges = [edge * scale for ends in (part.supports, *part.regions.refuting) for edge in ends]
        values += [edge for edge in edges if math.isfinite(edge) and (edge > 0 or not ratio)]
        low, high = _window(values, ratio)
        _shade(axes, [part.supports], SUPPORT, "supports the claim", scale, (low, high))
        _shade(axes, part.regions.refuting, REFUTE, "refutes the claim", scale, (low, high))
        for row, one in enumerate(reversed(shown)):
            _result(axes, one, row, scale, (low, high))
        if published is not None and low <= published * scale <= high:
            axes.axvline(published * scale, color=INK, linewidth=1, linestyle=":", label="published")
        axes.set_xscale("log" if ratio else "linear")
        axes.set_xlim(low, high)
        axes.set_ylim(-0.6, len(shown) - 0.4)
        labels = [for_matplotlib(one.sample.label or "all") for one in reversed(shown)]
        axes.set_yticks(range(len(shown)), labels if any(one.sample.label for one in shown) else ["" for _ in shown])
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(
            for_matplotlib(_axis_label(part.reading.label, part.combine if part.against else "", part.unit))
        )
        if ratio:
            plain_log(axes.xaxis)
        drawn.legend(loc="outside upper right", ncols=3)
        sns.despine(drawn, left=True)
        return drawn, {}

    return Drawing(name, draw)


def _shade(
    axes: Axes, ranges: Sequence[Range], colour: str, words: str, scale: float, window: tuple[float, float]
) -> None:
    """Shade ranges of values, clipped to the limits of the axis."""
    for number, ends in enumerate(ranges):
        low, high = (min(max(edge * scale, window[0]), window[1]) for edge in ends)
        label = words if number == 0 else "_"  # one legend entry for all ranges
        axes.axvspan(low, high, color=colour, alpha=0.13, linewidth=0, label=label)
        for edge in ends:
            if window[0] < edge * scale < window[1]:
                axes.axvline(edge * scale, color=colour, linewidth=0.8)


def _axis_label(reading: str, combine: str, unit: str) -> str:
    what = {"ratio": f"ratio of {reading}", "difference": f"difference of {reading}"}.get(combine, reading)
    return f"{what} ({unit})" if unit in ("%", "points") else what


def _result(axes: Axes, result: PartResult, row: int, scale: float, window: tuple[float, float]) -> None:
    assert result.estimate is not None
    colour = VERDICT_COLOURS.get(result.verdict, INK)
    low, high = (min(max(end * scale, window[0]), window[1]) for end in (result.estimate.low, result.estimate.high))
    seeds = [value * scale for value in result.sample.values.values() if abs(value) <= LARGEST]
    axes.plot(seeds, [row - 0.2] * len(seeds), "|", color=INK, alpha=0.6, markersize=6)
    axes.plot([low, high], [row, row], color=colour, linewidth=2.2, solid_capstyle="butt")
    if abs(result.estimate.value) <= LARGEST:
        axes.plot([result.estimate.value * scale], [row], "o", color=colour, markersize=6)


def _on_axis(result: PartResult) -> list[float]:
    """Return the values that the axis must include: those that are finite and not too large to draw."""
    assert result.estimate is not None
    found = result.estimate
    return [v for v in (*result.sample.values.values(), found.low, found.high, found.value) if abs(v) <= LARGEST]


def _window(values: Sequence[float], ratio: bool) -> tuple[float, float]:
    """Return axis limits around values, with a margin."""
    if ratio:
        known = [value for value in values if value > 0] or [1.0]
        low, high = min(known), max(known)
        room = max((high / low) ** 0.08, 1.15)
        return low / room, high * room
    low, high = min(values, default=0.0), max(values, default=0.0)
    room = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
    return low - room, high + room
