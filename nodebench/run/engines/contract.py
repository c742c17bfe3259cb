"""What an engine is: something that runs trials, each in a process of its own, and hands back their records."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType

from nodebench.run.checkpoints import Checkpoints
from nodebench.run.worker import Progress
from nodebench.spec import DataSource, Limits, Record, Request, Trial
from nodebench.spec.trajectories import Film

Report = Callable[[Trial, Progress], None]
Notice = Callable[[str], None]
Requests = Mapping[str, Request]  # by the id of the trial

EVERY_PASS: Requests = MappingProxyType({})


class Engine(ABC):
    """Runs trials in the order given, as far as it has room, and holds each to its limits.

    Whatever happens to a trial, it ends in one record. An engine writes no file; trials write their checkpoints.
    """

    # Whether trials run on machines whose cores and devices the parent cannot see.
    elsewhere: bool = False
    # Receives sentences about what runs the trials, such as lost workers; its owner sets it.
    notice: Notice = staticmethod(lambda text: None)

    def prepare(self, trials: Sequence[Trial]) -> None:  # noqa: B027 - optional
        """See that these trials can run here, before anything is written.

        Raises:
            BadInput: they cannot.
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
    ) -> Iterator[tuple[Record, Film]]:
        """Yield each trial's record, and the pictures it took, as it ends. An engine runs once.

        The place that an ended trial has left is filled only after its record was taken, so that it is stored
        before anything else is done in its stead.

        Args:
            trials: what to run.
            limits, source: of every one of them.
            report: hears of the progress of each, in the caller's thread.
            requests: what is measured of each; every pass, once, of a trial that is not named there.
            checkpoints: of the run; None for no checkpoints.

        Raises:
            BadInput: what runs them turns out to be unfit.
            CannotGoOn: it has lost what it runs on.
        """

    @abstractmethod
    def stop(self) -> None:
        """End what is running, with a record each that says ``interrupted``, and start nothing more.

        Returns at once, and may be called from a signal handler.
        """
