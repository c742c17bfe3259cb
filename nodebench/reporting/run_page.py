"""The page of one run: its plots and tables, without verdicts on claims."""

from collections.abc import Iterable, Sequence

from nodebench.analysis.readings import final
from nodebench.analysis.summary import configurations, varying
from nodebench.reporting.charts import Look
from nodebench.reporting.document import Block, Code, Page, Terms
from nodebench.reporting.study_charts import Plot, draw, each, points_by_preset, rows
from nodebench.reporting.study_pages import SnapshotLoader, counts, failures, tables
from nodebench.reporting.trajectory_plots import pictures
from nodebench.spec import Record
from nodebench.spec.calibration import machine_label
from nodebench.spec.metrics import several

_SERIES = ("task", "dataset", "model", "solver", "batching", "compile", "gradient")
_ERROR = Look("NFE, forward", "relative solution error", "xy", joined=False)
_GRADIENT = Look("step (s)", "relative gradient error", "xy", joined=False)
_MEMORY = Look("step (s)", "peak of a step (bytes)", "xy", joined=False)


def run_page(name: str, records: Sequence[Record], load_snapshots: SnapshotLoader) -> Page:
    """Return the page of a run: settings, all configurations, work-precision, training loss and trajectories.

    Args:
        name: of the run.
        records: its records.
        load_snapshots: returns the stored snapshots of a record.
    """
    differing = varying(configurations(records))
    by = tuple(axis for axis in _SERIES if axis in differing)
    points = points_by_preset({"": records})
    blocks: list[Block] = [Terms(_header(records))]
    blocks += tables("run", records, "", metrics_first=True)
    over = tuple(axis for axis in differing if axis not in by)
    for plot in (*_clouds(by, over), _training(records, (*by, *over))):
        blocks += draw(plot, "run", points)
    blocks += pictures("run", records, load_snapshots)
    blocks += failures("run", records, "")
    blocks += [Code(f"nodebench show {name} --columns all")]
    return Page("index", name, "", blocks)


def _header(records: Sequence[Record]) -> list[tuple[str, str]]:
    """Return what was run, where, and with which code; values that differ between records are listed."""

    def each_of(values: Iterable[str]) -> str:
        return "; ".join(dict.fromkeys(filter(None, values)))

    trials = [record.trial for record in records]
    with_model = (" · ".join(filter(None, (one.task, one.dataset, f"preset {one.preset}"))) for one in trials)
    options = (" · ".join(f"{name}={value}" for name, value in one.overrides.items()) for one in trials)
    on = (f"{one.device}, {one.dtype}, {several(one.threads, 'thread')}" for one in trials)
    items = [
        ("Records", counts(records)),
        ("Task", each_of(with_model)),
        ("Options", each_of(options)),
        ("Data", each_of(_data(record) for record in records)),
        ("Machine", each_of(machine_label(record.environment) for record in records)),
        ("Execution", each_of(on)),
        ("Code", each_of(_code(record) for record in records)),
    ]
    return [(name, text) for name, text in items if text]


def _data(record: Record) -> str:
    card = record.data
    return f"{card.name}, {card.train:,} training and {card.test:,} test items" if card else ""


def _code(record: Record) -> str:
    """The version and commit of nodebench, and the user's files with their hashes."""
    code = record.environment.get("code") or {}
    version, commit = record.environment.get("nodebench"), code.get("commit")
    versions = [f"nodebench {version}" if version else "", f"commit {commit[:12]}" if commit else ""]
    files = record.measured.modules if record.measured else {}
    return ", ".join(filter(None, [*versions, *(f"{name} {hash_}" for name, hash_ in files.items())]))


def _clouds(by: tuple[str, ...], over: tuple[str, ...]) -> list[Plot]:
    nfe, seconds = final("nfe_forward"), final("step_seconds")
    points = (
        ("precision", "Error of the solution against evaluations", each(nfe, final("solution_error")), _ERROR),
        ("gradient", "Error of the gradient against step time", each(seconds, final("gradient_error")), _GRADIENT),
        ("memory", "Peak memory against step time", each(seconds, final("tensor_peak_bytes")), _MEMORY),
    )
    return [Plot(name, about, read, by, look, over=over) for name, about, read, look in points]


def _training(records: Sequence[Record], by: tuple[str, ...]) -> Plot:
    """Return the plot of the loss; the axis is logarithmic unless a loss is zero or negative."""
    losses = [loss for record in records for row in record.history if (loss := row.get("loss")) is not None]
    logarithmic = bool(losses) and min(losses) > 0
    look = Look("epoch", "loss", "y" if logarithmic else "", whole=True)
    return Plot("loss", "Loss over training", rows("history", "epoch", "loss"), by, look)
