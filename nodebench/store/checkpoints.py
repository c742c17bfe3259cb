"""Checkpoint files: ``checkpoints/ID.checkpoint`` in a run directory, one for each unfinished long trial.

A file begins with a line of text: format, trial and the SHA-256 of the rest. The trial's process writes a temporary
file and then renames it, so that a checkpoint is never incomplete. The parent process removes the checkpoint once the
trial has a record.
"""

import os
import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from nodebench.errors import BadInput, RunAborted
from nodebench.paths import for_writing, inside, is_regular, make_folder, open_file, remove_file
from nodebench.spec.bounded import read_file, reason

FOLDER = "checkpoints"
_SUFFIX, _PART = ".checkpoint", ".part"
_NAME = re.compile(r"([0-9a-f]{12})(\.checkpoint|\.part)")
_KIND = b"nodebench checkpoint "
_FORMAT = _KIND + b"2 "
_ENVIRONMENT = "environment.json"  # contains the creation time, so its hash identifies the run
MOST_BYTES = 16 << 30


@dataclass(frozen=True)
class Checkpoints:
    """Where the trials of one run store their checkpoints, and how often.

    Attributes:
        folder: of the run, absolute.
        every: seconds between two checkpoints of a trial; 0 for none.
        run: hash of the run's ``environment.json``.
    """

    folder: Path
    every: float
    run: str

    @classmethod
    def of(cls, folder: Path, every: float) -> "Checkpoints":
        """The checkpoints of the run in a folder."""
        return cls(folder.absolute(), every, _digest_of(folder))

    def are_shared(self) -> bool:
        """Return whether this machine can read the run's folder, for example on a shared file system."""
        return self.run != "" and _digest_of(self.folder) == self.run

    def read(self, trial: str) -> bytes | None:
        """Return the content of a trial's checkpoint; None if it has none.

        Raises:
            BadInput: the file is damaged, belongs to another trial, or cannot be read.
        """
        path = inside(self.folder, FOLDER, f"{trial}{_SUFFIX}")
        if not path.exists():
            return None
        head, _, content = read_file(path, MOST_BYTES).partition(b"\n")
        if not head.startswith(_FORMAT):
            raise BadInput(f"{path}: not a checkpoint of this version of nodebench")
        if head != _head(trial, content):
            raise BadInput(f"{path}: damaged, or belongs to another trial")
        return content

    def write(self, trial: str, content: bytes) -> None:
        """Write a trial's checkpoint, replacing the previous one.

        Raises:
            BadInput: the file or its folder is a symbolic link.
            OSError: the checkpoint cannot be written; the previous one is kept.
        """
        make_folder(self.folder, FOLDER)
        part = f"{trial}{_PART}"
        with open_file(self.folder, FOLDER, part, mode="wb") as file:
            file.write(_head(trial, content) + b"\n")
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(inside(self.folder, FOLDER, part), for_writing(self.folder, FOLDER, f"{trial}{_SUFFIX}"))

    def remove(self, trial: str) -> None:
        """Remove a trial's checkpoint, so that the trial starts from the beginning.

        Raises:
            RunAborted: the checkpoint cannot be removed.
        """
        try:
            remove_checkpoint(self.folder, trial)
        except (BadInput, OSError) as error:
            raise RunAborted(f"{self.folder}: cannot remove a checkpoint: {reason(error)}") from error


def remove_checkpoint(run: Path, trial: str) -> None:
    """Remove the checkpoint of a trial and any partially written one; a missing file is no error.

    Raises:
        BadInput: a file or its folder is a symbolic link.
        OSError: a file cannot be removed.
    """
    for suffix in (_SUFFIX, _PART):
        remove_file(run, FOLDER, f"{trial}{suffix}")


def checkpoint_files(run: Path) -> dict[str, str | None]:
    """Map the name of each checkpoint file that nodebench wrote to its trial; None for a partially written file."""
    folder = run / FOLDER
    if folder.is_symlink() or not folder.is_dir():
        return {}
    found: dict[str, str | None] = {}
    for path in sorted(folder.iterdir()):
        if (name := _NAME.fullmatch(path.name)) and _is_own(path):
            found[path.name] = name[1] if name[2] == _SUFFIX else None
    return found


def _head(trial: str, content: bytes) -> bytes:
    return _FORMAT + f"{trial} {sha256(content).hexdigest()}".encode()


def _is_own(path: Path) -> bool:
    """Return whether a file starts like a checkpoint; a partially written one may end within the header."""
    if not is_regular(path):
        return False
    try:
        with path.open("rb") as file:
            start = file.read(len(_KIND))
    except OSError:
        return False
    return start == _KIND or (path.suffix == _PART and _KIND.startswith(start))


def _digest_of(folder: Path) -> str:
    try:
        return sha256(read_file(folder / _ENVIRONMENT, 1 << 20)).hexdigest()
    except BadInput:
        return ""
