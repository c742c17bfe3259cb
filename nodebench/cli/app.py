"""The commands and their options."""

from pathlib import Path
from typing import Annotated

import typer

from nodebench import __version__
from nodebench.cli.options import (
    OUTPUT,
    WHERE,
    ClaimId,
    Dask,
    Data,
    Download,
    Figures,
    Jobs,
    Json,
    MaxNfe,
    MemoryLimit,
    PresetName,
    Quiet,
    Results,
    Resume,
    RetryFailed,
    RunName,
    StudyName,
    Timeout,
)

app = typer.Typer(
    name="nodebench",
    help="The benchmark and reproducibility suite for Neural ODEs.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 fine, 1 some trial failed, 2 bad input, 3 disk or workers lost, 130 interrupted.",
)
study_app = typer.Typer(name="study", help="Named grids that answer one table or figure.", no_args_is_help=True)
results_app = typer.Typer(name="results", help="The runs kept here.", no_args_is_help=True)
claims_app = typer.Typer(name="claims", help="The published claims, and the verdicts on them.", no_args_is_help=True)
app.add_typer(study_app)
app.add_typer(claims_app)
app.add_typer(results_app)


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
        typer.Option(
            metavar="NAME,…", help="See 'nodebench list gradients'. (default: the task's)", rich_help_panel="What"
        ),
    ] = "",
    segments: Annotated[
        str,
        typer.Option(
            metavar="N,…", help="Of the gradient checkpoint. (default: the library's)", rich_help_panel="What"
        ),
    ] = "",
    batching: Annotated[
        str,
        typer.Option(metavar="NAME,…", help="joint, worst, each. (default: the library's)", rich_help_panel="What"),
    ] = "",
    compile: Annotated[
        str,
        typer.Option(metavar="NAME,…", help="eager, field, solver. (default: eager)", rich_help_panel="What"),
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
    preset: PresetName = "quick",
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
            help="Override an option of the task; the same one again multiplies.",
            rich_help_panel="What",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:N or mps.", rich_help_panel=WHERE)] = "cpu",
    dtype: Annotated[str, typer.Option(help="float32 or float64.", rich_help_panel=WHERE)] = "float32",
    threads: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="CPU threads of a trial. (default: all cores, shared among the jobs)",
            rich_help_panel=WHERE,
        ),
    ] = None,
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
    json: Json = False,
    quiet: Quiet = False,
    figures: Figures = False,
) -> int:
    """Run trials. Several values by comma multiply into trials, each in a process of its own.

    Example: nodebench run --task mnist --solver dopri5,rk4 --gradient direct,adjoint --seeds 5
    """
    from nodebench.cli.choices import Choices, limits_of
    from nodebench.cli.run import Manner, run_command

    choices = Choices(
        task=task,
        model=model,
        dataset=dataset,
        solver=solver,
        gradient=gradient,
        segments=segments,
        batching=batching,
        compile=compile,
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
        data=data,
        download=download,
    )
    limits = limits_of(timeout, max_nfe, memory_limit)
    manner = Manner(results, resume, retry_failed, jobs, dask, limits, json=json, quiet=quiet, figures=figures)
    return run_command(choices, manner)


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
    what: Annotated[str, typer.Argument(metavar="[tasks|models|datasets|solvers|gradients|batchings]")] = "tasks",
) -> None:
    """Say what exists: tasks, models, data sets, solvers, gradients, batchings."""
    from nodebench.cli.show import list_command

    list_command(what)


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


@app.command()
def report(
    results: Results = Path("results"),
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write.", rich_help_panel=OUTPUT)] = Path(
        "reports/latest"
    ),
    format: Annotated[
        str, typer.Option(metavar="NAME,…", help="html, md, latex, csv.", rich_help_panel=OUTPUT)
    ] = "html,md,latex,csv",
    readme: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A README to write the verdicts into.", rich_help_panel=OUTPUT),
    ] = None,
) -> None:
    """Write the report: verdicts on the published claims, and a page for each claim and study."""
    from nodebench.cli.report import report_command

    report_command(results, out, format, readme)


@study_app.command(name="list")
def study_list() -> None:
    """List the studies that come with nodebench."""
    from nodebench.cli.study import list_studies

    list_studies()


@study_app.command(name="show")
def study_show(name: StudyName, preset: PresetName = "quick") -> None:
    """Say what a study consists of."""
    from nodebench.cli.study import read_study, show_study

    show_study(read_study(name, preset))


@study_app.command(name="plan")
def study_plan(
    name: StudyName,
    preset: PresetName = "quick",
    seeds: Annotated[int | None, typer.Option(metavar="N", help="Replicates. (default: the study's)")] = None,
    data: Data = None,
    download: Download = False,
    results: Results = Path("results"),
    jobs: Jobs = None,
    probe: Annotated[bool, typer.Option("--probe", help="Find unknown times out by a few steps each.")] = False,
) -> None:
    """Say how many trials a study has, what is refused and why, what is there, and how long the rest takes."""
    from nodebench.cli.choices import data_source
    from nodebench.cli.study import plan_study, read_study

    plan_study(read_study(name, preset, seeds, data_source(data, download)), results, jobs, probe)


@study_app.command(name="run")
def study_run(
    name: StudyName,
    preset: PresetName = "quick",
    seeds: Annotated[int | None, typer.Option(metavar="N", help="Replicates. (default: the study's)")] = None,
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
    json: Json = False,
    quiet: Quiet = False,
    figures: Figures = False,
) -> int:
    """Run a study, or with --resume go on with its latest run."""
    from nodebench.cli.choices import data_source, limits_of
    from nodebench.cli.run import Manner, execute
    from nodebench.cli.study import read_study, resume_study

    limits = limits_of(timeout, max_nfe, memory_limit)
    manner = Manner(results, resume, retry_failed, jobs, dask, limits, json=json, quiet=quiet, figures=figures)
    if resume:
        given = {"--seeds": seeds is not None, "--data": data is not None, "--download": download}
        return resume_study(read_study(name, preset), manner, [option for option, typed in given.items() if typed])
    return execute(read_study(name, preset, seeds, data_source(data, download)), manner)


@results_app.command(name="list")
def results_list(results: Results = Path("results")) -> None:
    """List the runs kept here."""
    from nodebench.cli.results import list_results

    list_results(results)


@results_app.command(name="verify")
def results_verify(run: RunName = None, results: Results = Path("results")) -> int:
    """Look for torn, double, foreign and edited records; of one run or, without a name, of all."""
    from nodebench.cli.results import verify_results

    return verify_results(run, results)


@results_app.command(name="merge")
def results_merge(
    first: Annotated[str, typer.Argument(metavar="A")],
    second: Annotated[str, typer.Argument(metavar="B")],
    results: Results = Path("results"),
) -> None:
    """Make a new run of the records of two; a trial that both have is there once."""
    from nodebench.cli.results import merge_results

    merge_results(first, second, results)


@results_app.command(name="prune")
def results_prune(
    results: Results = Path("results"),
    yes: Annotated[bool, typer.Option("--yes", help="Remove it, instead of saying what would be.")] = False,
) -> None:
    """Remove what no record needs: runs without one, superseded lines, stray files."""
    from nodebench.cli.results import prune_results

    prune_results(results, yes)


@claims_app.command(name="list")
def claims_list() -> None:
    """List the claims, with their published figures."""
    from nodebench.cli.claims import list_claims

    list_claims()


@claims_app.command(name="show")
def claims_show(id: ClaimId, results: Results = Path("results")) -> None:
    """Say what a claim is, how it is put to the test, and what the records here say of it."""
    from nodebench.cli.claims import show_claim

    show_claim(id, results)


@claims_app.command(name="check")
def claims_check(
    results: Results = Path("results"),
    json: Annotated[bool, typer.Option("--json", help="Print the verdicts as JSON.", rich_help_panel=OUTPUT)] = False,
    fail_on: Annotated[
        str,
        typer.Option(metavar="WORD,…", help="Exit with 1 if a verdict is one of these.", rich_help_panel=OUTPUT),
    ] = "",
) -> int:
    """Put every claim to the test over the records kept here."""
    from nodebench.cli.claims import check_claims

    return check_claims(results, json, fail_on)


@claims_app.command(name="plan")
def claims_plan(id: ClaimId, results: Results = Path("results"), data: Data = None, download: Download = False) -> None:
    """Print the cheapest study that would decide a claim here, as a file for 'nodebench study run'."""
    from nodebench.cli.choices import data_source
    from nodebench.cli.claims import plan_claim

    plan_claim(id, results, data_source(data, download))
