"""Handling of Ctrl-C and SIGTERM by commands."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from nodebench.cli.exit_codes import INTERRUPTED

# A further Ctrl-C this many seconds after the first ends the process without waiting for the cleanup.
PATIENCE_SECONDS = 10.0


def leave_at_once(number: int, frame: FrameType | None) -> None:
    """Signal handler: end the process. For commands that have nothing to clean up yet."""
    os._exit(INTERRUPTED)


@contextmanager
def ctrl_c(stop: Callable[[], None]) -> Iterator[list[int]]:
    """Call ``stop`` on the first SIGINT or SIGTERM inside the block; yield the list of signals received.

    ``stop`` is called once, so it need not be reentrant. Later signals are only listed, unless they come more than
    ``PATIENCE_SECONDS`` after the first: then the process ends. Every finished record is on disk by then. After a
    signal the handlers stay installed beyond the block, because the command still has to print how to resume.
    """
    handler = _Once(stop)
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield handler.received
    finally:
        if not handler.received:
            for number, previous in before.items():
                signal.signal(number, previous)


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt on the first SIGINT inside the block; later ones do not interrupt its cleanup."""
    before = signal.signal(signal.SIGINT, _Once(_raise_interrupt))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _raise_interrupt() -> None:
    raise KeyboardInterrupt


class _Once:
    """A signal handler that acts on the first signal only."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act = act
        self._first = 0.0
        self.received: list[int] = []

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.received.append(number)
        if len(self.received) == 1:
            self._first = time.monotonic()
            self._act()
        elif time.monotonic() > self._first + PATIENCE_SECONDS:
            os._exit(INTERRUPTED)
