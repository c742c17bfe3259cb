"""The commands and their options."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from nodebench import __version__
from nodebench.cli.answers import export, list_, plot, recommend, report, show
from nodebench.cli.axis_options import with_axis_options
from nodebench.cli.checks import calibrate, compare, doctor, reproduce
from nodebench.cli.completion import of_tasks
from nodebench.cli.groups import claims_app, results_app, study_app
from nodebench.cli.options import (
    WHAT,
    WHERE,
    CheckpointEvery,
    Dask,
    Data,
    Download,
    Figures,
    Jobs,
    Json,
    MaxNfe,
    MemoryLimit,
    Passes,
    PresetName,
    Quiet,
    Results,
    Resume,
    RetryFailed,
    Threads,
    Timeout,
    Yes,
)
from nodebench.errors import BadInput

# Order of the commands in --help: the most used first.
_ORDER = (
    "run",
    "show",
    "plot",
    "report",
    "recommend",
    "compare",
    "export",
    "list",
    "study",
    "claims",
    "results",
    "reproduce",
    "calibrate",
    "doctor",
)


class _Ordered(TyperGroup):
    def list_commands(self, ctx: Any) -> list[str]:
        """The commands, in the order of ``_ORDER``."""
        return sorted(self.commands, key=_ORDER.index)


app = typer.Typer(
    name="nodebench",
    cls=_Ordered,
    help="The benchmark and reproducibility suite for Neural ODEs.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 fine, 1 some trial failed, 2 bad input, 3 disk or workers lost, 130 interrupted.",
)
for group in (study_app, claims_app, results_app):
    app.add_typer(group)
for command in (show, plot, export, report, recommend, compare, reproduce, calibrate, doctor):
    app.command()(command)
app.command(name="list")(list_)


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
@with_axis_options
def run(
    name: Annotated[
        str, typer.Argument(metavar="[TASK]", help="The same as --task.", show_default=False, autocompletion=of_tasks)
    ] = "",
    task: Annotated[
        str,
        typer.Option(
            metavar="TASK",
            help="Task to run (see 'nodebench list tasks'), or file.py:NAME of your own problem.",
            autocompletion=of_tasks,
            rich_help_panel=WHAT,
        ),
    ] = "",
    preset: PresetName = "quick",
    seeds: Annotated[
        int | None,
        typer.Option(metavar="N", help="Replicates: seeds 0 to N-1, in place of --seed.", rich_help_panel=WHAT),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Option of the task. Repeat it with another value to run both.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:N or mps.", rich_help_panel=WHERE)] = "cpu",
    threads: Threads = None,
    data: Data = None,
    download: Download = False,
    results: Results = Path("results"),
    resume: Resume = None,
    retry_failed: RetryFailed = False,
    jobs: Jobs = None,
    dask: Dask = None,
    timeout: Timeout = None,
    max_nfe: MaxNfe = None,
    memory_limit: MemoryLimit = None,
    checkpoint_every: CheckpointEvery = None,
    passes: Passes = "",
    no_timing: Annotated[
        bool,
        typer.Option(
            "--no-timing",
            help="Times are not needed: run trials on all cores, and do not rerun them if the machine changed speed.",
            rich_help_panel=WHERE,
        ),
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
    figures: Figures = False,
    yes: Yes = False,
    **axes: str,
) -> int:
    """Run trials. Comma-separated values are expanded into all combinations, one trial and process each.

    Example: nodebench run --task mnist --solver dopri5,rk4 --gradient direct,adjoint --seeds 5
    """
    from nodebench.cli.run import RunOptions, run_command
    from nodebench.cli.run_arguments import Choices, limits_of, passes_of
    from nodebench.running.session import Execution

    if name and task:
        raise BadInput(f"the task is given twice: {name} and --task {task}")
    choices = Choices(
        task=name or task,
        axes=axes,
        preset=preset,
        seeds=seeds,
        overrides=tuple(set_ or ()),
        device=device,
        threads=threads,
        data=data,
        download=download,
        timing=not no_timing,
    )
    limits = limits_of(timeout, max_nfe, memory_limit)
    execution = Execution(results, retry_failed, jobs, dask or "", limits, passes_of(passes), checkpoint_every)
    run_options = RunOptions(execution, resume, json=json, quiet=quiet, figures=figures, yes=yes)
    return run_command(choices, run_options)
