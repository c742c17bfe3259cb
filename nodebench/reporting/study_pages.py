"""One page per study: plots, crossovers, tables of all configurations, and failures."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache

from nodebench.analysis.fairness import unreliable
from nodebench.analysis.statistics import median
from nodebench.analysis.summary import NOT_AS_SHIPPED, Configuration, configurations, varying
from nodebench.reporting.document import (
    Block,
    Cell,
    Code,
    Heading,
    Links,
    Page,
    Paragraph,
    Table,
    Terms,
    number,
    page_name,
    slug,
)
from nodebench.reporting.published import published
from nodebench.reporting.study_charts import Sides, draw, points_by_preset
from nodebench.reporting.study_comparisons import break_evens, crossovers, equals
from nodebench.reporting.study_plots import PLOTS
from nodebench.reporting.tables import status_line
from nodebench.reporting.trajectory_plots import pictures
from nodebench.spec import Preset, Record, Status, Study, load_study, shipped_studies
from nodebench.spec.metrics import metric, several, short
from nodebench.spec.trajectories import Snapshots

# Columns of a table, shown if they were measured: metrics first, then costs.
_METRICS = (
    "test_error",
    "trajectory_error",
    "extrapolation_error",
    "extrapolation_rmse",
    "extrapolation_rmse_after",
    "energy_error",
    "interpolation_rmse",
    "hidden_mse",
    "reconstruction_rmse",
    "rmse_over_noise",
    "mean_beat_over_noise",
    "linear_over_noise",
    "diversity_ratio",
    "escape_share_before",
    "escape_share_after",
    "inversions",
    "observed_order",
    "parameters",
    "nfe_forward",
    "sample_evaluations",
    "nfe_backward",
    "step_seconds",
    "tensor_peak_bytes",
    "process_peak_bytes",
    "solution_error",
    "gradient_error",
    "reverse_error",
    "joint_over_single",
    "residual_error",
)
_PUBLISHED = ("test_error", "parameters", "extrapolation_rmse")

SnapshotLoader = Callable[[Record], Snapshots]


def study_pages(studies: Mapping[str, Sides], load_snapshots: SnapshotLoader) -> list[Page]:
    """Return one page per study that has records.

    Args:
        studies: the records of each study, by origin.
        load_snapshots: returns the stored snapshots of a record.
    """
    return [_page(name, sides, studies, load_snapshots) for name, sides in studies.items()]


def _page(name: str, sides: Sides, studies: Mapping[str, Sides], load_snapshots: SnapshotLoader) -> Page:
    shipped = name.removesuffix(NOT_AS_SHIPPED)
    study = load_study(shipped, Preset.QUICK) if shipped in shipped_studies() else None
    as_shipped = study is not None and shipped == name
    blocks: list[Block] = [Terms(_terms(study, sides))]
    if study and as_shipped and study.claims:
        blocks += [Heading("Claims that use this study"), Links([(f"claim-{id}", id, "") for id in study.claims])]
    on_cpu = all(record.trial.device == "cpu" for side in sides.values() for record in side)
    if study and study.without_accelerator and on_cpu:
        blocks.append(Paragraph(study.without_accelerator))
    points_of_study = cache(lambda which: points_by_preset(studies.get(which, {})))
    for plot in PLOTS.get(shipped, ()):
        blocks += draw(plot, name, points_of_study(plot.study or name))
    if study and study.pictures:
        blocks += pictures(name, next(iter(sides.values())), load_snapshots)
    for which, some in _by_preset(sides).items():
        blocks += crossovers(shipped, some, which)
        blocks += equals(shipped, some, which)
        blocks += break_evens(shipped, some, which)
    for side, records in sides.items():
        blocks += tables(name, records, side, timed=_is_timed(study))
        blocks += failures(name, records, side)
    blocks += [Heading("Reproduce it"), Code(f"nodebench study run {name if as_shipped else 'FILE.toml'}")]
    about = study.about if study else "a user-defined study"
    if study and not as_shipped:
        about = f"records that do not match the shipped study {shipped}: one of the two was changed ({about})"
    return Page(page_name(f"study-{name}"), name, about, blocks, "studies")


def _by_preset(sides: Sides) -> dict[str, list[Record]]:
    """Group records by a label with their origin and preset; the preset ``quick`` is not named."""
    found: dict[str, list[Record]] = {}
    for side, records in sides.items():
        for preset in Preset:
            if some := [record for record in records if record.trial.preset is preset]:
                found[", ".join(filter(None, (side, f"preset {preset}" * (preset is not Preset.QUICK))))] = some
    return found


def _terms(study: Study | None, sides: Sides) -> list[tuple[str, str]]:
    terms = [("Source", study.source)] if study else []
    timed = _is_timed(study)
    counted = (((side or "Records").capitalize(), counts(records, timed)) for side, records in sides.items())
    return [*terms, *counted]


def _is_timed(study: Study | None) -> bool:
    """Return whether the study measures times; if not, its trials may have run in parallel."""
    return study is None or study.timing


def counts(records: Sequence[Record], timed: bool = True) -> str:
    """Return the number of trials and seeds, how the trials ended, and how many times are left out."""
    seeds = len({record.trial.seed for record in records})
    reasons = [why for record in records if timed and (why := unreliable(record, timed=True))]
    kept = ", except ratios of interleaved arms" if any(record.interleaved for record in records) else ""
    marks = "".join(
        f"; times of {several(reasons.count(why), 'trial')} are left out{kept}: {why}" for why in dict.fromkeys(reasons)
    )
    return f"{several(len(records), 'trial')}, {several(seeds, 'seed')}: {status_line(records)}{marks}"


def tables(
    name: str, records: Sequence[Record], side: str, *, metrics_first: bool = False, timed: bool = True
) -> list[Block]:
    """Return a table per task, and an explanation of the mark ‡ if it is used.

    Args:
        name: of the study.
        records: of it.
        side: label of the records' origin; empty for the user's own.
        metrics_first: whether metrics come before costs.
        timed: whether times are shown.
    """
    blocks: list[Block] = [Heading(", ".join(filter(None, ("Every configuration", side))))]
    tasks: dict[tuple[str, str | None], list[Record]] = {}
    for record in records:
        tasks.setdefault((record.trial.task, record.trial.dataset), []).append(record)
    broken = False
    for (task, dataset), some in tasks.items():
        found = configurations(some)
        broken |= any(one.breaks_flow for one in found)
        blocks.append(_table(name, task, dataset, found, side, metrics_first, timed))
    if broken:
        blocks.append(
            Paragraph(
                "‡ This fixed-step network is not an ODE: steps four times smaller change its error by a percentage "
                "point or more."
            )
        )
    return blocks


def _table(
    study: str,
    task: str,
    dataset: str | None,
    found: Sequence[Configuration],
    side: str,
    metrics_first: bool,
    timed: bool,
) -> Table:
    axes = [name for name in varying(found) if name not in ("task", "dataset")] or ["model"]
    others = sorted({metric for one in found for record in one.records for metric in record.metrics})
    names = [*others, *_METRICS] if metrics_first else [*_METRICS, *others]
    shown = [name for name in dict.fromkeys(names) if timed or not metric(name).is_time]
    measured = [name for name in shown if any(one.values(name) for one in found)]
    header = [*axes, "n"]
    for name in measured:
        header.append(metric(name).label)
        if _has_published(study, name, found):
            header.append(f"{metric(name).label}, published")
    rows = [_row(study, one, axes, measured, found) for one in found]
    title = task + (f" on {dataset}" if dataset else "")
    of = f" ({side})" if side else ""
    caption = f"{title}{of}: median [minimum, maximum] over n replicates; (n = …) where fewer of them have a value"
    name = slug(f"study-{study}-{task}-{dataset or ''}") + (f"-{slug(side)}" if side else "")
    return Table(name, caption, header, rows, filters=len(rows) > 12)


def _has_published(study: str, name: str, found: Sequence[Configuration]) -> bool:
    return name in _PUBLISHED and any(published(study, name, one.axis) is not None for one in found)


def _row(
    study: str, one: Configuration, axes: Sequence[str], measured: Sequence[str], found: Sequence[Configuration]
) -> list[Cell]:
    mark = "‡" if one.breaks_flow else ""
    cells = [_axis(one.axis(name)) for name in axes]
    failed = f", {one.failed} failed" if one.failed else ""
    cells.append(number(f"{len(one.records)}{failed}", len(one.records)))
    for name in measured:
        values = one.values(name)
        fewer = f" (n = {len(values)})" if 0 < len(values) < len(one.records) - one.failed else ""
        text = _spread(name, values) + (mark if values and name == "test_error" else "") + fewer
        cells.append(number(text, median(values) if values else None))
        if _has_published(study, name, found):
            value = published(study, name, one.axis)
            cells.append(number(metric(name).format(value), value))
    return cells


def _axis(value: object) -> Cell:
    if isinstance(value, float):
        return Cell(short(value), value, "number")
    return Cell("–" if value is None else str(value))


def _spread(name: str, values: Sequence[float]) -> str:
    """Format values as ``0.14 [0.12, 0.18]``, or as the median alone if all replicates agree."""
    if not values:
        return "–"
    form = metric(name).format
    middle, low, high = form(median(values)), form(min(values)), form(max(values))
    return middle if low == high else f"{middle} [{low}, {high}]"


def failures(name: str, records: Sequence[Record], side: str) -> list[Block]:
    """Return a table of the trials that failed, with their messages."""
    heading = Heading(", ".join(filter(None, ("Failures", side))))
    failed = [record for record in records if record.status is not Status.OK]
    if not failed:
        return [heading, Paragraph("None.")]
    rows = [
        [
            Cell(record.id, kind="code"),
            Cell(record.status.value),
            Cell(" ".join(filter(None, (record.trial.task, record.trial.model, record.trial.solver)))),
            number(str(record.trial.seed), record.trial.seed),
            Cell(record.failure.message if record.failure else "–"),
        ]
        for record in failed
    ]
    caption = f"Trials of {name} that failed" + (f" ({side})" if side else "")
    table = slug(f"study-{name}-failures") + (f"-{slug(side)}" if side else "")
    return [heading, Table(table, caption, ("trial", "status", "what", "seed", "message"), rows)]
