"""The interface of an engine, which runs each trial in a separate process and returns the records."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType

from nodebench.spec import DataSource, Limits, Record, Request, Trial
from nodebench.spec.trajectories import Snapshots
from nodebench.store.checkpoints import Checkpoints
from nodebench.trial.worker import Progress

Report = Callable[[Trial, Progress], None]
Notice = Callable[[str], None]
Requests = Mapping[str, Request]  # by the id of the trial

EVERY_PASS: Requests = MappingProxyType({})


class Engine(ABC):
    """Runs trials in the given order, several in parallel if possible, and enforces the limits of each.

    Every trial ends in one record, also if it fails. An engine writes no files; trials write their checkpoints.
    """

    # Whether trials run on machines whose cores and devices the parent cannot see.
    elsewhere: bool = False
    # Callback for messages about the workers, such as lost workers; set by the caller.
    notice: Notice = staticmethod(lambda text: None)

    def prepare(self, trials: Sequence[Trial]) -> None:  # noqa: B027 - optional
        """Check that these trials can run here, before anything is written.

        Raises:
            BadInput: the trials cannot run here.
        """

    @abstractmethod
    def run(
        self,
        trials: Sequence[Trial],
        limits: Limits,
        source: DataSource,
        report: Report,
        requests: Requests = EVERY_PASS,
        checkpoints: Checkpoints | None = None,
    ) -> Iterator[tuple[Record, Snapshots]]:
        """Yield the record and the snapshots of each trial as it ends. An engine runs once.

        The next trial starts in a slot only after the caller has taken the record of the previous one, so that the
        record is stored first.

        Args:
            trials: the trials to run.
            limits, source: limits and data source of every trial.
            report: called with the progress of each trial, in the caller's thread.
            requests: what is measured of each trial; a trial without an entry runs every pass, once.
            checkpoints: checkpoints of the run; None for no checkpoints.

        Raises:
            BadInput: the workers cannot run these trials.
            RunAborted: the engine cannot start trials any more, or has lost its scheduler or its workers.
        """

    @abstractmethod
    def stop(self) -> None:
        """Stop the running trials, each with a record of status ``interrupted``, and start no more.

        Trials that have not started get no record.

        Returns immediately, and may be called from a signal handler.
        """
