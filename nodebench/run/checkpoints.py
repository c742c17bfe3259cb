"""The files of checkpoints: ``checkpoints/ID.checkpoint`` in a run directory, one for each unfinished long trial.

A file begins with a line of text: format, trial and the SHA-256 of the rest. The trial's process writes the file, to a
temporary name first, so that it is there whole or not at all. The parent removes it once the trial has a record.
"""

import os
import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from nodebench.errors import BadInput, CannotGoOn
from nodebench.paths import for_writing, inside, is_regular, make_folder, open_file, remove_file
from nodebench.spec.bounded import read_file, reason

FOLDER = "checkpoints"
_SUFFIX, _PART = ".checkpoint", ".part"
_NAME = re.compile(r"([0-9a-f]{12})(\.checkpoint|\.part)")
_FORMAT = b"nodebench checkpoint 1 "
_ENVIRONMENT = "environment.json"  # it has the time of the run's creation, and so no two runs have the same
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
        """Whether this machine sees the run's folder, as on a shared file system."""
        return self.run != "" and _digest_of(self.folder) == self.run

    def read(self, trial: str) -> bytes | None:
        """Return the content of a trial's checkpoint; None if it has none.

        Raises:
            BadInput: the file is damaged, is of another trial, or cannot be read.
        """
        path = inside(self.folder, FOLDER, f"{trial}{_SUFFIX}")
        if not path.exists():
            return None
        head, _, content = read_file(path, MOST_BYTES).partition(b"\n")
        if not head.startswith(_FORMAT):
            raise BadInput(f"{path}: no checkpoint of this version of nodebench")
        if head != _head(trial, content):
            raise BadInput(f"{path}: damaged, or of another trial")
        return content

    def write(self, trial: str, content: bytes) -> None:
        """Store the content of a trial's checkpoint in place of the one before.

        Raises:
            BadInput: a symbolic link is in the place of the file or its folder.
            OSError: it cannot be written; the one before is still there.
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
        """Remove a trial's checkpoint, so that the trial begins anew.

        Raises:
            CannotGoOn: it cannot be removed.
        """
        try:
            remove_checkpoint(self.folder, trial)
        except (BadInput, OSError) as error:
            raise CannotGoOn(f"{self.folder}: cannot remove a checkpoint: {reason(error)}") from error


def remove_checkpoint(run: Path, trial: str) -> None:
    """Remove the checkpoint of a trial, and what is left of one whose writing was cut off; neither needs to be there.

    Raises:
        BadInput: a symbolic link is in the place of a file or its folder.
        OSError: a file cannot be removed.
    """
    for suffix in (_SUFFIX, _PART):
        remove_file(run, FOLDER, f"{trial}{suffix}")


def checkpoint_files(run: Path) -> dict[str, str | None]:
    """The files in ``checkpoints/`` that nodebench wrote, by name: each with its trial, None if it was cut off."""
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
    """Whether a file begins as a checkpoint does; one that was cut off may end before that."""
    if not is_regular(path):
        return False
    try:
        with path.open("rb") as file:
            start = file.read(len(_FORMAT))
    except OSError:
        return False
    return start == _FORMAT or (path.suffix == _PART and _FORMAT.startswith(start))


def _digest_of(folder: Path) -> str:
    try:
        return sha256(read_file(folder / _ENVIRONMENT, 1 << 20)).hexdigest()
    except BadInput:
        return ""
