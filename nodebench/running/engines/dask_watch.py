"""Monitor the scheduler, the workers and a pending stop request while the parent of a Dask run waits."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import distributed

from nodebench.errors import RunAborted
from nodebench.running.engines.contract import Notice

# Interval between queries of the scheduler, and time limit of an answer.
ASK_SECONDS, ANSWER_SECONDS = 1.0, 5.0
# After a request to stop, running trials may take this long to end; then they are left without a record.
STOP_SECONDS = 15.0
_LIBRARIES = ("distributed", "tornado", "asyncio")


class Watch:
    """Detects lost workers and a lost scheduler, and forwards a stop request to the workers.

    Args:
        client: client of the scheduler.
        where: ``local``, ``slurm`` or the address of the scheduler, for messages.
        patience: seconds that the run waits without any worker; None for no limit.
        notice: called with a message when the last worker is lost and when a worker is available again.
        stop_trials: asks the workers to stop their trials; called repeatedly, in a separate thread.
    """

    def __init__(
        self,
        client: distributed.Client,
        where: str,
        patience: float | None,
        notice: Notice,
        stop_trials: Callable[[], None],
    ) -> None:
        self._client, self._where, self._patience = client, where, patience
        self._notice, self._stop_trials = notice, stop_trials
        self._next = 0.0
        self._alone_since: float | None = None
        self._stopping_since: float | None = None
        self._stopper: threading.Thread | None = None

    def check(self) -> None:
        """Check the scheduler and its workers, at most once per ``ASK_SECONDS``.

        Raises:
            RunAborted: the scheduler is lost, or there has been no worker for too long.
        """
        if self._client.status not in ("running", "connecting"):
            raise RunAborted(f"the Dask scheduler at {self._where} is gone")
        if time.monotonic() < self._next:
            return
        self._note_workers(self._has_worker())
        self._next = time.monotonic() + ASK_SECONDS
        since, patience = self._alone_since, self._patience
        if since is not None and patience is not None and time.monotonic() > since + patience:
            raise RunAborted(f"the Dask scheduler at {self._where} has had no worker for {patience:.0f} s")

    def stopped(self) -> bool:
        """Ask the workers to stop their trials; return whether no more records are expected."""
        now = time.monotonic()
        if self._stopping_since is None:
            self._stopping_since = now
        if self._stopper is None or not self._stopper.is_alive():  # again and again: workers come and go
            self._stopper = threading.Thread(target=self._ask_to_stop, daemon=True)
            self._stopper.start()
        return self._alone_since is not None or now > self._stopping_since + STOP_SECONDS

    def _ask_to_stop(self) -> None:
        with suppress(Exception):  # a worker or the scheduler is lost at this moment
            self._stop_trials()
        time.sleep(ASK_SECONDS)

    def _has_worker(self) -> bool:
        try:
            found = self._client.sync(self._client.scheduler.identity, callback_timeout=ANSWER_SECONDS)
        except (OSError, TimeoutError):  # the scheduler is busy, or its status will soon show that it is lost
            return True
        return bool(found["workers"])

    def _note_workers(self, present: bool) -> None:
        if present and self._alone_since is not None:
            self._alone_since = None
            self._notice("a Dask worker is available again")
        elif not present and self._alone_since is None:
            self._alone_since = time.monotonic()
            limit = f" for {self._patience:.0f} s" if self._patience is not None else ""
            self._notice(f"no Dask worker is left at {self._where}; waiting for one{limit} (Ctrl-C stops the run)")


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Suppress Dask's log messages about lost connections; the engine reports these in one line."""
    names = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] in _LIBRARIES]
    before = {name: logging.getLogger(name).level for name in {*names, *_LIBRARIES}}
    for name in before:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
