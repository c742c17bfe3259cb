"""A plot of one column of the table of records against another."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from nodebench.spec.axes import AXES
from nodebench.spec.figures import FIGURES

_DECADE = 10.0  # values that span more than this are drawn on a logarithmic axis


def scatter(table: pd.DataFrame, x: str, y: str, by: str, ax: Axes | None = None) -> Axes:
    """Draw a point for each row, with the labels and units of the figures."""
    if ax is None:
        ax = plt.subplots(layout="constrained")[1]
    drawn = sns.scatterplot(table, x=x, y=y, hue=by, style=by, ax=ax)
    drawn.set(xlabel=_label(x), ylabel=_label(y))
    for name, scale in ((x, drawn.set_xscale), (y, drawn.set_yscale)):
        if _spans_decades(table[name]):
            scale("log")
    if legend := drawn.get_legend():
        legend.set_title(AXES[by].label if by in AXES else by)
    return drawn


def _label(name: str) -> str:
    if name in FIGURES:
        known = FIGURES[name]
        return known.label if known.unit in ("1", "order") else f"{known.label} ({known.unit})"
    return AXES[name].label if name in AXES else name


def _spans_decades(values: pd.Series) -> bool:
    if not pd.api.types.is_numeric_dtype(values):
        return False
    known = values.dropna()
    return bool(len(known) and known.min() > 0 and known.max() > _DECADE * known.min())
