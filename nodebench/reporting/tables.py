"""The terminal table of a run."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

from nodebench.errors import choose
from nodebench.escapes import for_terminal
from nodebench.spec import Batching, FieldTrait, Record, Status
from nodebench.spec.axes import AXES, UNLABELLED, Part, axis_names
from nodebench.spec.calibration import machine_label
from nodebench.spec.metrics import metric, several

# Cost columns, the most important first; a table shows as many as fit.
_COSTS = (
    "nfe_forward",
    "sample_evaluations",
    "nfe_backward",
    "step_seconds",
    "tensor_peak_bytes",
    "gradient_error",
    "solution_error",
    "vjp_calls",
    "forward_seconds",
    "backward_seconds",
    "saved_bytes",
    "accelerator_peak_bytes",
    "duration_seconds",
)


# The same for a user's own problem: errors come earlier, since no earlier measurement exists.
_OWN_COSTS = (*_COSTS[:3], "solution_error", "gradient_error", *(n for n in _COSTS[3:] if not n.endswith("_error")))

# Axes that have their own column if their values differ; the labelled axes are always shown.
COLUMN_AXES = ("preset", *UNLABELLED, *axis_names(Part.EXECUTION, Part.REPLICATE))

_TRAITS = {
    FieldTrait.RANDOM: "random",
    FieldTrait.STATEFUL: "stateful",
    FieldTrait.UPDATES_BUFFERS: "stateful in its buffers",
    FieldTrait.FIXED_BATCH: "bound to a batch size",
}

ALL_COLUMNS = "all"
UNSHOWN = ("parameters",)  # metrics that are not shown for a user's own problem

# Maximum number of failures listed for a large run.
FAILURES = 10
MESSAGE = 1000  # characters of a failure's message that are shown


@dataclass(frozen=True)
class _Column:
    label: str
    cell: Callable[[Record], str]
    right: bool = False


def run_table(
    records: Sequence[Record],
    headlines: dict[str, tuple[str, ...]],
    console: Console,
    columns: Sequence[str] = (),
) -> RenderableType:
    """Render the records of a run: one table for each task and data set, then the failures.

    Args:
        records: in the order in which they ran.
        headlines: the metrics to show first, by task.
        console: its width determines how many columns fit.
        columns: names of the metrics to show, at any table width; ``all`` shows every metric, empty those that fit.

    Raises:
        BadInput: no record has a metric of that name.
    """
    for name in columns:
        choose("column", name, [ALL_COLUMNS, *_names(records)])
    groups: dict[tuple[str, str | None], list[Record]] = {}
    marks = _Marks(_older(records), _machines(records))
    for record in sorted(records, key=_asked):
        groups.setdefault((record.trial.task, record.trial.dataset), []).append(record)
    parts: list[RenderableType] = []
    for (task, dataset), group in groups.items():
        parts.append(_table(task, dataset, group, headlines.get(task, ()), console, marks, columns))
    parts += failures(records)
    if any(record.drifted for record in records):
        parts.append(Text("~ the machine's speed changed by a quarter or more during this trial", style="yellow"))
    if any(record.place.shared for record in records):
        parts.append(Text("* other trials ran on the same cores: its times are unreliable", style="yellow"))
    if any(record.resumed for record in records):
        note = "^ this trial was resumed from a checkpoint: its times come from several processes"
        parts.append(Text(note, style="yellow"))
    if marks.older:
        parts.append(Text("† measured by another version of the code than the latest trial here", style="yellow"))
    if len(marks.machines) > 1:
        listed = "; ".join(f"{letter}: {machine}" for machine, letter in marks.machines.items())
        parts.append(Text(f"machines whose times cannot be compared: {listed}", style="yellow"))
    if any(record.passes_agree is False for record in records):
        parts.append(Text("! the passes of this trial disagree: do not trust its costs", style="red"))
    observed = dict.fromkeys(one for record in records for one in record.traits.items() if _is_reported(one[0], record))
    parts += [Text(f"the field is {_TRAITS[trait]}: {what}", style="yellow") for trait, what in observed]
    return Group(*parts)


def _is_reported(trait: FieldTrait, record: Record) -> bool:
    """Return whether to report a trait; a fixed batch size is reported only for a user's own problem."""
    return trait is not FieldTrait.FIXED_BATCH or record.measured is not None


def summary(records: Sequence[Record]) -> RenderableType:
    """Render the outcome of a large run: a row for each task and status, then the first failures."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for header in ("task", "status", "trials", "time"):
        table.add_column(header, justify="right" if header in ("trials", "time") else "left", no_wrap=True)
    seconds: dict[tuple[str, str], list[float]] = {}
    for record in sorted(records, key=_asked):
        seconds.setdefault((record.trial.task, record.status.value), []).append(record.duration_seconds)
    for (task, status), spent in seconds.items():
        time = metric("duration_seconds").format(sum(spent))
        table.add_row(task, status, str(len(spent)), time, style=None if status == Status.OK else "red")
    return Group(table, *failures(records, FAILURES))


def failures(records: Sequence[Record], most: int | None = None) -> list[Text]:
    """Describe the first ``most`` failed trials (default: all); of the others, give only the number."""
    failed = [record for record in sorted(records, key=_asked) if record.status is not Status.OK]
    texts = [_failure(record) for record in failed[:most]]
    return [*texts, *([Text(f"… and {len(failed) - len(texts)} more")] if len(failed) > len(texts) else [])]


def _asked(record: Record) -> int:
    """Return the position of a record in the requested order, which is not the order in which trials run."""
    return -1 if record.place.number is None else record.place.number


@dataclass(frozen=True)
class _Marks:
    """Marks that distinguish the records of one table.

    Attributes:
        older: ids of the records made by a different version of the code than the latest record.
        machines: a letter for each machine.
    """

    older: set[str]
    machines: dict[str, str]


def _machines(records: Sequence[Record]) -> dict[str, str]:
    """Assign a letter to each machine, in the order of the records."""
    found = dict.fromkeys(machine_label(record.environment) for record in records if record.environment)
    return {machine: _letter(index) for index, machine in enumerate(found)}


def _letter(index: int) -> str:
    """``A`` to ``Z``, then ``A1``."""
    return chr(ord("A") + index % 26) + (str(index // 26) if index >= 26 else "")


def _older(records: Sequence[Record]) -> set[str]:
    """Return the ids of the records made by a different version of the code than the latest record."""
    versions = {record.id: _version(record) for record in records if record.environment}
    latest = max((record for record in records if record.environment), key=lambda record: record.started, default=None)
    return set() if latest is None else {id for id, version in versions.items() if version != _version(latest)}


def _version(record: Record) -> tuple[object, object]:
    code = record.environment.get("code") or {}
    return record.environment.get("nodebench"), code.get("commit")


def _table(
    task: str,
    dataset: str | None,
    records: list[Record],
    headlines: tuple[str, ...],
    console: Console,
    marks: _Marks,
    wanted: Sequence[str],
) -> RenderableType:
    varying = _varying(records)
    columns = [_Column("model", lambda r: r.trial.model + ("†" if r.id in marks.older else ""))]
    if len(marks.machines) > 1:
        columns.append(_Column("machine", lambda r: marks.machines.get(machine_label(r.environment), "–")))
    if any(r.trial.solver for r in records):
        columns += [
            _Column("solver", lambda r: r.trial.solver_label),
            _Column("tolerance", lambda r: r.trial.step_label),
            _Column("gradient", lambda r: r.trial.gradient_label),
        ]
    columns += [_Column(axis, partial(_axis, axis), right=True) for axis in varying]
    metrics = _chosen(records, headlines, wanted)
    columns += [_Column(metric(name).label, partial(_cell, name), right=True) for name in metrics]
    shared = _shared(records[0], dataset, varying)
    fitting = _fitting(columns, records, math.inf if wanted else console.width)
    table = _RecordTable(f"{task} · {shared}", fitting, records)
    if not (left_out := [column.label for column in columns[len(fitting) :]]):
        return table
    more = f"{several(len(left_out), 'more column')}: {', '.join(left_out)}; nodebench show --columns {ALL_COLUMNS}"
    return Group(table, Text(more, style="dim"))


def _chosen(records: Sequence[Record], headlines: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """Return the metrics of a table: the requested ones, or the headline metrics and the costs."""
    if wanted:
        asked = _names(records) if ALL_COLUMNS in wanted else wanted
        return [name for name in asked if _measured(name, records)]
    own = any(record.measured is not None for record in records)
    more = [n for n in dict.fromkeys(n for r in records for n in r.metrics) if n not in UNSHOWN] if own else []
    names = dict.fromkeys([*headlines[1:], *more, *(_OWN_COSTS if own else _COSTS)])
    return [*headlines[:1], *(name for name in names if name not in headlines[:1] and _measured(name, records))]


def _names(records: Sequence[Record]) -> list[str]:
    """Return the names of all metrics and costs of the records, metrics first."""
    names = [name for record in records for name in (*record.metrics, *record.costs)]
    return list(dict.fromkeys([*names, "duration_seconds"]))


def _fitting(columns: Sequence[_Column], records: Sequence[Record], width: float) -> list[tuple[_Column, int]]:
    """The first columns that fit into a width, at least one, each with its own width in characters."""
    fitting: list[tuple[_Column, int]] = []
    used = 0
    for column in columns:
        texts = (*_header(column), *(column.cell(record) for record in records))
        own = max(cell_len(for_terminal(text)) for text in texts)
        used += own + 2
        if fitting and used > width:
            break
        fitting.append((column, own))
    return fitting


def _header(column: _Column) -> tuple[str, str]:
    """The label of a column in two lines, the second one filled first."""
    first, _, second = column.label.partition(" ")
    return (first, second) if second else ("", first)


@dataclass(frozen=True)
class _RecordTable:
    """A table of records that renders each row only when it is printed, since a run may have 100,000 records.

    A table of rich measures and stores every cell about a dozen times.
    """

    title: str
    columns: Sequence[tuple[_Column, int]]
    records: Sequence[Record]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = sum(own + 2 for _, own in self.columns)
        yield from console.render(
            Text(for_terminal(self.title), style="table.title"), options.update(width=min(width, options.max_width))
        )
        yield Segment("\n")
        headers = [_header(column) for column, _ in self.columns]
        for row in zip(*headers, strict=True):
            if any(row):
                yield from self._row(row, console.get_style("table.header"))
        yield Segment(f" {'─' * (width - 2)}\n")
        dim = console.get_style("dim")
        for record in self.records:
            cells = [for_terminal(column.cell(record)) for column, _ in self.columns]
            yield from self._row(cells, None if record.status is Status.OK else dim)
        yield Segment("\n")

    def _row(self, cells: Sequence[str], style: Style | None) -> Iterator[Segment]:
        padded = []
        for text, (column, own) in zip(cells, self.columns, strict=True):
            space = " " * (own - cell_len(text))
            padded.append(space + text if column.right else text + space)
        yield Segment(f" {'  '.join(padded)} ", style)
        yield Segment("\n")


def _cell(name: str, record: Record) -> str:
    value = _value(record, name)
    if value is None and record.status is not Status.OK:
        return "–" if name in record.costs.keys() | record.metrics.keys() else record.status.value
    known = metric(name)
    text, timed = known.format(value), known.is_time
    marks = {
        "~": record.drifted and timed,
        "*": record.place.shared and timed,
        "^": record.resumed is not None and timed,
        "!": record.passes_agree is False,
    }
    return text + "".join(mark for mark, applies in marks.items() if applies)


def _measured(name: str, records: Sequence[Record]) -> bool:
    if name == "sample_evaluations":  # equals the number of calls, unless each sample has its own steps
        return any(record.trial.batching is Batching.EACH for record in records)
    return any(_value(record, name) is not None for record in records)


def _value(record: Record, name: str) -> float | None:
    if name == "duration_seconds":
        return record.duration_seconds
    return record.metrics.get(name, record.costs.get(name))


def _axis(name: str, record: Record) -> str:
    """Return a trial's value on an axis or an option of its task; without an override it is the preset's value."""
    if name in COLUMN_AXES:
        value = getattr(record.trial, name)
        return str((AXES[name].unset or "–") if value is None else value)
    return str(record.trial.overrides.get(name, record.options.get(name, "–")))


def _varying(records: list[Record]) -> list[str]:
    """Return the options and axes that differ between the records, without the axes that are always shown."""
    options = {name: None for record in records for name in record.trial.overrides}
    return [axis for axis in (*options, *COLUMN_AXES) if len({_axis(axis, record) for record in records}) > 1]


def _shared(record: Record, dataset: str | None, varying: list[str]) -> str:
    """What all records of a table have in common."""
    trial = record.trial
    parts = {
        "dataset": dataset and _dataset(record),
        "preset": f"preset {trial.preset}",
        "device": trial.device,
        "dtype": trial.dtype,
        "threads": several(trial.threads, "thread"),
        **{name: f"{name}={value}" for name, value in trial.overrides.items()},
        "seed": f"seed {trial.seed}",
    }
    return " · ".join(text for axis, text in parts.items() if text and axis not in varying)


def _dataset(record: Record) -> str:
    card = record.data
    return f"{card.name} ({card.train:,} / {card.test:,})" if card else str(record.trial.dataset)


def _failure(record: Record) -> Text:
    trial, failure = record.trial, record.failure
    name = " ".join(str(part) for part in (trial.model, trial.solver_label, trial.step_label, trial.gradient) if part)
    where = [f"in the {failure.phase} phase"] if failure and failure.phase else []
    if failure:
        where += [
            f"{label} {value:.4g}"
            for label, value in (("at t", failure.t), ("dt", failure.dt), ("after NFE", failure.nfe))
            if value is not None
        ]
    text = Text(f"{record.status} ", style="bold red")
    text.append(f"{name} seed {trial.seed}: {record.status.sentence}", style="default")
    if failure:
        message = failure.message if len(failure.message) <= MESSAGE else f"{failure.message[:MESSAGE]}…"
        text.append(f"\n    {message}" + f" ({', '.join(where)})" * bool(where), style="dim")
    return text


def status_line(records: Sequence[Record]) -> str:
    """Return the number of trials by status, such as ``5 ok, 1 timeout``."""
    counts = Counter(record.status.value for record in records)
    return ", ".join(f"{count} {status}" for status, count in counts.items()) or "no trial"
