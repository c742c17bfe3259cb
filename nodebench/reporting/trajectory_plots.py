"""Phase portraits and trajectories of a study's first replicate, from the snapshots that its trials stored."""

from collections.abc import Callable, Sequence
from functools import partial

from matplotlib.figure import Figure

from nodebench.reporting.document import Block, Chart, slug
from nodebench.reporting.drawing import Drawing
from nodebench.reporting.plots import density, over_time, portrait
from nodebench.spec import Record
from nodebench.spec.trajectories import Snapshots, Trajectories

MOST = 6  # plots per page


def pictures(study: str, records: Sequence[Record], load_snapshots: Callable[[Record], Snapshots]) -> list[Block]:
    """Return a plot per task and model, for the smallest seed: in the plane if there is a field, else over time."""
    found: dict[tuple[str, ...], Record] = {}
    ordered = sorted(records, key=lambda r: (r.trial.seed, r.place.number or 0, r.id))
    for record in ordered:
        found.setdefault(
            (record.trial.task, record.trial.model, record.trial.preset, record.trial.dataset or ""), record
        )
    drawn: list[Block] = []
    for (task, model, preset, dataset), record in sorted(found.items(), key=lambda item: item[1].place.number or 0):
        snapshots = load_snapshots(record)
        if not snapshots or len(drawn) == MOST:
            continue
        last = snapshots[max(snapshots)]
        name = slug(f"{study}-{task}-{model}-{preset}-{dataset}")
        planar = last.planar or task == "latent-spirals"
        title = f"{task} · {model}" + (f" · {dataset}" if dataset else "") + f" · {preset} · seed {record.trial.seed}"
        if last.density.size:
            drawing = _drawing(name, partial(density, title, last))
            samples = "points drawn from the model, " if last.moved.size else ""
            caption = f"{title}: points of the data, {samples}and the density of the model on the same axes. n = 1."
            drawn.append(Chart(name, caption, caption, drawing))
            continue
        drawing = _drawing(name, partial(portrait if planar else over_time, title, last))
        error = record.metrics.get("trajectory_error")
        measured = f" Trajectory error {error:.3g}." if error is not None else ""
        caption = f"{title}: {_drawn_as(last)}.{measured} n = 1."
        header, rows = _numbers(last)
        drawn.append(Chart(name, caption, caption, drawing, header, rows, small=True))
    return drawn


def _drawing(name: str, draw: Callable[[], Figure]) -> Drawing:
    return Drawing(name, lambda: (draw(), {}))


def _drawn_as(shown: Trajectories) -> str:
    """Describe the lines and markers in a plot of trajectories or of a function."""
    if shown.names:
        return "given points (dots), hidden points (circles) and prediction (dashed) of series not used in training"
    if shown.surface.size:
        return "output over the plane (colour), where it is 0 (line), and observed points (dots)"
    return "true (solid), fitted (dashed) and observed (dots)"


def _numbers(shown: Trajectories) -> tuple[list[str], list[tuple[float, ...]]]:
    """Return the drawn lines as header and rows; for a surface, its values along the middle of the plane."""
    if shown.surface.size:
        middle = len(shown.surface) // 2
        header = [shown.labels[0], f"output at {shown.labels[1]} = {shown.axes[1][middle]:.3g}"]
        return header, [(float(x), float(z)) for x, z in zip(shown.axes[0], shown.surface[middle], strict=True)]
    header = ["example", shown.time_label]
    header += [f"{label}, {which}" for which in ("true", "fitted") for label in shown.labels]
    rows = [
        (example, float(t), *map(float, true[: len(shown.labels)]), *map(float, fitted[: len(shown.labels)]))
        for example in range(len(shown.true))
        for t, true, fitted in zip(shown.times, shown.true[example], shown.fitted[example], strict=True)
    ]
    return header, rows
