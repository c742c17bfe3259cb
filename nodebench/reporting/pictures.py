"""Portraits and trajectories of a study's first replicate, from what its trials have kept for figures."""

from collections.abc import Callable, Sequence

from nodebench.reporting.charts import saved, style
from nodebench.reporting.document import Block, Chart, slug
from nodebench.reporting.plots import over_time, portrait
from nodebench.spec import Record
from nodebench.spec.trajectories import Film, Trajectories

MOST = 6  # pictures a page


def pictures(study: str, records: Sequence[Record], films: Callable[[Record], Film]) -> list[Block]:
    """One picture for each task and model, of the least seed: in the plane where a field is drawn, else over time."""
    found: dict[tuple[str, ...], Record] = {}
    ordered = sorted(records, key=lambda r: (r.trial.seed, r.place.number or 0, r.id))
    for record in ordered:
        found.setdefault(
            (record.trial.task, record.trial.model, record.trial.preset, record.trial.dataset or ""), record
        )
    drawn: list[Block] = []
    for (task, model, preset, dataset), record in sorted(found.items(), key=lambda item: item[1].place.number or 0):
        film = films(record)
        if not film or len(drawn) == MOST:
            continue
        last = film[max(film)]
        name = slug(f"{study}-{task}-{model}-{preset}-{dataset}")
        planar = last.planar or task == "latent-spirals"
        title = f"{task} · {model}" + (f" · {dataset}" if dataset else "") + f" · {preset} · seed {record.trial.seed}"
        with style(name):
            drawing = saved(name, portrait(title, last) if planar else over_time(title, last))
        error = record.metrics.get("trajectory_error")
        measured = f" Trajectory error {error:.3g}." if error is not None else ""
        caption = f"{title}: true (solid), fitted (dashed) and observed (dots).{measured} n = 1."
        header, rows = _numbers(last)
        drawn.append(Chart(name, caption, caption, drawing, header, rows, small=True))
    return drawn


def _numbers(shown: Trajectories) -> tuple[list[str], list[tuple[float, ...]]]:
    """What is drawn as lines, as a table."""
    header = ["example", shown.time_label]
    header += [f"{label}, {which}" for which in ("true", "fitted") for label in shown.labels]
    rows = [
        (example, float(t), *map(float, true[: len(shown.labels)]), *map(float, fitted[: len(shown.labels)]))
        for example in range(len(shown.true))
        for t, true, fitted in zip(shown.times, shown.true[example], shown.fitted[example], strict=True)
    ]
    return header, rows
