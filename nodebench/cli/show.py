"""``nodebench show``, ``list`` and ``export``: what exists and what was measured."""

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import get_args

from rich import box
from rich.table import Table

from nodebench.cli.output import save
from nodebench.cli.terminal import Terminal
from nodebench.errors import BadInput, choose
from nodebench.reporting.tables import run_table, status_line, summary
from nodebench.spec import Batching, Gradient, Record

# After a run of more trials than this, print a summary instead of the table.
LARGE = 40
WIDEST = 10_000  # width in characters of a table with requested columns


def show_command(run: str | None, results: Path, columns: Sequence[str], *, figures: bool, animate: bool) -> None:
    """Print the table of a run, and draw its figures if asked."""
    from nodebench.cli.figures import draw_figures
    from nodebench.store.run_folder import RunFolder

    found = RunFolder.open(results, run)
    records = found.records()
    print_run(found.folder, records, columns)
    if figures:
        draw_figures(found, records, animate=animate)


def print_run(folder: Path, records: Sequence[Record], columns: Sequence[str] = (), *, whole: bool = True) -> None:
    """Print the table of records (unless ``whole``, a summary of many), their status counts and their path."""
    from nodebench.tasks import tasks

    console = Terminal(highlight=True)
    if columns:
        console.width = WIDEST
    headlines = {name: task.headlines for name, task in tasks().items()}
    if len(records) > LARGE and not whole:
        console.print(summary(records))
        console.print(f"Full table: nodebench show {shlex.quote(str(folder))}", soft_wrap=True, highlight=False)
    elif records:
        console.print(run_table(records, headlines, console, columns))
    console.print(f"{status_line(records)} · {folder / 'records.jsonl'}", soft_wrap=True, highlight=False)


def list_command(what: str, task: str) -> None:
    """Print one of the lists; the list of options needs a task."""
    lists: dict[str, Callable[[], Rows]] = {
        "tasks": _tasks,
        "models": lambda: _models_or_datasets("model", "models"),
        "datasets": lambda: _models_or_datasets("data set", "datasets"),
        "options": lambda: _options(task),
        "solvers": _solvers,
        "gradients": lambda: [("gradient", "what it is", "source"), *((g.value, g.about, g.source) for g in Gradient)],
        "batchings": lambda: [("batching", "what it is"), *((b.value, b.about) for b in Batching)],
    }
    choose("list", what, lists)
    if bool(task) != (what == "options"):
        raise BadInput("list options needs a task: list options TASK" if task == "" else f"list {what} takes no task")
    print_rows(lists[what]())
    if what == "solvers":
        from nodebench.solvers import adapters, install_hint, is_installed

        rows: Rows = [("backend", "gradients", "batching", "compile")]
        for adapter in adapters().values():
            gradients = ", ".join(g for g in Gradient if g in adapter.gradients)
            rows.append((adapter.backend, gradients, ", ".join(adapter.batchings), ", ".join(adapter.compiles)))
        print_rows(rows)
        for adapter in adapters().values():
            absent = "" if is_installed(adapter) else f"; not installed: {install_hint(adapter)}"
            Terminal(soft_wrap=True).print(f"{adapter.backend}: {adapter.source}{absent}")


def print_rows(rows: "Rows") -> None:
    """Print a list as a table; the first row has the headers."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for header in rows[0]:
        table.add_column(header, overflow="fold", no_wrap=header == rows[0][0])
    for row in rows[1:]:
        table.add_row(*row)
    Terminal(highlight=True).print(table)


def export_command(
    run: str | None,
    results: Path,
    format: str,
    out: Path | None,
    *,
    every: bool,
    table: str,
    columns: str,
    croissant: bool,
) -> None:
    """Write a table of the records of a run, or of every run, to a file."""
    from nodebench.analysis.frame import EXPORT_FORMATS
    from nodebench.api.running import load, load_runs
    from nodebench.store.run_folder import RunFolder

    if every and run is not None:
        raise BadInput(f"--all exports every run in {results}: leave out {run}")
    choose("format", format, EXPORT_FORMATS)
    if croissant and format != "parquet":
        raise BadInput(f"--croissant requires a Parquet file, not {format}; add --format parquet")
    folder = RunFolder(results) if every else RunFolder.open(results, run)
    found = load_runs(results) if every else load(folder.folder)
    if not found.records:
        raise folder.no_record()
    wanted = [part.strip() for part in columns.split(",") if part.strip()]
    content = found.exported(format, table, wanted)
    name = "records" if table == "trials" else table
    path = save(folder, out, f"{name}.{'tex' if format == 'latex' else format}", content=content)
    if croissant:
        metadata = path.with_name(f"{path.stem}.croissant.json")
        save(folder, metadata, content=found.croissant(path.name, content, table, wanted))
    Terminal(soft_wrap=True).print(f"{len(found.records)} records · {path}")


Rows = list[tuple[str, ...]]


def _tasks() -> Rows:
    from nodebench.tasks import tasks

    return [
        ("task", "what it is", "presets", "source"),
        *((task.name, task.about, ", ".join(task.presets), task.source) for task in tasks().values()),
    ]


def _models_or_datasets(header: str, attribute: str) -> Rows:
    """Return the models or the data sets of every task."""
    from nodebench.tasks import tasks

    return [
        (header, "task", "what it is", "source"),
        *(
            (name, task.name, one.about, one.source)
            for task in tasks().values()
            for name, one in getattr(task, attribute).items()
        ),
    ]


def _options(task: str) -> Rows:
    """Return each option with its type and its value in each preset; a dash marks a required option."""
    from nodebench.tasks import find_task
    from nodebench.trial.options import described

    found = find_task(task)
    values = [described(found, preset, "json") for preset in found.presets.values()]
    return [
        ("option", "values", *found.presets),
        *(
            (name, _kind(field.annotation), *(_shown(value[name]) for value in values))
            for name, field in found.options.model_fields.items()
        ),
    ]


def _kind(annotation: object) -> str:
    """Return the displayed type of an option: a type name such as ``int``, or the allowed values."""
    words = get_args(annotation) or getattr(annotation, "__members__", {}).values()
    if words and all(isinstance(word, str) for word in words):
        return ", ".join(str(word) for word in words)
    return getattr(annotation, "__name__", str(annotation))


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "–" if value in ("", None) else str(value)


def _solvers() -> Rows:
    from nodebench.solvers import find_solver, methods_of, solver_names

    rows: Rows = [("solver", "order", "steps", "what it is")]
    for name, (adapter, method_name) in solver_names().items():
        method = methods_of(adapter)[method_name]
        order = find_solver(name)[2].order
        steps = "adaptive" if method.adaptive else "fixed"
        rows.append((name, str(order or "varies"), steps, method.about))
    return rows
