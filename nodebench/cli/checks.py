"""The commands that say how far a number can be trusted: ``compare``, ``reproduce``, ``calibrate``, ``doctor``."""

from pathlib import Path
from typing import Annotated

import typer

from nodebench.cli.options import LIMITS, OUTPUT, WHERE, Data, Download, Quiet, Results


def compare(
    first: Annotated[str, typer.Argument(metavar="RUN_A", help="Name or path of the run before.")],
    second: Annotated[str, typer.Argument(metavar="RUN_B", help="Name or path of the run after.")],
    results: Results = Path("results"),
    fail_on: Annotated[
        str, typer.Option(metavar="WORD,…", help="Exit with 1 on: regression, difference.", rich_help_panel=OUTPUT)
    ] = "",
    every: Annotated[
        bool, typer.Option("--all", help="Show what has not changed too.", rich_help_panel=OUTPUT)
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print it as JSON.", rich_help_panel=OUTPUT)] = False,
) -> int:
    """Say what has changed between two runs: environment, code, and each figure of the trials that both have."""
    from nodebench.cli.compare import compare_command

    return compare_command(first, second, results, fail_on=fail_on, as_json=json, whole=every)


def reproduce(
    what: Annotated[str, typer.Argument(metavar="RECORD|RUN|CLAIM", help="A record's id, a run, or a claim.")],
    results: Results = Path("results"),
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the new run is kept.", rich_help_panel=WHERE)] = Path(
        "results"
    ),
    data: Data = None,
    download: Download = False,
    sample: Annotated[
        int | None, typer.Option(metavar="N", help="Only so many of the records.", rich_help_panel=LIMITS)
    ] = None,
    pick: Annotated[
        str, typer.Option(metavar="WORD", help="What draws the sample; each word its own.", rich_help_panel=LIMITS)
    ] = "",
    within: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Only records whose trials took no longer.", rich_help_panel=LIMITS),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print it as JSON.", rich_help_panel=OUTPUT)] = False,
    quiet: Quiet = False,
) -> int:
    """Run trials again from their records alone, and say which figures come out as they were.

    Example: nodebench reproduce resnet-is-euler --results results/published
    """
    from nodebench.api.reproduce import Choice
    from nodebench.cli.choices import data_source
    from nodebench.cli.reproduce import reproduce_command

    choice = Choice(sample, pick, within)
    return reproduce_command(what, results, out, choice, data_source(data, download), as_json=json, quiet=quiet)


def calibrate(
    rounds: Annotated[int, typer.Option(metavar="N", help="Rounds of trials.")] = 6,
    replicates: Annotated[int, typer.Option(metavar="N", help="Replicates of each load in a round.")] = 3,
    pause: Annotated[float, typer.Option(metavar="SECONDS", help="Between two rounds.")] = 5.0,
    threads: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Of each trial. (default: $OMP_NUM_THREADS, else all cores)", rich_help_panel=WHERE
        ),
    ] = None,
    results: Results = Path("results"),
) -> int:
    """Measure the noise of this machine: the smallest change that replicates can find here, and what would help."""
    from nodebench.cli.calibrate import calibrate_command

    return calibrate_command(rounds, replicates, pause, threads, results)


def doctor(results: Results = Path("results")) -> int:
    """Say what will work here, what will not, and what to do about it."""
    from nodebench.cli.doctor import doctor_command

    return doctor_command(results)
