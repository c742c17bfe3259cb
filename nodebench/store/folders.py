"""Find files in arbitrary folders, without failing on invalid names or blocking on special files."""

import os
from collections.abc import Iterable
from pathlib import Path

from nodebench.errors import BadInput
from nodebench.spec.bounded import reason

DEEPEST = 8  # levels below a folder in which runs are looked for
MOST = 50_000  # folders that are looked into


def has_content(path: Path) -> bool:
    """Return whether a path exists and is not an empty file."""
    return os.path.exists(path) and not (os.path.isfile(path) and path.stat().st_size == 0)


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
    return [folder / name for name in names if os.path.isdir(folder / name)]


def folders_below(folder: Path) -> list[Path]:
    """Return a folder and all folders below it, sorted by path, without hidden ones.

    Symbolic links to folders are included but not followed. Folders that cannot be listed are not searched.

    Raises:
        BadInput: there are more than ``MOST`` folders.
    """
    found = [folder]
    if not os.path.isdir(folder):  # also if its name is invalid, on which os.walk would fail
        return found
    for path, names, _ in os.walk(folder):
        one = Path(path)
        names[:] = [name for name in names if not name.startswith(".")]
        found += [one / name for name in names]
        if len(found) > MOST:
            raise BadInput(f"more than {MOST:,} folders in {folder}; set --results to the folder with the runs")
        if len(one.relative_to(folder).parts) == DEEPEST - 1:
            names.clear()
    return sorted(found)


def each_once(folders: Iterable[Path]) -> list[Path]:
    """Sort folders by path and remove duplicates; a real path is preferred to a symbolic link to it."""
    found: dict[Path, Path] = {}
    for folder in sorted(folders, key=lambda folder: (folder.is_symlink(), folder)):
        found.setdefault(folder.resolve(), folder)
    return sorted(found.values())
