"""Periodic status lines on standard error while a command waits."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from nodebench.cli.terminal import print_plain

HEARTBEAT_SECONDS = 30.0  # maximum time between two lines


class Heartbeat:
    """Prints a status line on standard error when nothing else was printed for some time.

    Args:
        describe: returns the status line; called from the heartbeat's thread.
        every: seconds of silence before each line.
    """

    def __init__(self, describe: Callable[[], str], every: float) -> None:
        self._describe = describe
        self._every = every
        self._heard = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def reset(self) -> None:
        """Restart the wait, because something else was printed."""
        self._heard = time.monotonic()

    def stop(self) -> None:
        """Print nothing more."""
        self._ended.set()
        self._thread.join(timeout=1.0)  # it may hang on a full pipe

    def _beat(self) -> None:
        while True:
            left = self._heard + self._every - time.monotonic()
            if left > 0:
                if self._ended.wait(left):
                    return
            else:
                with suppress(OSError, ValueError):  # standard error is closed or full
                    print_plain(self._describe(), stderr=True)
                self.reset()


@contextmanager
def waiting(step: str, *, quiet: bool = False) -> Iterator[None]:
    """Print the current step on standard error every ``HEARTBEAT_SECONDS`` inside the block.

    Args:
        step: the current step, for example ``planning the trials``.
        quiet: whether to print nothing.
    """
    if quiet:
        yield
        return
    began = time.monotonic()
    heartbeat = Heartbeat(lambda: f"still {step} ({time.monotonic() - began:.0f} s)", HEARTBEAT_SECONDS)
    heartbeat.start()
    try:
        yield
    finally:
        heartbeat.stop()
