"""A page for each study: its figures, every configuration in one table, failures, crossovers."""

from collections.abc import Callable, Mapping, Sequence

from nodebench.analysis.statistics import median
from nodebench.analysis.summary import Configuration, configurations, varying
from nodebench.report.document import (
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
from nodebench.report.pictures import pictures
from nodebench.report.published import published
from nodebench.report.study_charts import draw
from nodebench.report.study_comparisons import crossovers, equals
from nodebench.report.study_plots import PLOTS
from nodebench.report.tables import status_line
from nodebench.spec import Preset, Record, Status, Study, load_study, shipped_studies
from nodebench.spec.figures import figure, several, short
from nodebench.spec.trajectories import Film

# Figures that a table shows where they were measured: metrics first, then costs.
_FIGURES = (
    "test_error",
    "trajectory_error",
    "extrapolation_error",
    "extrapolation_rmse",
    "reconstruction_rmse",
    "rmse_over_noise",
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
_PICTURED = ("toys", "ecg", "table2")

Films = Callable[[Record], Film]


def study_pages(studies: Mapping[str, Sequence[Record]], films: Films) -> list[Page]:
    """One page a study of which there is a record."""
    return [_page(name, records, studies, films) for name, records in studies.items()]


def _page(name: str, records: Sequence[Record], studies: Mapping[str, Sequence[Record]], films: Films) -> Page:
    study = load_study(name, Preset.QUICK) if name in shipped_studies() else None
    blocks: list[Block] = [Terms(_terms(study, records))]
    if study and study.claims:
        blocks += [Heading("Claims that it feeds"), Links([(f"claim-{id}", id, "") for id in study.claims])]
    drawn = [draw(plot, name, studies.get(plot.study or name, [])) for plot in PLOTS.get(name, ())]
    blocks += [chart for chart in drawn if chart is not None]
    if name in _PICTURED:
        blocks += pictures(name, records, films)
    blocks += crossovers(name, records)
    blocks += equals(name, records)
    blocks += _tables(name, records)
    blocks += _failures(name, records)
    blocks += [Heading("Reproduce it"), Code(f"nodebench study run {name if study else 'FILE.toml'}")]
    return Page(
        page_name(f"study-{name}"), name, study.about if study else "a study of the user's own", blocks, "studies"
    )


def _terms(study: Study | None, records: Sequence[Record]) -> list[tuple[str, str]]:
    seeds = len({record.trial.seed for record in records})
    terms = [("Source", study.source)] if study else []
    drifted = sum(bool(record.drifted) for record in records)
    marks = f"; the machine's speed changed during {drifted} of them, whose times are left out" if drifted else ""
    return [
        *terms,
        ("Records", f"{several(len(records), 'trial')}, {several(seeds, 'seed')}: {status_line(records)}{marks}"),
    ]


def _tables(name: str, records: Sequence[Record]) -> list[Block]:
    """A table for each task, and a word on what its marks mean."""
    blocks: list[Block] = [Heading("Every configuration")]
    tasks: dict[tuple[str, str | None], list[Record]] = {}
    for record in records:
        tasks.setdefault((record.trial.task, record.trial.dataset), []).append(record)
    broken = False
    for (task, dataset), some in tasks.items():
        found = configurations(some)
        broken |= any(one.breaks_flow for one in found)
        blocks.append(_table(name, task, dataset, found))
    if broken:
        blocks.append(
            Paragraph(
                "‡ a fixed-step network that is no ODE: steps four times finer change its error by a point or more."
            )
        )
    return blocks


def _table(study: str, task: str, dataset: str | None, found: Sequence[Configuration]) -> Table:
    axes = [name for name in varying(found) if name not in ("task", "dataset")] or ["model"]
    others = sorted({metric for one in found for record in one.records for metric in record.metrics})
    measured = [name for name in dict.fromkeys([*_FIGURES, *others]) if any(one.values(name) for one in found)]
    header = [*axes, "n"]
    for name in measured:
        header.append(figure(name).label)
        if _has_published(study, name, found):
            header.append(f"{figure(name).label}, published")
    rows = [_row(study, one, axes, measured, found) for one in found]
    title = task + (f" on {dataset}" if dataset else "")
    caption = f"{title}: median [least, greatest] over n replicates"
    return Table(slug(f"study-{study}-{task}-{dataset or ''}"), caption, header, rows, filters=len(rows) > 12)


def _has_published(study: str, name: str, found: Sequence[Configuration]) -> bool:
    return name in _PUBLISHED and any(published(study, name, dict(one.axes)) is not None for one in found)


def _row(
    study: str, one: Configuration, axes: Sequence[str], measured: Sequence[str], found: Sequence[Configuration]
) -> list[Cell]:
    mark = "‡" if one.breaks_flow else ""
    cells = [_axis(one.axis(name)) for name in axes]
    failed = f", {one.failed} failed" if one.failed else ""
    cells.append(number(f"{len(one.records)}{failed}", len(one.records)))
    for name in measured:
        values = one.values(name)
        cells.append(
            number(
                _spread(name, values) + (mark if values and name in ("test_error",) else ""),
                median(values) if values else None,
            )
        )
        if _has_published(study, name, found):
            value = published(study, name, dict(one.axes))
            cells.append(number(figure(name).format(value), value))
    return cells


def _axis(value: object) -> Cell:
    if isinstance(value, float):
        return Cell(short(value), value, "number")
    return Cell("–" if value is None else str(value))


def _spread(name: str, values: Sequence[float]) -> str:
    """``0.14 [0.12, 0.18]``; the median alone where replicates agree."""
    if not values:
        return "–"
    form = figure(name).format
    middle, low, high = form(median(values)), form(min(values)), form(max(values))
    return middle if low == high else f"{middle} [{low}, {high}]"


def _failures(name: str, records: Sequence[Record]) -> list[Block]:
    failed = [record for record in records if record.status is not Status.OK]
    if not failed:
        return [Heading("Failures"), Paragraph("None.")]
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
    caption = f"Trials of {name} that failed"
    return [
        Heading("Failures"),
        Table(slug(f"study-{name}-failures"), caption, ("trial", "status", "what", "seed", "message"), rows),
    ]
