"""A plot of one column of the table of records against another."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from nodebench.errors import BadInput
from nodebench.escapes import for_matplotlib
from nodebench.spec.axes import AXES
from nodebench.spec.metrics import METRICS

_LONG = 1e3  # ratio of the largest to the smallest value
_DECADE = 10.0  # values that span more than this are drawn on a logarithmic axis


def scatter(table: pd.DataFrame, x: str, y: str, by: str, ax: Axes | None = None) -> Axes:
    """Draw a point for each row; the axes have the labels and units of the metrics.

    Raises:
        BadInput: no row has both values.
    """
    shown = table[list(dict.fromkeys([x, y, by]))].dropna(subset=[x, y])
    if shown.empty:
        raise BadInput(f"no trial has usable values of both {x} and {y}")
    if not pd.api.types.is_numeric_dtype(shown[by]):
        shown[by] = shown[by].map(lambda value: for_matplotlib(str(value)))
    if ax is None:
        ax = plt.subplots(layout="constrained")[1]
    drawn = sns.scatterplot(shown, x=x, y=y, hue=by, style=by, ax=ax)
    drawn.set(xlabel=_label(x), ylabel=_label(y))
    for name, axis, scale in ((x, drawn.xaxis, drawn.set_xscale), (y, drawn.yaxis, drawn.set_yscale)):
        if _spans_decades(shown[name]):
            scale("log")
            _tick(axis, shown[name].max() / shown[name].min())
    if legend := drawn.get_legend():
        legend.set_title(AXES[by].label if by in AXES else by)
    return drawn


def pareto(candidates: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Plot error against time of a recommendation's candidates; label the chosen one and those on the Pareto front.

    Args:
        candidates: one row per candidate, with the columns ``name``, ``error``, ``seconds`` and ``status``.
        ax: the axes to draw in; None creates a new figure.

    Raises:
        BadInput: no candidate has both values.
    """
    table = candidates.rename(columns={"error": "gradient_error", "seconds": "step_seconds"})
    drawn = scatter(table, "step_seconds", "gradient_error", "status", ax)
    for row in table.dropna(subset=["step_seconds", "gradient_error"]).itertuples():
        if row.status in ("chosen", "on the front"):
            name = for_matplotlib(str(row.name))
            place = (row.step_seconds, row.gradient_error)
            drawn.annotate(name, place, xytext=(4, 4), textcoords="offset points", fontsize="small")
    return drawn


def _tick(axis: Axis, span: float) -> None:
    """Label 1, 2 and 5 of each decade on a short logarithmic axis, and the decades alone on a long one."""
    if span > _LONG:
        axis.set_minor_formatter(NullFormatter())
        return
    axis.set_minor_locator(LogLocator(subs=(2, 5)))
    for label in (axis.set_major_formatter, axis.set_minor_formatter):
        label(FuncFormatter(lambda value, _: f"{value:g}"))


def _label(name: str) -> str:
    if name in METRICS:
        known = METRICS[name]
        return known.label if known.unit in ("1", "order") else f"{known.label} ({known.unit})"
    return AXES[name].label if name in AXES else for_matplotlib(name)


def _spans_decades(values: pd.Series) -> bool:
    if not pd.api.types.is_numeric_dtype(values):
        return False
    known = values.dropna()
    return bool(len(known) and known.min() > 0 and known.max() > _DECADE * known.min())
