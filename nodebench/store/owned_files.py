"""Identify the files that nodebench wrote in a run folder, by name and content; no other file may be removed."""

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from nodebench.paths import is_regular, remove_file
from nodebench.spec import Study
from nodebench.store.checkpoints import FOLDER as CHECKPOINTS
from nodebench.store.checkpoints import checkpoint_files
from nodebench.store.run_folder import ARRAYS, ENVIRONMENT, LOCK, RECORDS, STUDY, whole_lines

_FILM = re.compile(r"[0-9a-f]{12}\.(?:npz|part)")
_MOST_BYTES = 10_000_000  # larger files are not read to identify them


def is_own(folder: Path) -> bool:
    """Return whether a folder is a run that nodebench made, and none of its files is a symbolic link."""
    parts = [folder, *(folder / name for name in (RECORDS, f"{RECORDS}.part", ARRAYS, CHECKPOINTS, LOCK))]
    if any(path.is_symlink() for path in parts):
        return False
    return _holds(folder / STUDY, _is_study) and _holds(folder / ENVIRONMENT, _is_object)


def snapshot_files(folder: Path) -> list[str]:
    """Return the names of the snapshot files in ``arrays/``, including partially written ones."""
    arrays = folder / ARRAYS
    if arrays.is_symlink() or not arrays.is_dir():
        return []
    return sorted(path.name for path in arrays.iterdir() if _FILM.fullmatch(path.name) and _is_film(path))


def all_files(folder: Path) -> list[tuple[str, ...]] | None:
    """Return all files of a run without records, as path parts; None if nodebench did not write one of them."""
    stored = {ARRAYS: snapshot_files(folder), CHECKPOINTS: list(checkpoint_files(folder))}
    for path in folder.iterdir():
        if path.name in stored and path.is_dir() and not path.is_symlink():
            if len(stored[path.name]) < sum(1 for _ in path.iterdir()):
                return None
        elif path.name not in _CONTENT or not _holds(path, _CONTENT[path.name]):
            return None
    present = [(name,) for name in _CONTENT if (folder / name).exists()]
    return [*present, *((below, name) for below, names in stored.items() for name in names)]


def remove_run(folder: Path, files: list[tuple[str, ...]]) -> None:
    """Remove the given files of a run, then its folders, which must be empty by then.

    Raises:
        BadInput: a file is a symbolic link.
        OSError: something cannot be removed.
    """
    for names in files:
        remove_file(folder, *names)
    for name in (ARRAYS, CHECKPOINTS):
        if (folder / name).is_dir():
            (folder / name).rmdir()
    folder.rmdir()


def remove_unfinished(folder: Path) -> None:
    """Remove the folder of a killed merge and the run in it; keep files that nodebench did not write.

    Raises:
        BadInput: a file is a symbolic link.
        OSError: something cannot be removed, or another file is there.
    """
    for run in folder.iterdir():
        if not is_own(run):
            continue
        files = [(name,) for name in (RECORDS, f"{RECORDS}.part", LOCK, ENVIRONMENT, STUDY)]
        remove_run(run, [*files, *((ARRAYS, name) for name in snapshot_files(run))])
    folder.rmdir()


def _holds(path: Path, check: Callable[[bytes], bool]) -> bool:
    """Whether a path is a regular file whose content passes a check."""
    try:
        return is_regular(path) and path.stat().st_size <= _MOST_BYTES and check(path.read_bytes())
    except OSError:
        return False


def _is_study(content: bytes) -> bool:
    try:
        Study.model_validate(tomllib.loads(content.decode()))
    except (ValueError, RecursionError):
        return False
    return True


def _is_object(content: bytes) -> bool:
    try:
        return isinstance(json.loads(content), dict)
    except (ValueError, RecursionError):
        return False


def _is_lock(content: bytes) -> bool:
    return not content or content.startswith(b"process ")


def _has_no_record(content: bytes) -> bool:
    return not whole_lines(content)


def _is_film(path: Path) -> bool:
    if not is_regular(path):
        return False
    try:
        if path.suffix == ".part":
            with path.open("rb") as file:
                return file.read(4) in (b"", b"PK\x03\x04")
        with ZipFile(path) as archive:
            return "epochs.npy" in archive.namelist()
    except (OSError, ValueError, BadZipFile):
        return False


_CONTENT: dict[str, Callable[[bytes], bool]] = {
    STUDY: _is_study,
    ENVIRONMENT: _is_object,
    LOCK: _is_lock,
    RECORDS: _has_no_record,
}
