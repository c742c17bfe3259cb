"""What the solves of a trial are like, found without running it."""

from nodebench.running.multiply import multiply
from nodebench.spec import DataSource, Grid, Limits, Status
from nodebench.trial.isolation import check_isolated
from nodebench.trial.worker import INTERVALS, SPAN


def longest_solve(grid: Grid, source: DataSource, limits: Limits) -> tuple[float, int] | None:
    """Return the length of time of the longest solve of a probe batch, and into how many parts its outputs cut it.

    None where the batch has no solve, or cannot be solved.

    Args:
        grid: of which the first trial is built, in a process of its own.
        source: where the data lie.
        limits: of that process.

    Raises:
        BadInput: the grid has no trial.
    """
    trials, _ = multiply(grid, source)
    record = check_isolated(trials[0], limits, source)
    span, intervals = (record.metrics.get(name) for name in (SPAN, INTERVALS))
    return (span, int(intervals)) if record.status is Status.OK and span and intervals else None
