"""The commands that come in groups: ``study``, ``results``, ``claims``."""

from pathlib import Path
from typing import Annotated

import typer

from nodebench.cli.options import (
    OUTPUT,
    ClaimId,
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
    RunName,
    Seeds,
    StudyDevice,
    StudyName,
    Threads,
    Timeout,
)

study_app = typer.Typer(name="study", help="Named grids that answer one table or figure.", no_args_is_help=True)
results_app = typer.Typer(name="results", help="The runs kept here.", no_args_is_help=True)
claims_app = typer.Typer(name="claims", help="The published claims, and the verdicts on them.", no_args_is_help=True)


@study_app.command(name="list")
def study_list() -> None:
    """List the studies that come with nodebench."""
    from nodebench.cli.study import list_studies

    list_studies()


@study_app.command(name="show")
def study_show(name: StudyName, preset: PresetName = "quick") -> None:
    """Say what a study consists of."""
    from nodebench.cli.study import Typed, read_study, show_study

    show_study(read_study(name, preset, Typed()))


@study_app.command(name="plan")
def study_plan(
    name: StudyName,
    preset: PresetName = "quick",
    seeds: Seeds = None,
    device: StudyDevice = None,
    threads: Threads = None,
    data: Data = None,
    download: Download = False,
    results: Results = Path("results"),
    jobs: Jobs = None,
    probe: Annotated[bool, typer.Option("--probe", help="Find unknown times out by a few steps each.")] = False,
) -> None:
    """Say how many trials a study has, what is refused and why, what is there, and how long the rest takes."""
    from nodebench.cli.study import Typed, plan_study, read_study

    typed = Typed(seeds, device, threads, data, download)
    plan_study(read_study(name, preset, typed), results, jobs, probe)


@study_app.command(name="run")
def study_run(
    name: StudyName,
    preset: PresetName = "quick",
    seeds: Seeds = None,
    device: StudyDevice = None,
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
    passes: Passes = "",
    json: Json = False,
    quiet: Quiet = False,
    figures: Figures = False,
) -> int:
    """Run a study, or with --resume go on with its latest run."""
    from nodebench.cli.choices import limits_of, passes_of
    from nodebench.cli.run import Manner, execute
    from nodebench.cli.study import Typed, read_study, resume_study

    limits = limits_of(timeout, max_nfe, memory_limit)
    manner = Manner(
        results,
        resume,
        retry_failed,
        jobs,
        dask,
        limits,
        passes_of(passes),
        json=json,
        quiet=quiet,
        figures=figures,
    )
    typed = Typed(seeds, device, threads, data, download)
    if resume:
        return resume_study(read_study(name, preset, Typed()), manner, typed)
    return execute(read_study(name, preset, typed), manner)


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
