"""A line on standard error from time to time, so that a command that waits is not silent."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from nodebench.cli.terminal import print_plain

HEARTBEAT_SECONDS = 30.0  # at most this long without a line
FIRST_SECONDS = 5.0  # after this long a step of a command is named


class Heartbeat:
    """Prints what ``describe`` returns on standard error when nothing else was printed for some time.

    Args:
        describe: one line, called from the heartbeat's thread.
        first: seconds of silence before the first line.
        every: seconds of silence before each further line.
    """

    def __init__(self, describe: Callable[[], str], first: float, every: float) -> None:
        self._describe = describe
        self._first, self._every = first, every
        self._heard = time.monotonic()
        self._beats = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def reset(self) -> None:
        """Something else was printed."""
        self._heard, self._beats = time.monotonic(), self._beats + 1

    def stop(self) -> None:
        """Print nothing more."""
        self._ended.set()
        self._thread.join(timeout=1.0)  # it may hang on a full pipe

    def _beat(self) -> None:
        while True:
            silence = self._every if self._beats else self._first
            left = self._heard + silence - time.monotonic()
            if left > 0:
                if self._ended.wait(left):
                    return
            else:
                with suppress(OSError, ValueError):  # standard error is closed or full
                    print_plain(self._describe(), stderr=True)
                self.reset()


@contextmanager
def waiting(step: str, *, quiet: bool = False) -> Iterator[None]:
    """Name a step of a command on standard error if it takes longer than some seconds, and again every 30 s.

    Args:
        step: what is being done: ``planning the trials``.
        quiet: whether to print nothing.
    """
    if quiet:
        yield
        return
    began = time.monotonic()
    heartbeat = Heartbeat(lambda: f"still {step} ({time.monotonic() - began:.0f} s)", FIRST_SECONDS, HEARTBEAT_SECONDS)
    heartbeat.start()
    try:
        yield
    finally:
        heartbeat.stop()
