"""Ask for confirmation before a very large run."""

import sys
from collections.abc import Sequence

import typer

from nodebench.cli.progress import duration
from nodebench.errors import BadInput
from nodebench.running.estimate import Costs, estimate
from nodebench.spec import Trial

MANY = 100_000  # trials
LONG = 12 * 3600.0  # seconds of estimated work


def confirm(trials: Sequence[Trial], costs: Costs, at_once: int, *, yes: bool) -> None:
    """Ask whether to start more than ``MANY`` trials or more than ``LONG`` seconds of work, unless ``yes``.

    Args:
        trials: the trials to run.
        costs: known run times; trials without an estimate count as the mean of the others.
        at_once: how many run at a time.
        yes: whether ``--yes`` was typed.

    Raises:
        BadInput: the user declines, or standard input is not a terminal.
    """
    if yes:
        return
    large = _large(trials, costs, at_once)
    if large is None:
        return
    if not sys.stdin.isatty():
        raise BadInput(f"this is {large}; start it with --yes")
    if not typer.confirm(f"This is {large}. Start?", err=True):
        raise BadInput("nothing was started")


def _large(trials: Sequence[Trial], costs: Costs, at_once: int) -> str | None:
    """Return the size of a run if it is large, else None."""
    if len(trials) > MANY:
        return f"{len(trials):,} trials"
    found = estimate(trials, costs)
    seconds = found.seconds / at_once
    return f"about {duration(seconds)} of work" if seconds > LONG else None
