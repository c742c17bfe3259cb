"""The commands that answer from records: tables, plots, reports, recommendations."""

from pathlib import Path
from typing import Annotated

import typer

from nodebench.cli.completion import of_runs, of_tasks
from nodebench.cli.options import LIMITS, OUTPUT, WHERE, Results, RunName
from nodebench.errors import BadInput


def show(
    run: RunName = None,
    figures: Annotated[bool, typer.Option("--figures", help="Save plots of each trial as SVG and PNG.")] = False,
    animate: Annotated[bool, typer.Option("--animate", help="Save the plots, and a GIF of each training.")] = False,
    columns: Annotated[
        str,
        typer.Option(metavar="all|NAME,…", help="Columns to show, even if too wide. (default: those that fit)"),
    ] = "",
    results: Results = Path("results"),
) -> None:
    """Print the table of a run and, on request, save its plots."""
    from nodebench.cli.run_arguments import parts
    from nodebench.cli.show import show_command

    show_command(run, results, parts("columns", columns), figures=figures or animate, animate=animate)


def plot(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Name or path of a run; 'latest'.", show_default=False)],
    x: Annotated[str, typer.Argument(metavar="X", help="Column: nfe_forward, rtol, step_seconds.")],
    y: Annotated[str, typer.Argument(metavar="Y", help="Column: solution_error, gradient_error.")],
    by: Annotated[str, typer.Option(metavar="COLUMN", help="Column that sets colour and marker.")] = "solver",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Output .svg, .png or .pdf. (default: in RUN/figures)")
    ] = None,
    results: Results = Path("results"),
) -> None:
    """Plot one column of a run's table against another, one point per trial.

    Example: nodebench plot latest nfe_forward solution_error --by solver
    """
    from nodebench.cli.plot import plot_command

    plot_command(run, x, y, by, results, out)


def list_(
    what: Annotated[
        str, typer.Argument(metavar="[tasks|models|datasets|options|solvers|gradients|batchings]")
    ] = "tasks",
    task: Annotated[str, typer.Argument(metavar="[TASK]", help="Task whose options to list.")] = "",
) -> None:
    """List tasks, models, data sets, options of a task, solvers, gradients or batchings."""
    from nodebench.cli.show import list_command

    list_command(what, task)


def export(
    run: RunName = None,
    every: Annotated[bool, typer.Option("--all", help="Export all runs in --results as one table.")] = False,
    format: Annotated[str, typer.Option("--format", help="csv, parquet, json or latex.")] = "csv",
    table: Annotated[
        str, typer.Option(metavar="NAME", help="trials, history (one row per epoch) or profile.")
    ] = "trials",
    columns: Annotated[
        str, typer.Option(metavar="NAME,…", help="Columns, in order. (default: all; for latex, eight)")
    ] = "",
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="File to write. (default: RUN/records.FORMAT)"),
    ] = None,
    croissant: Annotated[
        bool, typer.Option("--croissant", help="Also write MLCommons Croissant metadata of the Parquet file.")
    ] = False,
    results: Results = Path("results"),
) -> None:
    """Export the records of a run as a table.

    Example: nodebench export --all --format parquet --out records.parquet
    """
    from nodebench.cli.show import export_command

    export_command(run, results, format, out, every=every, table=table, columns=columns, croissant=croissant)


def report(
    results: Results = Path("results"),
    run: Annotated[
        str,
        typer.Option(
            metavar="RUN",
            help="Report on this run only: its name, or latest.",
            autocompletion=of_runs,
            rich_help_panel=WHERE,
        ),
    ] = "",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder to write. (default: reports/latest; with --run: RUN/report)",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    format: Annotated[
        str,
        typer.Option(
            metavar="NAME,…",
            help="html, md, latex, csv. (default: all four; with --run: html)",
            rich_help_panel=OUTPUT,
        ),
    ] = "",
    open_: Annotated[
        bool, typer.Option("--open", help="Open the first page in the browser.", rich_help_panel=OUTPUT)
    ] = False,
    serve: Annotated[
        int | None,
        typer.Option(
            metavar="PORT",
            help="Serve the pages on localhost until Ctrl-C; 0 picks a free port.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    readme: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="README to insert the verdicts into.", rich_help_panel=OUTPUT),
    ] = None,
    with_published: Annotated[
        bool,
        typer.Option("--with-published", help="Also show the records in results/published.", rich_help_panel=WHERE),
    ] = False,
) -> None:
    """Write the report: verdicts on the published claims, and a page for each claim and study.

    Example: nodebench report --run latest --open
    """
    from nodebench.cli.report import report_command, report_run_command, show_page

    if run and (readme or with_published):
        raise BadInput(f"--run {run}: leave out --readme and --with-published, which apply to the whole report")
    if run:
        page = report_run_command(run, results, out, format)
    else:
        page = report_command(results, out, format, readme, with_published=with_published)
    show_page(page, open_=open_, port=serve)


def recommend(
    task: Annotated[
        str,
        typer.Option(
            metavar="TASK",
            help="A task; see 'nodebench list tasks'.",
            autocompletion=of_tasks,
            rich_help_panel="What",
        ),
    ] = "",
    field: Annotated[
        str, typer.Option(metavar="MODULE:CLASS", help="Your own vector field.", rich_help_panel="What")
    ] = "",
    state_shape: Annotated[
        str, typer.Option(metavar="N,…", help="Shape of one sample of your field's state.", rich_help_panel="What")
    ] = "",
    model: Annotated[str, typer.Option(help="Model of the task. (default: its first)", rich_help_panel="What")] = "",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Option of the task.", rich_help_panel="What"),
    ] = None,
    dataset: Annotated[
        str, typer.Option(metavar="NAME", help="Data set of the task. (default: any)", rich_help_panel="What")
    ] = "",
    dtype: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Format of states and parameters. (default: any; with --measure: float32)",
            rich_help_panel="What",
        ),
    ] = "",
    data: Annotated[
        Path | None,
        typer.Option(metavar="FILE|DIR", help="Your time-series file, or data set folder.", rich_help_panel="What"),
    ] = None,
    max_memory: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Maximum memory of a training step, e.g. 300MB.", rich_help_panel=LIMITS),
    ] = None,
    error: Annotated[
        float | None, typer.Option(metavar="X", help="Maximum relative gradient error.", rich_help_panel=LIMITS)
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Measure now; takes minutes.", rich_help_panel=WHERE)
    ] = False,
    minutes: Annotated[
        float | None,
        typer.Option(
            metavar="M",
            help="Measure for at most M minutes: every candidate once, then the best ones again.",
            rich_help_panel=WHERE,
        ),
    ] = None,
    solver: Annotated[
        str, typer.Option(metavar="NAME,…", help="With --measure or --minutes: solvers to try.", rich_help_panel=WHERE)
    ] = "",
    steps: Annotated[
        str,
        typer.Option(
            metavar="N,…", help="With --measure: steps per solve of fixed-step solvers.", rich_help_panel=WHERE
        ),
    ] = "",
    seeds: Annotated[int, typer.Option(metavar="N", help="With --measure: replicates.", rich_help_panel=WHERE)] = 3,
    device: Annotated[str, typer.Option(help="With --measure or --minutes: device.", rich_help_panel=WHERE)] = "cpu",
    threads: Annotated[
        int | None, typer.Option(metavar="N", help="CPU threads of a trial. (default: any)", rich_help_panel=WHERE)
    ] = None,
    machine: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Use the records of the machine whose processor name contains NAME. (default: this machine)",
            rich_help_panel=WHERE,
        ),
    ] = "",
    results: Results = Path("results"),
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Plot error over time of all candidates: .svg, .png or .pdf.", rich_help_panel=OUTPUT
        ),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print JSON on standard output.", rich_help_panel=OUTPUT)
    ] = False,
) -> int:
    """Recommend a solver, tolerance and gradient method under memory and error limits.

    Example: nodebench recommend --field mine:Drift --state-shape 64 --error 1e-3 --measure
    """
    from nodebench.api.recommend_records import Asked
    from nodebench.cli.recommend import recommend_command
    from nodebench.cli.run_arguments import overrides_of, whole_numbers

    options = overrides_of(set_ or ())
    asked = Asked(
        task=task,
        field=field,
        state_shape=state_shape,
        dataset=dataset,
        model=model,
        options=options,
        dtype=dtype,
        device=device,
        threads=threads,
        data=data,
        steps=whole_numbers("steps", steps),
    )
    return recommend_command(
        asked,
        max_memory,
        error,
        results,
        measure=measure,
        minutes=minutes,
        solver=solver,
        seeds=seeds,
        machine=machine,
        plot=plot,
        json=json,
    )
