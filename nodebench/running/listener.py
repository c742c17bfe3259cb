"""Callbacks that receive the progress of a session and can stop it."""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import FrameType
from typing import TYPE_CHECKING

from nodebench.running.estimate import Costs
from nodebench.spec import Record, Trial

if TYPE_CHECKING:
    from nodebench.running.threads import ThreadChoice
    from nodebench.trial.worker import Progress


class Display:
    """Shows the progress of running trials; this one shows nothing."""

    def note(self, text: str) -> None:
        """Show a sentence about the whole run."""

    def progress(self, trial: Trial, event: "Progress") -> None:
        """Show a phase or an epoch of a trial."""

    def finished(self, record: Record) -> None:
        """Show that a trial has ended."""


class Listener:
    """Receives the events of a session. This base class shows nothing and allows every run."""

    def planning(self) -> AbstractContextManager[object]:
        """Return the context in which the trials are planned."""
        return nullcontext()

    def connecting(self) -> AbstractContextManager[object]:
        """Return the context in which the engine connects to its workers, which may take long."""
        return nullcontext()

    def threads_chosen(self, choice: "ThreadChoice") -> None:
        """Called with the number of threads that was chosen because the user gave none."""

    def data_read(self, summary: str) -> None:
        """Called with a summary of the user's own data."""

    def allow(self, trials: Sequence[Trial], costs: Costs, at_once: int) -> None:
        """Decide whether a new run may start.

        Args:
            trials: the trials that would run.
            costs: known run times.
            at_once: number of trials that run in parallel.

        Raises:
            BadInput: the run may not start.
        """

    def display(self, trials: Sequence[Trial], costs: Costs) -> AbstractContextManager[Display]:
        """Return a context manager that yields the progress display of the trials."""
        return nullcontext(Display())

    def interruption(self, stop: Callable[[], None]) -> AbstractContextManager[list[int]]:
        """Call ``stop`` on the first interrupt while trials run; yields the list of the signals received."""
        return _first_interrupt(stop)


@contextmanager
def _first_interrupt(stop: Callable[[], None]) -> Iterator[list[int]]:
    """Call ``stop`` on the first SIGINT. A thread that is not the main one receives no signals."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def handle(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if len(received) == 1:
            stop()

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield received
    finally:
        signal.signal(signal.SIGINT, before)
