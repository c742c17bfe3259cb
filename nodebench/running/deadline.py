"""A listener that stops a session after a time limit."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from nodebench.running.estimate import Costs
from nodebench.running.listener import Display, Listener
from nodebench.spec import Trial

if TYPE_CHECKING:
    from nodebench.running.threads import ThreadChoice


class DeadlineListener(Listener):
    """Forwards to another listener, and stops the running trials when the time limit has passed.

    Args:
        shown: the other listener.
        seconds: time limit, from now.
    """

    def __init__(self, shown: Listener, seconds: float) -> None:
        self._shown = shown
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds that are left; negative when the time is up."""
        return self._end - time.monotonic()

    def planning(self) -> AbstractContextManager[object]:
        """See ``Listener``."""
        return self._shown.planning()

    def connecting(self) -> AbstractContextManager[object]:
        """See ``Listener``."""
        return self._shown.connecting()

    def threads_chosen(self, choice: "ThreadChoice") -> None:
        """See ``Listener``."""
        self._shown.threads_chosen(choice)

    def allow(self, trials: Sequence[Trial], costs: Costs, at_once: int) -> None:
        """See ``Listener``."""
        self._shown.allow(trials, costs, at_once)

    def display(self, trials: Sequence[Trial], costs: Costs) -> AbstractContextManager[Display]:
        """See ``Listener``."""
        return self._shown.display(trials, costs)

    @contextmanager
    def interruption(self, stop: Callable[[], None]) -> Iterator[list[int]]:
        """Call ``stop`` on an interrupt and at the time limit; the yielded list contains the received signals only."""
        clock = threading.Timer(max(0.0, self.left), stop)
        clock.daemon = True
        with self._shown.interruption(stop) as received:
            clock.start()
            try:
                yield received
            finally:
                clock.cancel()
