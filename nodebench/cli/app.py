"""The commands and their options."""

from pathlib import Path
from typing import Annotated

import typer

from nodebench import __version__

app = typer.Typer(
    name="nodebench",
    help="The benchmark and reproducibility suite for Neural ODEs.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 fine, 1 some trial failed, 2 bad input, 130 interrupted.",
)

Results = Annotated[
    Path,
    typer.Option("--results", metavar="DIR", help="Where runs are kept.", rich_help_panel="Where and how"),
]
RunName = Annotated[str | None, typer.Argument(metavar="[RUN]", help="Name or path of a run; the latest by default.")]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"nodebench {__version__}")
        raise typer.Exit


@app.callback()
def nodebench(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """The benchmark and reproducibility suite for Neural ODEs."""


@app.command()
def run(
    task: Annotated[str, typer.Option(help="Task to run; see 'nodebench list tasks'.", rich_help_panel="What")] = "",
    model: Annotated[
        str, typer.Option(metavar="NAME,…", help="Network variants of the task.", rich_help_panel="What")
    ] = "",
    dataset: Annotated[
        str, typer.Option(metavar="NAME,…", help="Data sets of the task, where it has any.", rich_help_panel="What")
    ] = "",
    solver: Annotated[
        str, typer.Option(metavar="NAME,…", help="Solvers. (default: dopri5)", rich_help_panel="What")
    ] = "",
    gradient: Annotated[
        str,
        typer.Option(metavar="NAME,…", help="direct, adjoint. (default: the task's)", rich_help_panel="What"),
    ] = "",
    rtol: Annotated[
        str,
        typer.Option(metavar="X,…", help="Relative tolerances. (default: the task's)", rich_help_panel="What"),
    ] = "",
    atol: Annotated[
        str,
        typer.Option(
            metavar="X,…",
            help="Absolute tolerances. (default: in the task's ratio to rtol)",
            rich_help_panel="What",
        ),
    ] = "",
    adjoint_rtol: Annotated[
        str,
        typer.Option(metavar="X", help="Tolerance of the adjoint. (default: rtol)", rich_help_panel="What"),
    ] = "",
    adjoint_atol: Annotated[
        str,
        typer.Option(metavar="X", help="Tolerance of the adjoint. (default: atol)", rich_help_panel="What"),
    ] = "",
    step_size: Annotated[
        str,
        typer.Option(metavar="H,…", help="Steps of fixed-step solvers. (default: the task's)", rich_help_panel="What"),
    ] = "",
    preset: Annotated[
        str, typer.Option(metavar="NAME", help="Scale: smoke, quick, paper.", rich_help_panel="What")
    ] = "quick",
    seed: Annotated[str, typer.Option(metavar="N,…", help="Seeds.", rich_help_panel="What")] = "0",
    seeds: Annotated[
        int | None,
        typer.Option(metavar="N", help="Replicates: seeds 0 to N-1, in place of --seed.", rich_help_panel="What"),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Override an option of the task; repeatable.",
            rich_help_panel="What",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:N or mps.", rich_help_panel="Where and how")] = "cpu",
    dtype: Annotated[str, typer.Option(help="float32 or float64.", rich_help_panel="Where and how")] = "float32",
    threads: Annotated[
        int | None,
        typer.Option(metavar="N", help="CPU threads. (default: all)", rich_help_panel="Where and how"),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of the full data set. (default: $NODEBENCH_DATA_DIR)",
            rich_help_panel="Where and how",
        ),
    ] = None,
    download: Annotated[
        bool,
        typer.Option("--download", help="Let the loader fetch the data.", rich_help_panel="Where and how"),
    ] = False,
    results: Results = Path("results"),
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Go on with an earlier run, as it was asked for.",
            rich_help_panel="Where and how",
        ),
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Time of one trial.", rich_help_panel="Limits")
    ] = None,
    max_nfe: Annotated[
        int | None,
        typer.Option(metavar="N", help="Evaluations of one solve, also in tests.", rich_help_panel="Limits"),
    ] = None,
    memory_limit: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Resident memory of one trial: 800MB, 2GB.", rich_help_panel="Limits"),
    ] = None,
    json: Annotated[
        bool,
        typer.Option("--json", help="Print records as JSON lines, nothing else.", rich_help_panel="Output"),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.", rich_help_panel="Output")] = False,
    figures: Annotated[
        bool, typer.Option("--figures", help="Draw each trial's figures at the end.", rich_help_panel="Output")
    ] = False,
) -> int:
    """Run trials. Several values by comma multiply into trials, which run one after another.

    Example: nodebench run --task mnist --solver dopri5,rk4 --gradient direct,adjoint --seeds 5
    """
    from nodebench.cli.choices import Choices
    from nodebench.cli.run import run_command

    choices = Choices(
        task=task,
        model=model,
        dataset=dataset,
        solver=solver,
        gradient=gradient,
        rtol=rtol,
        atol=atol,
        adjoint_rtol=adjoint_rtol,
        adjoint_atol=adjoint_atol,
        step_size=step_size,
        preset=preset,
        seed=seed,
        seeds=seeds,
        overrides=tuple(set_ or ()),
        device=device,
        dtype=dtype,
        threads=threads,
        timeout=timeout,
        max_nfe=max_nfe,
        memory_limit=memory_limit,
        data=data,
        download=download,
    )
    return run_command(choices, results, resume, json=json, quiet=quiet, figures=figures)


@app.command()
def show(
    run: RunName = None,
    figures: Annotated[bool, typer.Option("--figures", help="Draw each trial's figures, as SVG and PNG.")] = False,
    animate: Annotated[bool, typer.Option("--animate", help="Draw them, and a GIF of each training.")] = False,
    results: Results = Path("results"),
) -> None:
    """Print a run's table again, and draw its figures."""
    from nodebench.cli.show import show_command

    show_command(run, results, figures=figures or animate, animate=animate)


@app.command(name="list")
def list_(
    what: Annotated[str, typer.Argument(metavar="[tasks|models|datasets|solvers|gradients|runs]")] = "tasks",
    results: Results = Path("results"),
) -> None:
    """Say what exists: tasks, models, data sets, solvers, gradients, or the runs kept here."""
    from nodebench.cli.show import list_command

    list_command(what, results)


@app.command()
def export(
    run: RunName = None,
    format: Annotated[str, typer.Option("--format", help="csv, parquet or json.")] = "csv",
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="File to write. (default: RUN/records.FORMAT)"),
    ] = None,
    results: Results = Path("results"),
) -> None:
    """Write a run's records as a table for other programs."""
    from nodebench.cli.show import export_command

    export_command(run, results, format, out)
