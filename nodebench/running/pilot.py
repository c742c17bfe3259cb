"""Find properties of a trial's solves without running the trial."""

from nodebench.running.expand import multiply
from nodebench.spec import DataSource, Grid, Limits, Status
from nodebench.trial.isolation import check_isolated
from nodebench.trial.worker import INTERVALS, SPAN


def longest_solve(grid: Grid, source: DataSource, limits: Limits) -> tuple[float, int] | None:
    """Return the time span of the longest solve of the probe batch, and its number of output intervals.

    Return None if the batch has no solve, or if the solve fails.

    Args:
        grid: the first trial of this grid is built, in a separate process.
        source: location of the data sets.
        limits: limits of that process.

    Raises:
        BadInput: the grid has no trial.
    """
    trials, _ = multiply(grid, source)
    record = check_isolated(trials[0], limits, source)
    span, intervals = (record.metrics.get(name) for name in (SPAN, INTERVALS))
    return (span, int(intervals)) if record.status is Status.OK and span and intervals else None
