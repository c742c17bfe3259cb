"""Find files in arbitrary folders, without failing on invalid names or blocking on special files."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from nodebench.errors import BadInput
from nodebench.spec.bounded import reason

DEEPEST = 8  # levels below a folder in which runs are looked for
MOST = 50_000  # folders that are looked into


def is_there(path: Path) -> bool:
    """Return whether a path exists; False if the path is invalid."""
    return _status(path) is not None


def is_file(path: Path) -> bool:
    """Return whether a path is a regular file or a link to one."""
    found = _status(path)
    return found is not None and stat.S_ISREG(found.st_mode)


def has_content(path: Path) -> bool:
    """Return whether a path exists and is not an empty file."""
    found = _status(path)
    return found is not None and not (stat.S_ISREG(found.st_mode) and found.st_size == 0)


def folders_in(folder: Path) -> list[Path]:
    """Return the subfolders of a folder, sorted by name, without hidden ones; empty if the folder does not exist.

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
    """Return a folder and all folders below it, sorted by path, without hidden ones.

    Symbolic links to folders are included but not followed. Folders that cannot be listed are not searched.

    Raises:
        BadInput: there are more than ``MOST`` folders.
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
                raise BadInput(f"more than {MOST:,} folders in {folder}; set --results to the folder with the runs")
        if not below:
            break
        found += below
        level = below
    return sorted(found)


def each_once(folders: Iterable[Path]) -> list[Path]:
    """Sort folders by path and remove duplicates; a real path is preferred to a symbolic link to it."""
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
