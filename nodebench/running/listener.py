"""What hears of the progress of a session, and may stop it."""

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
    """Hears of the steps of a session. This one shows nothing and lets every run start."""

    def planning(self) -> AbstractContextManager[object]:
        """Enter the planning of the trials."""
        return nullcontext()

    def connecting(self) -> AbstractContextManager[object]:
        """Enter the connection to the workers, which may take long."""
        return nullcontext()

    def threads_chosen(self, choice: "ThreadChoice") -> None:
        """Hear of the number of threads that was chosen, since nobody asked for one."""

    def data_read(self, summary: str) -> None:
        """Hear what the user's own data hold."""

    def allow(self, trials: Sequence[Trial], costs: Costs, at_once: int) -> None:
        """Decide whether a new run may start.

        Args:
            trials: that would run.
            costs: what is known of their times.
            at_once: how many run at a time.

        Raises:
            BadInput: it may not.
        """

    def display(self, trials: Sequence[Trial], costs: Costs) -> AbstractContextManager[Display]:
        """Open what shows the progress of trials."""
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
