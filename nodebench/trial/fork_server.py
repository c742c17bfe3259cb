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
from itertools import takewhile
from multiprocessing import forkserver, resource_tracker
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType

from nodebench.errors import CannotGoOn
from nodebench.trial.descriptors import reserve_standard_descriptors
from nodebench.trial.scratch import make_scratch_folder, temporary_files_in

# Held where a process is started and where one is asked how it ended: starting looks at all the others, and
# an exit code can be read once only.
PROCESSES = threading.Lock()
# How often a trial is started at most: once more if the server ended meanwhile.
ATTEMPTS = 2
END_SECONDS = 5.0
# The value of PYTHONSAFEPATH by which the server knows that it was not the user who set it.
SAFE_PATH = "nodebench"
_PRELOADED = ["nodebench.trial.server_setup", "nodebench.trial.preload"]

_starting = threading.Lock()
_scratch: list[Path] = []  # the folder of the server's socket, once it is made


def start_fork_server() -> None:
    """Start the server, without waiting for it; where it runs already, nothing happens.

    The server and the trials ignore SIGINT and SIGTERM: a terminal and a batch system send them to every process at
    once, and the parent ends the trials, each with its record.

    Raises:
        CannotGoOn: the system refuses to start it.
    """
    multiprocessing.get_context("forkserver").set_forkserver_preload(_PRELOADED)
    reserve_standard_descriptors()
    try:
        with _starting:
            if not _scratch:
                _scratch.append(make_scratch_folder())
            resource_tracker.ensure_running()  # which would clear the mask
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})  # inherited, for life
            try:
                with temporary_files_in(_scratch[0]), _import_path_as_here():
                    forkserver.ensure_running()
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    except OSError as error:
        raise CannotGoOn(f"no trial can be started: {error.strerror or error}") from error


def fork_server_pid() -> int | None:
    """The server's process id; ``None`` if it was not started."""
    pid: int | None = getattr(forkserver._forkserver, "_forkserver_pid", None)  # no public name tells it
    return pid


def wait_for_fork_server() -> None:
    """Wait until the server is warm, so that the first trial is not charged for its start; start it if nobody has."""
    process = multiprocessing.get_context("forkserver").Process(target=os.getpid)
    fork(process)
    process.join()


def fork(process: BaseProcess) -> None:
    """Have the server start a process; if the server ends meanwhile, start both once more.

    Raises:
        CannotGoOn: the process cannot be started.
    """
    for attempt in range(1, ATTEMPTS + 1):
        start_fork_server()  # if it does not run, or was killed
        try:
            with PROCESSES, _hidden_main():
                process.start()
            return
        except (EOFError, ConnectionError) as error:
            if attempt == ATTEMPTS:
                reason = "the fork server ended while it started a trial; it may lack memory or processes"
                raise CannotGoOn(f"no trial can be started: {reason}") from error
            _wait_for_the_servers_end()
        except OSError as error:
            raise CannotGoOn(f"no trial can be started: {error.strerror or error}") from error


def _wait_for_the_servers_end() -> None:
    """Wait until a server that closes its connections has ended: until then no new one is started."""
    from nodebench.trial.processes import ends_within, find  # psutil is needed in this case only

    ends_within(find(fork_server_pid()), END_SECONDS)


@contextmanager
def _import_path_as_here() -> Iterator[None]:
    """Have a new interpreter import from the same folders as this process.

    Python up to 3.12 gives the fork server the path of ``python -c``: it begins with the working folder, so that a
    folder named nodebench there would be imported in place of this package.
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
