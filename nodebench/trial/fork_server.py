"""The fork server, which starts every trial. It imports torch in advance, so that no trial has to.

This module does not import torch: a command starts the server first, and both import torch at the same time.
"""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from multiprocessing import forkserver, resource_tracker
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType

from nodebench.errors import RunAborted
from nodebench.trial.descriptors import reserve_standard_descriptors
from nodebench.trial.scratch import make_scratch_folder, temporary_files_in

# Lock for starting a process and for reading an exit code: starting a process polls all others, and an exit code can
# be read only once.
PROCESSES = threading.Lock()
# Maximum number of attempts to start a trial: one retry if the server ended meanwhile.
ATTEMPTS = 2
END_SECONDS = 5.0
# Value of PYTHONSAFEPATH that shows the server that nodebench, not the user, set this variable.
SAFE_PATH = "nodebench"
_PRELOADED = ["nodebench.trial.server_setup", "nodebench.trial.preload"]

_starting = threading.Lock()
_scratch: list[Path] = []  # the folder of the server's socket, once it is made


def start_fork_server() -> None:
    """Start the server without waiting for it; do nothing if it already runs.

    The server and the trials ignore SIGINT and SIGTERM. Terminals and batch systems send these signals to all
    processes at once; the parent stops the trials and writes their records.

    Raises:
        RunAborted: the server cannot be started.
    """
    multiprocessing.get_context("forkserver").set_forkserver_preload(_PRELOADED)
    reserve_standard_descriptors()
    try:
        with _starting:
            if not _scratch:
                _scratch.append(make_scratch_folder())
            resource_tracker.ensure_running()  # a later start would clear the signal mask
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})  # inherited
            try:
                with temporary_files_in(_scratch[0]), _import_path_as_here():
                    forkserver.ensure_running()
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    except OSError as error:
        raise RunAborted(f"no trial can be started: {error.strerror or error}") from error


def fork_server_pid() -> int | None:
    """The server's process id; ``None`` if it was not started."""
    pid: int | None = getattr(forkserver._forkserver, "_forkserver_pid", None)  # there is no public API
    return pid


def wait_for_fork_server() -> None:
    """Wait until the server is ready, so that the first trial does not include its start; start it if needed."""
    process = multiprocessing.get_context("forkserver").Process(target=os.getpid)
    fork(process)
    process.join()


def fork(process: BaseProcess) -> None:
    """Have the server start a process; if the server ends meanwhile, start both once more.

    Raises:
        RunAborted: the process cannot be started.
    """
    for attempt in range(1, ATTEMPTS + 1):
        start_fork_server()  # if it does not run, or was killed
        try:
            with PROCESSES, _hidden_main():
                process.start()
            return
        except (EOFError, ConnectionError) as error:
            if attempt == ATTEMPTS:
                reason = "the fork server ended while it started a trial, possibly at a limit of memory or processes"
                raise RunAborted(f"no trial can be started: {reason}") from error
            _wait_for_the_servers_end()
        except OSError as error:
            raise RunAborted(f"no trial can be started: {error.strerror or error}") from error


def _wait_for_the_servers_end() -> None:
    """Wait until a server that is closing its connections has ended; a new one can start only after that."""
    from nodebench.trial.processes import ends_within, find  # psutil is needed in this case only

    ends_within(find(fork_server_pid()), END_SECONDS)


@contextmanager
def _import_path_as_here() -> Iterator[None]:
    """Give new interpreters the import path of this process.

    Up to Python 3.12, the fork server has the import path of ``python -c``, which begins with the working folder. A
    folder named nodebench there would be imported instead of this package.
    """
    library = Path(os.__file__).parent
    archive = library.parent / f"python{sys.version_info.major}{sys.version_info.minor}.zip"
    before_library = takewhile(lambda entry: entry not in {str(library), str(archive)}, sys.path)
    before = {name: os.environ.get(name) for name in ("PYTHONPATH", "PYTHONSAFEPATH")}
    os.environ["PYTHONPATH"] = os.pathsep.join(entry or os.getcwd() for entry in before_library)
    os.environ.setdefault("PYTHONSAFEPATH", SAFE_PATH)  # leaves the working folder out
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextmanager
def _hidden_main() -> Iterator[None]:
    """Hide ``__main__``, so that a child process does not import the program that started it.

    Otherwise multiprocessing runs the parent's ``__main__`` again in each child. A trial does not need ``__main__``.
    Running it costs time, and scripts without the ``if __name__ == "__main__"`` guard would start endless processes.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
