"""The server that forks every trial, warm: it has imported torch by then, so that no trial has to.

Nothing here imports torch itself: a command starts the server first, and both import it at the same time.
"""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker
from multiprocessing.process import BaseProcess
from types import ModuleType

# Held where a process is started and where one is asked how it ended: starting looks at all the others, and
# an exit code can be read once only.
PROCESSES = threading.Lock()


def start_fork_server() -> None:
    """Start the server, without waiting for it; where it runs already, nothing happens.

    It is deaf to Ctrl-C and to polite requests to end, and so are the trials: a terminal and a batch system send
    them to all at once, and it is the parent that ends the trials, each with its record.
    """
    multiprocessing.get_context("forkserver").set_forkserver_preload(["nodebench.run.preload"])
    resource_tracker.ensure_running()  # which would clear the mask
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})  # inherited, for life
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def wait_for_fork_server() -> None:
    """Wait until the server is warm, so that the first trial is not charged for its start; start it if nobody has."""
    process = multiprocessing.get_context("forkserver").Process(target=os.getpid)
    fork(process)
    process.join()


def fork(process: BaseProcess) -> None:
    """Have the server start a process.

    Raises:
        OSError: it cannot, or has itself been killed at this moment.
    """
    start_fork_server()  # if nobody has, or it was killed
    try:
        with PROCESSES, _hidden_main():
            process.start()
    except EOFError as error:
        raise ConnectionError("the server that starts the trials has been killed") from error


@contextmanager
def _hidden_main() -> Iterator[None]:
    """Start a child that does not import the program that started it.

    multiprocessing would run the parent's ``__main__`` again in each child. A trial needs nothing of it, so
    that would only cost time, and fork bombs in scripts without the ``if __name__ == "__main__"`` guard.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
