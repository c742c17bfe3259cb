"""Plots of one trial: training curves, trajectories over time and in the plane, and animations.

True trajectories are solid and fitted ones dashed, as in the Breakdown article.
"""

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from nodebench.escapes import for_matplotlib
from nodebench.paths import file_name, make_folder, write_file
from nodebench.reporting.colours import FIELD, FITTED, MUTED, OBSERVED, TRUE
from nodebench.reporting.density_plots import draw_density, draw_flow, panels
from nodebench.spec import Record
from nodebench.spec.metrics import metric
from nodebench.spec.trajectories import Snapshots, Trajectories
from nodebench.store.snapshots import LARGEST

LEVELS = np.linspace(-1.5, 1.5, 13)  # of a learned function whose targets are −1 and 1
SHADES = mpl.colormaps["PuOr"]
SHADE: dict[str, Any] = {"color": "#7F7F7F", "alpha": 0.15}  # visible on light and dark pages
FORMATS = ("svg", "png")
WIDTH = 5.0  # inches; text of 10 points stays readable at half of it
EXAMPLES = 3  # rows of a figure over time
FRAMES_PER_SECOND = 4
LAST_FRAME_SECONDS = 2

_STYLE = {"font.size": 10, "axes.titlesize": 10, "axes.labelsize": 10, "legend.fontsize": 9, "svg.fonttype": "none"}


def draw_trial(record: Record, snapshots: Snapshots, folder: Path, animate: bool = False) -> list[Path]:
    """Draw all plots of a trial as SVG and PNG, with ``animate`` also a GIF of its training; return the files.

    Raises:
        BadInput: a file would be written through a symbolic link.
        OSError: a file cannot be written.
    """
    stem = _stem(record)
    drawings: dict[str, Callable[[], Figure]] = {}
    if _known(record.history, "loss")[0]:
        drawings["training"] = lambda: training(record)
    last = snapshots[max(snapshots)] if snapshots else None
    plane = last is not None and last.true.shape[2] > 1
    if last and last.density.size:
        drawings["density"] = lambda: density(_title(record), last)
    elif last and plane:
        drawings["portrait"] = lambda: portrait(_title(record), last)
    if last and not last.density.size and len(last.times) > 1:
        drawings["time"] = lambda: over_time(_title(record), last)
    make_folder(folder)
    files = []
    with style():
        for kind, draw in drawings.items():
            drawn = draw()
            lay_out(drawn)
            for format in FORMATS:
                content = io.BytesIO()
                # Without a date the same records give the same file.
                metadata = {"Date": None} if format == "svg" else None
                drawn.savefig(content, format=format, dpi=200, metadata=metadata)
                files.append(write_file(folder, f"{stem}.{kind}.{format}", content=content.getvalue()))
        if animate and len(snapshots) > 1 and plane:
            files.append(write_file(folder, f"{stem}.gif", content=_animation(record, snapshots)))
        if animate and last and last.moved.size:
            files.append(write_file(folder, f"{stem}.flow.gif", content=_flow(_title(record), last)))
    return files


@contextmanager
def style(salt: str = "nodebench", **more: Any) -> Iterator[None]:
    """Apply the common plot style and the settings ``more``; ``salt`` makes the SVG ids reproducible."""
    theme = sns.axes_style("ticks") | sns.plotting_context("paper") | _STYLE | more
    with mpl.rc_context(theme | {"svg.hashsalt": salt}), warnings.catch_warnings():  # type: ignore[arg-type]
        # A character that the font lacks is drawn as a box; a warning is not needed.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def lay_out(drawn: Figure) -> None:
    """Lay out a figure once; with the layout engine attached, it would be drawn a second time at every save."""
    ConstrainedLayoutEngine().execute(drawn)


def _stem(record: Record) -> str:
    """Return a readable file name that is unique to the record."""
    trial = record.trial
    parts = [trial.model, trial.solver, trial.gradient, f"seed{trial.seed}", record.id]
    return file_name("-".join(part for part in parts if part))


def _title(record: Record) -> str:
    trial = record.trial
    solver = f" · {trial.solver_label} {trial.step_label} · {trial.gradient_label}" if trial.solver else ""
    return f"{trial.task} · {trial.model}{solver} · seed {trial.seed}"


def _new(title: str, width: float, height: float) -> Figure:
    drawn = Figure(figsize=(width, height))
    drawn.suptitle(for_matplotlib(title), fontsize=9, color=MUTED)
    return drawn


# --- over training


def training(record: Record) -> Figure:
    """Plot by epoch: the loss, the first test metric if it is known for several epochs, and the NFE."""
    names = ("nfe_forward", "nfe_backward", "nfe_probe")
    history = record.history
    calls = {name: _known(history, name) for name in names}
    calls = {name: points for name, points in calls.items() if len(points[0])}
    first = _first_metric(record)
    rows = 1 + bool(first) + bool(calls)
    drawn = _new(_title(record), WIDTH, 0.8 + 1.8 * rows)
    axes = drawn.subplots(rows, sharex=True, squeeze=False)[:, 0]
    epochs, loss = _known(history, "loss")
    axes[0].plot(epochs, loss, color=TRUE, marker=".")
    axes[0].set_ylabel("training loss")
    if min(loss) > 0 and max(loss) > 5 * min(loss):
        axes[0].set_yscale("log")
    if first:
        axes[1].plot(*_known(history, first), color=FITTED, marker=".")
        axes[1].set_ylabel(metric(first).label)
    labels = {
        "nfe_forward": "forward, per step",
        "nfe_backward": "backward, per step",
        "nfe_probe": "forward, probe batch",
    }
    for (name, points), color, style in zip(calls.items(), (TRUE, FITTED, OBSERVED), ("-", "--", ":"), strict=False):
        axes[-1].plot(*points, style, color=color, marker=".", label=labels[name])
    if calls:
        axes[-1].set_ylabel("NFE")
        axes[-1].set_ylim(bottom=0)
        axes[-1].legend(frameon=False)
    axes[-1].set_xlabel("epoch")
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    sns.despine(drawn)
    return drawn


_NO_METRICS = frozenset({"epoch", "loss", "final_loss", "seconds"})


def _first_metric(record: Record) -> str:
    """Return the first metric, in the order of the task, that is known for several epochs; empty if none is."""
    names = (name for row in record.history for name in row if name not in _NO_METRICS and not name.startswith("nfe_"))
    return next((name for name in names if len(_known(record.history, name)[0]) > 1), "")


def _known(history: list[dict[str, float | None]], name: str) -> tuple[list[float], list[float]]:
    """Return the epochs and values of the rows that have a value, without values that are too large to draw."""
    points = [(row["epoch"], row.get(name)) for row in history]
    drawn = [(x, y) for x, y in points if x is not None and y is not None and abs(x) <= LARGEST and abs(y) <= LARGEST]
    return [x for x, _ in drawn], [y for _, y in drawn]


# --- in the plane


def portrait(title: str, shown: Trajectories) -> Figure:
    """Plot trajectories in the plane of the first two components, over the learned field if there is one."""
    count = len(shown.true)
    columns = 1 if count == 1 else 2
    rows = -(-count // columns)
    drawn = _new(title, WIDTH, 0.6 + 4.2 * rows / columns)
    for axes, example in zip(drawn.subplots(rows, columns, squeeze=False).flat, range(count), strict=False):
        _plane(axes, shown, example)
    if shown.surface.size:
        shades = ScalarMappable(BoundaryNorm(LEVELS, SHADES.N, extend="both"), SHADES)
        drawn.colorbar(shades, ax=drawn.axes, use_gridspec=False, label="output", ticks=[-1, 0, 1])
    _legend(drawn, shown, shade=False)
    sns.despine(drawn)
    return drawn


def _plane(axes: Axes, shown: Trajectories, example: int) -> None:
    if shown.surface.size:
        axes.contourf(*shown.axes, shown.surface, LEVELS, cmap=SHADES, extend="both", zorder=0)
        axes.contour(*shown.axes, shown.surface, [0.0], colors=TRUE, linewidths=1.0, zorder=1)
        axes.set_aspect("equal")
    if shown.field.size:
        u, v = shown.field[..., 0], shown.field[..., 1]
        axes.streamplot(
            shown.axes[0], shown.axes[1], u, v, color=FIELD, linewidth=0.7, density=1.1, arrowsize=0.7, zorder=1
        )
    if shown.planar:
        axes.set(xlim=shown.axes[0][[0, -1]], ylim=shown.axes[1][[0, -1]])
    else:
        axes.set(xlim=_limits(shown, example, 0, 0.25), ylim=_limits(shown, example, 1, 0.25))
    axes.plot(*shown.observed[example, :, :2].T, "o", color=OBSERVED, markersize=2.5, alpha=0.5, zorder=2)
    axes.plot(*shown.true[example, :, :2].T, color=TRUE, linewidth=1.3, zorder=3)
    axes.plot(*_connected(shown.fitted[example])[:, :2].T, "--", color=FITTED, linewidth=1.5, zorder=4)
    axes.set_xlabel(for_matplotlib(shown.labels[0]))
    axes.set_ylabel(for_matplotlib(shown.labels[1]))


def density(title: str, shown: Trajectories) -> Figure:
    """Data, samples of the model and its density side by side, on the same axes."""
    count = panels(shown)
    drawn = _new(title, 2.6 * count, 3.1)
    draw_density(drawn.subplots(1, count, squeeze=False)[0], shown)
    return drawn


# --- over time


def over_time(title: str, shown: Trajectories) -> Figure:
    """Plot each component over time; times outside the training range are shaded."""
    count, components = min(EXAMPLES, len(shown.true)), shown.true.shape[2]
    rows, columns = (components, 1) if count == 1 else (count, components)
    drawn = _new(title, WIDTH, 0.9 + 1.5 * rows)
    grid = drawn.subplots(rows, columns, sharex=True, squeeze=False)
    panels = [(example, component) for example in range(count) for component in range(components)]
    for axes, (example, component) in zip(grid.flat, panels, strict=True):
        _panel(axes, shown, example, component)
    for example, name in enumerate(shown.names[:count]):
        first = panels.index((example, 0))
        grid.flat[first].set_title(for_matplotlib(name), loc="left", fontsize=9)
    for axes in grid[-1]:
        axes.set_xlabel(for_matplotlib(shown.time_label))
    _legend(drawn, shown, shade=_beyond(shown))
    sns.despine(drawn)
    return drawn


def _panel(axes: Axes, shown: Trajectories, example: int, component: int) -> None:
    start, end = shown.trained
    first, last = float(shown.times[0]), float(shown.times[-1])
    for low, high in ((first, start), (end, last)):
        if high > low:
            axes.axvspan(low, high, linewidth=0, zorder=0, **SHADE)
    if shown.names:
        _points(axes, shown, example, component)
        axes.set(xlim=(first, last), ylim=_limits(shown, example, component, 0.4))
        axes.set_ylabel(for_matplotlib(shown.labels[component]))
        return
    axes.plot(
        shown.observed_times[example], shown.observed[example, :, component], "o", color=OBSERVED, ms=2, alpha=0.5
    )
    true = _connected(np.column_stack([shown.times, shown.true[example, :, component]]))
    axes.plot(*true.T, color=TRUE, linewidth=1.3)
    fitted = _connected(np.column_stack([shown.times, shown.fitted[example, :, component]]))
    axes.plot(*fitted.T, "--", color=FITTED, linewidth=1.5)
    axes.set(xlim=(first, last), ylim=_limits(shown, example, component, 0.4))
    axes.set_ylabel(for_matplotlib(shown.labels[component]))


def _points(axes: Axes, shown: Trajectories, example: int, component: int) -> None:
    """Plot a series at its own times: given points, hidden points and prediction, without lines across gaps."""
    true, given = shown.true[example, :, component], shown.observed[example, :, component]
    given_times = shown.observed_times[example][np.isfinite(given)]
    hidden = np.isfinite(true) & ~np.isin(shown.times, given_times)
    axes.plot(given_times, given[np.isfinite(given)], "o", color=OBSERVED, ms=3)
    axes.plot(shown.times[hidden], true[hidden], "o", color=TRUE, ms=3.5, mfc="none", mew=0.8)
    fitted = _connected(np.column_stack([shown.times, shown.fitted[example, :, component]]))
    axes.plot(*_with_gaps(fitted).T, "--", color=FITTED, linewidth=1.2, marker=".", ms=3)
    if shown.given_until.size:
        axes.axvline(float(shown.given_until[example]), color=MUTED, linewidth=0.9, linestyle=":")


GAP = 4.0  # times the median distance between points


def _with_gaps(points: np.ndarray) -> np.ndarray:
    """Insert NaN between points ``(n, 2)`` that are far apart, so that no line joins them."""
    distances = np.diff(points[:, 0])
    if not len(distances):
        return points
    far = np.flatnonzero(distances > GAP * np.median(distances)) + 1
    return np.insert(points, far, np.nan, axis=0)


def _connected(points: np.ndarray) -> np.ndarray:
    """Return the finite points, so that a model with values at some times only is drawn as a connected line."""
    return points[np.isfinite(points).all(1)]


def _beyond(shown: Trajectories) -> bool:
    return bool(shown.times[0] < shown.trained[0] or shown.trained[1] < shown.times[-1])


def _limits(shown: Trajectories, example: int, component: int, margin: float) -> tuple[float, float]:
    """Return axis limits from truth and observations, with a margin; a fit that diverges does not change them."""
    known = np.concatenate([shown.true[example, :, component], shown.observed[example, :, component]])
    known = known[np.isfinite(known)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (-1.0, 1.0)
    room = margin * (high - low or 1.0)
    return low - room, high + room


def _legend(drawn: Figure, shown: Trajectories, shade: bool) -> None:
    handles = _points_handles(shown) if shown.names else _lines_handles()
    if shown.surface.size:  # the only line is the contour where the output is 0
        handles[:2] = [Line2D([], [], color=TRUE, label="output 0")]
    if shown.field.size and not shade:
        handles.append(Line2D([], [], color=FIELD, label="learned field"))
    if shade:
        handles.append(Patch(**SHADE, label="not trained on"))
    drawn.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)


def _lines_handles() -> list[Line2D | Patch]:
    return [
        Line2D([], [], color=TRUE, label="true"),
        Line2D([], [], color=FITTED, linestyle="--", label="fitted"),
        Line2D([], [], color=OBSERVED, marker="o", linestyle="", markersize=4, label="observed"),
    ]


def _points_handles(shown: Trajectories) -> list[Line2D | Patch]:
    found: list[Line2D | Patch] = [
        Line2D([], [], color=OBSERVED, marker="o", linestyle="", markersize=4, label="given"),
        Line2D([], [], color=TRUE, marker="o", mfc="none", linestyle="", markersize=4, label="hidden"),
        Line2D([], [], color=FITTED, linestyle="--", marker=".", label="predicted"),
    ]
    if shown.given_until.size:
        found.append(Line2D([], [], color=MUTED, linestyle=":", label="start of the forecast"))
    return found


# --- animations


def _animation(record: Record, snapshots: Snapshots) -> bytes:
    """Return a GIF of the portrait or the density, one frame per epoch."""
    epochs = sorted(snapshots)
    last = snapshots[epochs[-1]]
    draw = density if last.density.size else portrait
    drawn = draw(_frame_title(record, epochs[-1]), last)

    def show(epoch: int) -> None:
        if snapshots[epoch].density.size:
            draw_density(drawn.axes, snapshots[epoch])
        else:
            for example, axes in enumerate(drawn.axes[: len(snapshots[epoch].true)]):
                _plane(axes, snapshots[epoch], example)
        drawn.suptitle(for_matplotlib(_frame_title(record, epoch)), fontsize=9, color=MUTED)

    return _gif(drawn, epochs, show)


def _flow(title: str, shown: Trajectories) -> bytes:
    """Return a GIF of the points of a flow, from the base distribution to the data."""
    drawn = _new(title, 3.6, 4.0)
    axes = drawn.subplots()
    draw_flow(axes, shown, 0)
    return _gif(drawn, list(range(len(shown.times))), lambda step: draw_flow(axes, shown, step))


def _gif(drawn: Figure, frames: list[int], show: Callable[[int], None]) -> bytes:
    """Return a GIF in which ``show`` redraws all panels for each frame; the last frame is held longer."""
    lay_out(drawn)

    def cleared(frame: int) -> list[Axes]:
        for axes in drawn.axes:
            axes.clear()
        show(frame)
        return drawn.axes

    frames = frames + frames[-1:] * (FRAMES_PER_SECOND * LAST_FRAME_SECONDS)
    with TemporaryDirectory(prefix="nodebench-") as folder:
        path = Path(folder) / "animation.gif"
        FuncAnimation(drawn, cleared, frames=frames).save(path, writer=PillowWriter(fps=FRAMES_PER_SECOND), dpi=100)
        return path.read_bytes()


def _frame_title(record: Record, epoch: int) -> str:
    return f"{_title(record)} · epoch {epoch}"
