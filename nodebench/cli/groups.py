"""The commands that come in groups: ``study``, ``results``, ``claims``."""

from pathlib import Path
from typing import Annotated

import typer

from nodebench.cli.options import (
    OUTPUT,
    CheckpointEvery,
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
    Yes,
)

study_app = typer.Typer(name="study", help="List, plan and run studies (named grids).", no_args_is_help=True)
results_app = typer.Typer(name="results", help="List and maintain stored runs.", no_args_is_help=True)
claims_app = typer.Typer(name="claims", help="The published claims, and the verdicts on them.", no_args_is_help=True)


@study_app.command(name="list")
def study_list() -> None:
    """List the studies that come with nodebench."""
    from nodebench.cli.study import list_studies

    list_studies()


@study_app.command(name="show")
def study_show(name: StudyName, preset: PresetName = "quick") -> None:
    """Show the grids, claims and passes of a study."""
    from nodebench.cli.study import StudyOverrides, read_study, show_study

    show_study(read_study(name, preset, StudyOverrides()))


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
    probe: Annotated[bool, typer.Option("--probe", help="Estimate unknown run times from a few steps.")] = False,
) -> None:
    """Show how many trials a study has, which are left out and why, how many are done, and the time left."""
    from nodebench.cli.study import StudyOverrides, plan_study, read_study

    typed = StudyOverrides(seeds, device, threads, data, download)
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
    checkpoint_every: CheckpointEvery = None,
    passes: Passes = "",
    json: Json = False,
    quiet: Quiet = False,
    figures: Figures = False,
    yes: Yes = False,
) -> int:
    """Run a study, or resume its latest run with --resume."""
    from nodebench.cli.run import RunOptions, execute
    from nodebench.cli.run_arguments import limits_of, passes_of
    from nodebench.cli.study import StudyOverrides, read_study, resume_study
    from nodebench.running.session import Execution

    limits = limits_of(timeout, max_nfe, memory_limit)
    execution = Execution(results, retry_failed, jobs, dask or "", limits, passes_of(passes), checkpoint_every)
    run_options = RunOptions(execution, resume, json=json, quiet=quiet, figures=figures, yes=yes)
    typed = StudyOverrides(seeds, device, threads, data, download)
    if resume:
        return resume_study(read_study(name, preset, StudyOverrides()), run_options, typed)
    return execute(read_study(name, preset, typed), run_options)


@results_app.command(name="list")
def results_list(results: Results = Path("results")) -> None:
    """List the stored runs."""
    from nodebench.cli.results import list_results

    list_results(results)


@results_app.command(name="verify")
def results_verify(run: RunName = None, results: Results = Path("results")) -> int:
    """Check one run, or all runs, for truncated, duplicate, mismatched or modified records."""
    from nodebench.cli.results import verify_results

    return verify_results(run, results)


@results_app.command(name="repair")
def results_repair(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Name or path of a run.")],
    results: Results = Path("results"),
) -> None:
    """Move damaged or modified records of a run to set-aside.jsonl in its folder."""
    from nodebench.cli.results import repair_results

    repair_results(run, results)


@results_app.command(name="merge")
def results_merge(
    first: Annotated[str, typer.Argument(metavar="A")],
    second: Annotated[str, typer.Argument(metavar="B")],
    results: Results = Path("results"),
) -> None:
    """Merge the records of two runs into a new run; trials in both are kept once."""
    from nodebench.cli.results import merge_results

    merge_results(first, second, results)


@results_app.command(name="prune")
def results_prune(
    results: Results = Path("results"),
    yes: Annotated[bool, typer.Option("--yes", help="Remove the files instead of listing them.")] = False,
) -> None:
    """Remove runs without records, superseded lines and unused arrays; other files are left as they are."""
    from nodebench.cli.results import prune_results

    prune_results(results, yes)


@claims_app.command(name="list")
def claims_list() -> None:
    """List the claims with their published values."""
    from nodebench.cli.claims import list_claims

    list_claims()


@claims_app.command(name="show")
def claims_show(id: ClaimId, results: Results = Path("results")) -> None:
    """Show a claim, how it is tested, and its verdict from the stored records."""
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
    """Test every claim against your own records, or against the published ones if there are no others."""
    from nodebench.cli.claims import check_claims

    return check_claims(results, json, fail_on)


@claims_app.command(name="settle")
def claims_settle(
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID…]", help="Claims. (default: all)")] = None,
    hours: Annotated[float, typer.Option(metavar="H", help="Time limit in hours.")] = 1.0,
    jobs: Jobs = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and measure nothing.")] = False,
    results: Results = Path("results"),
    data: Data = None,
    download: Download = False,
    quiet: Quiet = False,
) -> int:
    """Run the trials that decide the most claims per hour, and judge after each planned look.

    Example: nodebench claims settle --hours 3 --results results
    """
    from nodebench.cli.run_arguments import data_source
    from nodebench.cli.settle import settle_claims

    source = data_source(data, download)
    return settle_claims(ids or (), results, source, hours=hours, jobs=jobs, dry_run=dry_run, quiet=quiet)


@claims_app.command(name="freeze")
def claims_freeze(
    check: Annotated[bool, typer.Option("--check", help="Only list declarations that are not frozen.")] = False,
) -> int:
    """Freeze the claim declarations of this checkout; a changed declaration needs an amendment."""
    from nodebench.cli.claims import freeze_claims

    return freeze_claims(check)
