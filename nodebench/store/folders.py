"""Looking for files in folders that may hold anything: nothing here fails on a name or hangs on what it finds."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from nodebench.errors import BadInput
from nodebench.spec.bounded import reason

DEEPEST = 8  # levels below a folder in which runs are looked for
MOST = 50_000  # folders that are looked into


def is_there(path: Path) -> bool:
    """Whether anything has this path; one that no file can have is not there."""
    return _status(path) is not None


def is_file(path: Path) -> bool:
    """Whether a regular file has this path."""
    found = _status(path)
    return found is not None and stat.S_ISREG(found.st_mode)


def has_content(path: Path) -> bool:
    """Whether anything but an empty file has this path."""
    found = _status(path)
    return found is not None and not (stat.S_ISREG(found.st_mode) and found.st_size == 0)


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder in the order of their names, without hidden ones; none where there is no such folder.

    Raises:
        BadInput: the folder cannot be listed.
    """
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, ValueError) as error:
        raise BadInput(f"{folder}: {reason(error)}") from error
    return [folder / name for name in names if _is_folder(folder / name)]


def folders_below(folder: Path) -> list[Path]:
    """A folder and those below it in the order of their paths, without hidden ones and those that cannot be listed.

    A symbolic link to a folder counts as one, and nothing below it is looked at.

    Raises:
        BadInput: there are too many for a folder of results.
    """
    found, level = [folder], [folder]
    for _ in range(DEEPEST):
        below = []
        for one in level:
            if one.is_symlink() and one != folder:
                continue
            try:
                below += folders_in(one)
            except BadInput:
                continue
            if len(found) + len(below) > MOST:
                raise BadInput(f"more than {MOST:,} folders in {folder}; give --results the folder that holds runs")
        if not below:
            break
        found += below
        level = below
    return sorted(found)


def each_once(folders: Iterable[Path]) -> list[Path]:
    """Folders in the order of their paths; one that is reached by a link too counts once, by its own path."""
    found: dict[Path, Path] = {}
    for folder in sorted(folders, key=lambda folder: (folder.is_symlink(), folder)):
        found.setdefault(folder.resolve(), folder)
    return sorted(found.values())


def _is_folder(path: Path) -> bool:
    found = _status(path)
    return found is not None and stat.S_ISDIR(found.st_mode)


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except (OSError, ValueError):
        return None
