"""The local engine: one trial after another on this machine."""

from collections.abc import Callable, Iterable, Iterator

from nodebench.run.isolation import run_isolated, wait_for_fork_server
from nodebench.run.worker import Progress
from nodebench.spec import DataSource, Limits, Record, Trial
from nodebench.spec.trajectories import Film


def run_trials(
    trials: Iterable[Trial], limits: Limits, source: DataSource, report: Callable[[Trial, Progress], None]
) -> Iterator[tuple[Record, Film]]:
    """Run trials and yield each one's record, and the pictures it took, as it ends."""
    wait_for_fork_server()
    for trial in trials:
        yield run_isolated(trial, limits, source, lambda progress, trial=trial: report(trial, progress))  # type: ignore[misc]
