"""The commands that check how reliable results are: ``compare``, ``reproduce``, ``calibrate``, ``doctor``."""

from pathlib import Path
from typing import Annotated

import typer

from nodebench.cli.options import LIMITS, OUTPUT, WHERE, Data, Download, Quiet, Results


def compare(
    first: Annotated[str, typer.Argument(metavar="RUN_A", help="Name or path of the first run.")],
    second: Annotated[str, typer.Argument(metavar="RUN_B", help="Name or path of the second run.")],
    results: Results = Path("results"),
    fail_on: Annotated[
        str, typer.Option(metavar="WORD,…", help="Exit with 1 on: regression, difference.", rich_help_panel=OUTPUT)
    ] = "",
    every: Annotated[bool, typer.Option("--all", help="Also show unchanged metrics.", rich_help_panel=OUTPUT)] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON.", rich_help_panel=OUTPUT)] = False,
) -> int:
    """Compare two runs: environment, code version and every metric of their common trials."""
    from nodebench.cli.compare import compare_command

    return compare_command(first, second, results, fail_on=fail_on, as_json=json, whole=every)


def reproduce(
    what: Annotated[str, typer.Argument(metavar="RECORD|RUN|CLAIM", help="A record's id, a run, or a claim.")],
    results: Results = Path("results"),
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Results folder of the new run.", rich_help_panel=WHERE)
    ] = Path("results"),
    data: Data = None,
    download: Download = False,
    sample: Annotated[
        int | None, typer.Option(metavar="N", help="Rerun a sample of N records.", rich_help_panel=LIMITS)
    ] = None,
    pick: Annotated[
        str, typer.Option(metavar="WORD", help="Random seed of --sample: any word.", rich_help_panel=LIMITS)
    ] = "",
    within: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Only records whose trials took at most SECONDS.", rich_help_panel=LIMITS),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.", rich_help_panel=OUTPUT)] = False,
    quiet: Quiet = False,
) -> int:
    """Rerun trials from their records alone, and report which metrics are reproduced.

    Example: nodebench reproduce resnet-is-euler --results results/published
    """
    from nodebench.api.reproduce import Choice
    from nodebench.cli.reproduce import reproduce_command
    from nodebench.cli.run_arguments import data_source

    choice = Choice(sample, pick, within)
    return reproduce_command(what, results, out, choice, data_source(data, download), as_json=json, quiet=quiet)


def calibrate(
    rounds: Annotated[int, typer.Option(metavar="N", help="Number of rounds.")] = 6,
    replicates: Annotated[int, typer.Option(metavar="N", help="Replicates of each load per round.")] = 3,
    pause: Annotated[float, typer.Option(metavar="SECONDS", help="Pause between rounds.")] = 5.0,
    threads: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Threads per trial. (default: $OMP_NUM_THREADS, else all cores)", rich_help_panel=WHERE
        ),
    ] = None,
    results: Results = Path("results"),
) -> int:
    """Measure the noise of this machine; print the smallest detectable changes and how to reduce the noise."""
    from nodebench.cli.calibrate import calibrate_command

    return calibrate_command(rounds, replicates, pause, threads, results)


def doctor(results: Results = Path("results")) -> int:
    """Check this installation: versions, devices, data sets, optional libraries."""
    from nodebench.cli.doctor import doctor_command

    return doctor_command(results)
