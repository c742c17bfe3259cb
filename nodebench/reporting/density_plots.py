"""Plots of a two-dimensional density: the data, samples of the model, the model's density, and a flow over time.

All panels have the axes of the density grid, so that panels can be compared and the axes of an animation do not move.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from nodebench.escapes import for_matplotlib
from nodebench.reporting.colours import FITTED, OBSERVED
from nodebench.spec.trajectories import Trajectories

COLOURS = "viridis"  # for densities: perceptually uniform, so that it is readable in greyscale


def panels(shown: Trajectories) -> int:
    """Return the number of panels: 3, or 2 without a flow, because there are then no samples of the model."""
    return 3 if shown.moved.size else 2


def draw_density(grid: Sequence[Axes], shown: Trajectories) -> None:
    """Draw data, samples and density into their panels."""
    _points(grid[0], shown, shown.observed[0], OBSERVED, "data")
    if shown.moved.size:
        _points(grid[1], shown, shown.moved[-1], FITTED, "samples of the model")
    axes = grid[panels(shown) - 1]
    _fix(axes, shown, "density of the model")
    (left, right), (low, high) = (ends[[0, -1]] for ends in shown.axes)
    density = np.nan_to_num(shown.density)
    axes.imshow(
        density, origin="lower", extent=(left, right, low, high), cmap=COLOURS, vmin=0, interpolation="bilinear"
    )


def draw_flow(axes: Axes, shown: Trajectories, step: int) -> None:
    """Draw the points of a flow at one of its times."""
    label = f"{shown.time_label} = {shown.times[step]:.2f}"
    _points(axes, shown, shown.moved[step], FITTED, label)


def _points(axes: Axes, shown: Trajectories, points: np.ndarray, color: str, title: str) -> None:
    _fix(axes, shown, title)
    axes.plot(*points.T, "o", color=color, markersize=1.5, alpha=0.6)


def _fix(axes: Axes, shown: Trajectories, title: str) -> None:
    axes.set_title(for_matplotlib(title))
    axes.set(xlim=shown.axes[0][[0, -1]], ylim=shown.axes[1][[0, -1]], aspect="equal")
    axes.set_xlabel(for_matplotlib(shown.labels[0]))
    axes.set_ylabel(for_matplotlib(shown.labels[1]))
