"""Create the folder for temporary files of this process, and remove the folders of killed processes.

Each folder is locked by the process that owns it. The system releases the lock when this process ends, also if it is
killed, so a folder that can be locked has no owner.
"""

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import util
from pathlib import Path

from nodebench.errors import RunAborted

_NAME = re.compile(r"nodebench-\w{8}")
_MARK = "owner"  # marker file in each of these folders, and its first line
_FIRST_LINE = b"nodebench\n"
# The address of a socket is a path of at most 103 bytes (macOS; 107 on Linux).
_SOCKET_BYTES = 103
_BELOW = len("/nodebench-12345678/pymp-12345678/listener-12345678")
_SHORT_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")
# Exit priority: later than the removal of multiprocessing's own folder, which is inside this one.
_LAST = -200


def make_scratch_folder() -> Path:
    """Create a folder, locked until this process ends, whose path allows sockets; remove folders without an owner.

    Raises:
        RunAborted: no folder can be created.
    """
    folder, descriptor = _make()
    util.Finalize(None, _remove, args=(folder, descriptor), exitpriority=_LAST)
    return folder


def _make() -> tuple[Path, int]:
    """Make a folder; return it with the descriptor that holds its lock."""
    base = _base()
    remove_stale(base)
    try:
        while True:
            folder = Path(tempfile.mkdtemp(prefix="nodebench-", dir=base))
            with suppress(FileNotFoundError, BlockingIOError):  # another process has just removed it as stale
                descriptor = _lock(folder)
                (folder / _MARK).write_bytes(_FIRST_LINE + f"process {os.getpid()}\n".encode())
                break
    except OSError as error:
        raise RunAborted(f"no temporary folder can be made in {base}: {error.strerror or error}") from error
    return folder, descriptor


def remove_stale(base: Path) -> None:
    """Remove the folders of processes that have ended without removing them.

    Only folders that ``make_scratch_folder`` has made for this user; no link is followed.
    """
    for folder in _candidates(base):
        with suppress(OSError):
            descriptor = _lock(folder)
            try:
                if _is_marked(folder):
                    shutil.rmtree(folder)
            finally:
                os.close(descriptor)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Create a folder for the files of a trial, removed at the end; after a kill, the next command removes it.

    Raises:
        RunAborted: no folder can be created.
    """
    folder, descriptor = _make()
    try:
        yield folder
    finally:
        _remove(folder, descriptor)


@contextmanager
def temporary_files_in(folder: Path) -> Iterator[None]:
    """Have ``tempfile``, and with it ``multiprocessing``, make its files in a folder."""
    before = tempfile.tempdir
    tempfile.tempdir = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before


def _base() -> Path:
    """Return the folder for temporary files, or one with a shorter path if socket paths would be too long."""
    usual = tempfile.gettempdir()
    for folder in (usual, *_SHORT_FOLDERS):
        if len(os.fsencode(folder)) + _BELOW <= _SOCKET_BYTES and os.access(folder, os.W_OK | os.X_OK):
            return Path(folder)
    raise RunAborted(
        f"the path of the temporary folder {usual} is too long for a socket: set TMPDIR to a writable folder "
        f"with a path of at most {_SOCKET_BYTES - _BELOW} characters"
    )


def _candidates(base: Path) -> list[Path]:
    try:
        with os.scandir(base) as entries:
            return [
                Path(entry.path)
                for entry in entries
                if _NAME.fullmatch(entry.name)
                and entry.is_dir(follow_symlinks=False)
                and entry.stat(follow_symlinks=False).st_uid == os.getuid()
            ]
    except OSError:
        return []


def _is_marked(folder: Path) -> bool:
    descriptor = os.open(folder / _MARK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        return os.read(descriptor, len(_FIRST_LINE)) == _FIRST_LINE
    finally:
        os.close(descriptor)


def _lock(folder: Path) -> int:
    """Lock a folder, and return the descriptor that holds the lock.

    Raises:
        BlockingIOError: another process holds it.
        OSError: the folder no longer exists, or its file system does not support locks.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_ino != os.stat(folder).st_ino:
            raise FileNotFoundError(folder)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _remove(folder: Path, descriptor: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    os.close(descriptor)
