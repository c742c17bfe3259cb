"""The store: one directory a run, one line a record, each on disk before the next trial starts."""

import fcntl
import json
import os
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from nodebench.errors import BadInput, CannotGoOn
from nodebench.paths import file_name, for_writing, inside, open_file, write_file
from nodebench.run.film import load_film, save_film
from nodebench.spec import Record, Study
from nodebench.spec.trajectories import Film

STUDY, ENVIRONMENT, RECORDS, ARRAYS = "study.toml", "environment.json", "records.jsonl", "arrays"
LOCK = "lock"
REPRODUCED = "reproduced"  # the name of a study of trials run again from their records


class Run:
    """A run directory: ``study.toml``, ``environment.json``, ``records.jsonl``, and ``arrays/`` for figures."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def create(cls, results: Path, study: Study, environment: dict[str, Any]) -> "Run":
        """Make a new run directory named after the time and the study, or the task where there is none.

        Raises:
            BadInput: ``results`` cannot be written.
        """
        stamp = datetime.now().astimezone().strftime("%Y-%m-%dT%H-%M-%S")
        task = next(iter(study.groups.values())).task
        name = file_name(f"{stamp}-{study.name or task}")
        try:
            folder = _first_free(inside(results, name))
            content = tomli_w.dumps(study.model_dump(mode="json", exclude_none=True))
            write_file(folder, ENVIRONMENT, content=(json.dumps(environment, indent=2) + "\n").encode())
            write_file(folder, STUDY, content=content.encode())
        except OSError as error:
            raise BadInput(f"--results {results}: cannot write there: {error.strerror or error}") from error
        return cls(folder)

    @classmethod
    def open(cls, results: Path, name: str | None) -> "Run":
        """Open a run by its name or path; the latest one by default.

        Raises:
            BadInput: there is none.
        """
        if name is None:
            runs = list_runs(results)
            if not runs:
                raise BadInput(f"no run in {results} yet; make one with 'nodebench run', or give --results DIR")
            return runs[-1]
        for folder in (Path(name), results / name):
            if (folder / RECORDS).is_file() or (folder / STUDY).is_file():
                return cls(folder)
        known = ", ".join(run.folder.name for run in list_runs(results)[-5:]) or "none"
        raise BadInput(f"no run named '{name}' in {results}. The latest there: {known}")

    def study(self) -> Study:
        """What this run was made from."""
        try:
            return Study.model_validate(tomllib.loads((self.folder / STUDY).read_text()))
        except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
            raise BadInput(f"{self.folder / STUDY} cannot be read: {str(error).splitlines()[0]}") from error

    def study_name(self) -> str:
        """The name of its study; empty for a grid typed on the command line, or where it cannot be read."""
        try:
            return str(tomllib.loads((self.folder / STUDY).read_text()).get("name", ""))
        except (OSError, tomllib.TOMLDecodeError):
            return ""

    def environment(self) -> dict[str, Any]:
        """The machine and the software that it was made with; empty where that is not known."""
        try:
            found: dict[str, Any] = json.loads((self.folder / ENVIRONMENT).read_text())
        except (OSError, json.JSONDecodeError):
            return {}
        return found

    def append(self, record: Record, film: Film | None = None) -> None:
        """Write a record and wait until it is on disk; a torn line before it is cut off first.

        The pictures of its training are written before it, so that a record that is there has its pictures.

        Raises:
            CannotGoOn: it cannot be written; what was written before is whole.
        """
        try:
            if film:
                save_film(for_writing(self.folder, ARRAYS, f"{record.id}.npz"), film)
            with open_file(self.folder, RECORDS, mode="ab+") as file:
                end = file.seek(0, os.SEEK_END)
                if end and not _ends_with_newline(file):
                    file.truncate(_end_of_last_line(file))
                file.write(record.line().encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise CannotGoOn(f"{self.folder}: cannot write there: {error.strerror or error}") from error

    def rewrite(self, lines: Sequence[bytes]) -> None:
        """Replace the lines of the records."""
        replace_file(self.folder / RECORDS, lines)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Be the one writer of this run; the lock is the system's, and dies with this process.

        Raises:
            BadInput: another process writes it, the folder cannot be written, or it or a file of the run is a
            symbolic link.
        """
        self.refuse_link()
        for name in (RECORDS, ARRAYS):
            for_writing(self.folder, name)
        try:
            file = open_file(self.folder, LOCK, mode="a+", errors="replace")
        except OSError as error:
            raise BadInput(f"{self.folder}: cannot write there: {error.strerror or error}") from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.seek(0)
                raise BadInput(
                    f"run {self.folder.name} is being written by {file.read() or 'another process'}"
                ) from None
            file.truncate(0)
            file.write(f"process {os.getpid()}, since {datetime.now().astimezone():%Y-%m-%d %H:%M:%S}")
            file.flush()
            yield
            file.truncate(0)

    def refuse_link(self) -> None:
        """Refuse to write into a run whose folder is a symbolic link; such a run is only read.

        Raises:
            BadInput: it is one.
        """
        if self.folder.is_symlink():
            raise BadInput(
                f"run {self.folder.name} is a symbolic link, and nothing is written through one; "
                f"name the folder itself: {self.folder.resolve()}"
            )

    def records(self) -> list[Record]:
        """The record of each trial, the latest where a trial was run again, in the order of the first ones.

        A torn last line is left out: its trial has no record.

        Raises:
            BadInput: a line is no record, or of a newer schema.
        """
        return list({record.id: record for record in self._read()}.values())

    def film(self, record: Record) -> Film:
        """The pictures of a record's training by epoch; empty where none were taken."""
        path = inside(self.folder, ARRAYS, f"{record.id}.npz")
        return load_film(path) if path.is_file() else {}

    def _read(self) -> Iterator[Record]:
        path = self.folder / RECORDS
        if not path.is_file():
            return
        for number, line in enumerate(path.read_bytes().splitlines(keepends=True), start=1):
            if not line.endswith(b"\n"):
                return
            try:
                yield Record.parse(line.decode())
            except (json.JSONDecodeError, UnicodeDecodeError, BadInput) as error:
                raise BadInput(f"{path}, line {number}: {error}") from error


def replace_file(path: Path, lines: Iterable[bytes]) -> None:
    """Write a file anew; it is there whole, old or new, at any moment."""
    part = path.with_name(f"{path.name}.part")
    with open_file(path.parent, part.name, mode="wb") as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def whole_lines(content: bytes) -> bytes:
    """All but a last line that was torn."""
    return content[: content.rfind(b"\n") + 1]


def list_runs(results: Path) -> list[Run]:
    """The runs of a results directory, oldest first; a run may be a symbolic link to its folder."""
    if not results.is_dir():
        return []
    return [Run(folder) for folder in _each_once(f for f in results.iterdir() if (f / STUDY).is_file())]


def runs_below(results: Path) -> list[Run]:
    """Every run that has a record, in a folder and in the folders below it, in the order of their paths.

    Raises:
        BadInput: there is none.
    """
    runs = _runs_below(results)
    if not runs:
        raise BadInput(f"no record in {results} yet; make some with 'nodebench run', or give --results DIR")
    return runs


def kept_records(folder: Path) -> list[Record]:
    """The records of every run below a folder, none where there is no run.

    Raises:
        BadInput: one cannot be read.
    """
    return [record for run in _runs_below(folder) for record in run.records()]


def records_below(results: Path) -> list[Record]:
    """The records of every run in a folder and in the folders below it.

    Raises:
        BadInput: there is none, or one cannot be read.
    """
    return [record for run in runs_below(results) for record in run.records()]


def _runs_below(results: Path) -> list[Run]:
    runs = [Run(folder) for folder in _each_once(_folders_with_records(results))]
    # A trial run again from its record is no new evidence, unless it is what was asked for.
    return [run for run in runs if run.folder == results or run.study_name() != REPRODUCED]


def _folders_with_records(results: Path) -> Iterator[Path]:
    """The folders that hold a record; one behind a symbolic link counts, and nothing below it is looked at."""
    for parent, folders, files in os.walk(results):
        here = Path(parent)
        candidates = [here] if RECORDS in files else []
        candidates += [here / name for name in folders if (here / name).is_symlink()]
        yield from (f for f in candidates if (f / RECORDS).is_file() and (f / RECORDS).stat().st_size)


def _each_once(folders: Iterable[Path]) -> list[Path]:
    """Folders in the order of their paths; one that is reached by a link too counts once, by its own path."""
    found: dict[Path, Path] = {}
    for folder in sorted(folders, key=lambda folder: (folder.is_symlink(), folder)):
        found.setdefault(folder.resolve(), folder)
    return sorted(found.values())


def _first_free(folder: Path) -> Path:
    """Make the folder, or the first of ``folder-2``, ``folder-3``, … that does not exist."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    candidate, number = folder, 1
    while True:
        try:
            candidate.mkdir()
            return candidate
        except FileExistsError:
            number += 1
            candidate = folder.with_name(f"{folder.name}-{number}")


def _ends_with_newline(file: Any) -> bool:
    file.seek(-1, os.SEEK_END)
    return bool(file.read(1) == b"\n")


def _end_of_last_line(file: Any) -> int:
    file.seek(0)
    return len(whole_lines(file.read()))
