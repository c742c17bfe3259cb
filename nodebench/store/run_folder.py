"""The store: one directory per run, one line per record; each record is on disk before the next trial starts."""

import fcntl
import json
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from nodebench.errors import BadInput, RunAborted, first_fault, writing_to
from nodebench.paths import file_name, for_writing, inside, open_file, remove_file, write_file
from nodebench.spec import Record, Status, Study
from nodebench.spec.bounded import read_toml
from nodebench.spec.environment import RunEnvironment, read_environment
from nodebench.spec.study import REPRODUCED
from nodebench.spec.trajectories import Snapshots
from nodebench.store.checkpoints import FOLDER as CHECKPOINTS
from nodebench.store.checkpoints import remove_checkpoint
from nodebench.store.folders import each_once, folders_below, folders_in, has_content
from nodebench.store.lines import collector_paused, good_records, lines_of
from nodebench.store.snapshots import load_snapshots, save_snapshots

_log = logging.getLogger(__name__)

STUDY, ENVIRONMENT, RECORDS, ARRAYS = "study.toml", "environment.json", "records.jsonl", "arrays"
LOCK = "lock"

# Statuses of trials whose training could go on: they were stopped, killed, or ran out of time or memory.
_ENDED_FROM_OUTSIDE = (Status.INTERRUPTED, Status.TIMEOUT, Status.MEMORY_BUDGET, Status.CRASHED)

_STAMP, _STAMP_LENGTH = "%Y-%m-%dT%H-%M-%S", len("2026-01-01T00-00-00")
_DIGITS = 18  # digits that are compared of each number in a run's name
_TRIAL_ID = re.compile("[0-9a-f]{12}")


class RunFolder:
    """A run directory: ``study.toml``, ``environment.json``, ``records.jsonl``, and ``arrays/`` for snapshots.

    While trials are unfinished it may have ``checkpoints/``; see ``nodebench.store.checkpoints``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def create(cls, results: Path, study: Study, environment: Mapping[str, Any]) -> "RunFolder":
        """Make a new run directory named after the time and the study, or the task if the study has no name.

        Raises:
            BadInput: ``results`` cannot be written.
        """
        now = datetime.now(UTC)
        stamp = now.astimezone().strftime(_STAMP)
        task = next(iter(study.groups.values())).task
        name = file_name(f"{stamp}-{study.name or task}")
        with writing_to(f"--results {results}"):
            folder = _first_free(inside(results, name))
            described = json.dumps({**environment, "created": now.isoformat()}, indent=2) + "\n"
            content = tomli_w.dumps(study.model_dump(mode="json", exclude_none=True))
            write_file(folder, ENVIRONMENT, content=described.encode())
            write_file(folder, STUDY, content=content.encode())
        return cls(folder)

    @classmethod
    def open(cls, results: Path, name: str | None) -> "RunFolder":
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
            if os.path.isfile(folder / RECORDS) or os.path.isfile(folder / STUDY):
                return cls(folder)
        known = ", ".join(run.folder.name for run in list_runs(results)[-5:]) or "none"
        raise BadInput(f"no run named '{name}' in {results}. The latest there: {known}")

    def study(self) -> Study:
        """Read the study of this run.

        Raises:
            BadInput: the study cannot be read.
        """
        path = self.folder / STUDY
        content = read_toml(path)
        try:
            return Study.model_validate(content)
        except ValidationError as error:
            raise BadInput(f"{path} cannot be read: {first_fault(error)}") from None

    def study_name(self) -> str:
        """Return the name of the study; empty for a grid given on the command line or if the study is unreadable."""
        try:
            return self.study().name
        except BadInput:
            return ""

    def environment(self) -> RunEnvironment:
        """Read the machine and software of the run; empty if missing or, with a warning, if unreadable."""
        path = self.folder / ENVIRONMENT
        if not os.path.exists(path):
            return {}
        try:
            return read_environment(path)
        except BadInput as error:
            _log.warning("%s", error)
            return {}

    @property
    def age(self) -> tuple[datetime, list[tuple[int, str]]]:
        """The sort key of runs: the creation time, then the name in natural order (``-10`` follows ``-9``).

        Runs of older versions do not store their creation time. The start of the first record replaces it, or else
        the time in the name.
        """
        parts = re.findall(r"(\d+)|(\D+)", self.folder.name)
        return self._created(), [(int(number[:_DIGITS] or 0), text) for number, text in parts]

    def _created(self) -> datetime:
        with suppress(BadInput):
            if created := read_environment(self.folder / ENVIRONMENT).get("created"):
                return created
        with suppress(BadInput, ValueError):
            first = next((line.record for line in lines_of(self.folder / RECORDS) if line.record), None)
            if first is not None:
                started = datetime.fromisoformat(first.started)
                return started if started.tzinfo else started.replace(tzinfo=UTC)
        with suppress(ValueError):
            return datetime.strptime(self.folder.name[:_STAMP_LENGTH], _STAMP).astimezone(UTC)
        return datetime.fromtimestamp(0, UTC)

    def append(self, record: Record, snapshots: Snapshots | None = None) -> None:
        """Append a record and sync it to disk; a truncated last line is removed first.

        The snapshots of the training are written first, so that every stored record has its snapshots. Then the
        checkpoint of the trial is removed, unless the trial can continue from it: with ``--resume`` if it was
        interrupted, with ``--retry-failed`` if it crashed or exceeded its time or memory.

        Raises:
            RunAborted: the record cannot be written; earlier records are intact.
            BadInput: a file of the run is a symbolic link.
        """
        with writing_to(self.folder, RunAborted):
            if snapshots:
                save_snapshots(for_writing(self.folder, ARRAYS, f"{record.id}.npz"), snapshots)
            append_line(self.folder, RECORDS, record.line())
            if not snapshots:  # those of an earlier attempt do not belong to this record
                remove_file(self.folder, ARRAYS, f"{record.id}.npz")
            if record.status not in _ENDED_FROM_OUTSIDE:
                remove_checkpoint(self.folder, record.id)

    def moved_to(self, results: Path) -> "RunFolder":
        """Move the whole run into another folder of the same file system, under its name or the first free one.

        Raises:
            RunAborted: it cannot be moved there.
        """
        with writing_to(results, RunAborted):
            folder = _first_free(results / self.folder.name)
            return RunFolder(self.folder.rename(folder))  # replaces the empty folder

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the write lock of this run; the operating system releases it when this process ends.

        Raises:
            BadInput: another process writes the run, the folder cannot be written, or the folder or a file of the run
            is a symbolic link.
        """
        self.refuse_link()
        for name in (RECORDS, ARRAYS, CHECKPOINTS):
            for_writing(self.folder, name)
        with writing_to(self.folder):
            file = open_file(self.folder, LOCK, mode="a+", errors="replace")
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
            with suppress(OSError):  # no checkpoints, or some are still needed
                (self.folder / CHECKPOINTS).rmdir()
            file.truncate(0)

    def refuse_link(self) -> None:
        """Refuse to write to a run whose folder is a symbolic link; it can only be read.

        Raises:
            BadInput: the folder is a symbolic link.
        """
        if self.folder.is_symlink():
            raise BadInput(
                f"run {self.folder.name} is a symbolic link, and nodebench does not write through links; "
                f"use the folder itself: {self.folder.resolve()}"
            )

    def records(self) -> list[Record]:
        """Return the latest record of each trial, in the order in which the trials first appear.

        A truncated last line is left out: its trial has no record. Invalid or modified lines are left out with a
        warning.

        Raises:
            BadInput: the file cannot be read at all, or a newer nodebench wrote part of it.
        """
        path = self.folder / RECORDS
        if not os.path.exists(path):
            return []
        with collector_paused():
            return list({record.id: record for record in good_records(path)}.values())

    def no_record(self) -> BadInput:
        """Return the error to raise if a record is needed, but there is none or none can be read."""
        path = self.folder / RECORDS
        written = os.path.exists(path) and path.stat().st_size > 0
        name = self.folder.name
        return BadInput(f"no record of run {name} can be read" if written else f"run {name} has no records yet")

    def snapshots(self, record: Record) -> Snapshots:
        """Return the training snapshots of a record, by epoch; empty if there are none or they cannot be read."""
        path = self.snapshots_path(record)
        if not os.path.exists(path):
            return {}
        try:
            return load_snapshots(path)
        except BadInput as error:
            _log.warning("%s", error)
            return {}

    def snapshots_path(self, record: Record) -> Path:
        """Return the path of a record's training snapshots; the file may not exist."""
        return inside(self.folder, ARRAYS, f"{record.id}.npz")


def append_line(folder: Path, name: str, line: str) -> None:
    """Append a line to a file and sync it to disk; a truncated last line is removed first.

    The file is locked meanwhile, so that two processes can append to one file.
    """
    with open_file(folder, name, mode="ab+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        end = file.seek(0, os.SEEK_END)
        if end and not _ends_with_newline(file):
            file.truncate(_end_of_last_line(file))
        file.write(line.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def replace_file(path: Path, lines: Iterable[bytes]) -> None:
    """Replace the content of a file atomically."""
    part = path.with_name(f"{path.name}.part")
    with open_file(path.parent, part.name, mode="wb") as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def whole_lines(content: bytes) -> bytes:
    """Return the content without a truncated last line."""
    return content[: content.rfind(b"\n") + 1]


def list_runs(results: Path) -> list[RunFolder]:
    """The runs of a results directory, the oldest first; a run may be a symbolic link to its folder.

    Raises:
        BadInput: the directory cannot be listed.
    """
    runs = each_once(folder for folder in folders_in(results) if os.path.isfile(folder / STUDY))
    return sorted(map(RunFolder, runs), key=lambda run: run.age)


def runs_below(results: Path) -> list[RunFolder]:
    """Return every run with records in a folder and its subfolders, sorted by path.

    Reproductions are left out, unless ``results`` itself is the folder of one.

    Raises:
        BadInput: there is none.
    """
    runs = every_run_below(results)
    if not runs:
        raise BadInput(f"no record in {results} yet; make some with 'nodebench run', or give --results DIR")
    return runs


def every_run_below(results: Path) -> list[RunFolder]:
    """Return the same runs as ``runs_below``; empty if there are none."""
    folders = each_once(folder for folder in folders_below(results) if has_content(folder / RECORDS))
    found = [RunFolder(folder) for folder in folders]
    # Reproductions are no new evidence: leave them out, unless ``results`` itself is one.
    return [run for run in found if run.folder == results or not is_reproduction(run)]


def is_reproduction(run: RunFolder) -> bool:
    """Return whether ``nodebench reproduce`` wrote a run, judged by the study's name and its groups of one trial."""
    try:
        study = run.study()
    except BadInput:
        return False
    return study.name == REPRODUCED and all(_TRIAL_ID.fullmatch(group) for group in study.groups)


def kept_records(folder: Path) -> list[Record]:
    """Return the records of every run below a folder; empty if there are no runs; see ``records_of``."""
    return [record for run in every_run_below(folder) for record in records_of(run)]


def records_of(run: RunFolder) -> list[Record]:
    """Return the records of a run; empty, with a warning, if its file cannot be read."""
    try:
        return run.records()
    except BadInput as error:
        _log.warning("%s", error)
        return []


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
