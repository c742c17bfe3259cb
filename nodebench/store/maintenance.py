"""Maintenance of results: verify, repair, merge and prune runs."""

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import psutil

from nodebench.errors import BadInput, writing_to
from nodebench.paths import open_file, remove_file
from nodebench.spec import Record, Request, Status, Study, Trial
from nodebench.spec.environment import read_environment
from nodebench.spec.record import Edited, Newer, differing
from nodebench.store import owned_files
from nodebench.store.checkpoints import FOLDER as CHECKPOINTS
from nodebench.store.checkpoints import checkpoint_files
from nodebench.store.folders import has_content
from nodebench.store.lines import Line, lines_of
from nodebench.store.run_folder import (
    ARRAYS,
    ENVIRONMENT,
    RECORDS,
    RunFolder,
    is_reproduction,
    list_runs,
    replace_file,
)
from nodebench.store.snapshots import load_snapshots

ASIDE = "set-aside.jsonl"  # lines that are not valid records
_PART = 1 << 20  # bytes that are copied at once
_FINDINGS = 100  # shown per run
_MERGING = ".merging-"  # prefix of the folder name of an unfinished merge; the process id follows


def verify(run: RunFolder) -> list[str]:
    """List the problems of a run: truncated, unreadable, modified, mismatched and duplicate records.

    A mismatched record has the id of another trial, or a group that the run's study does not have. Records that
    ``nodebench reproduce`` wrote keep the groups of the original run; for them, the study must have a group named after
    the trial. Two records of a trial are not duplicates if the trial had a reason to run again: the first record
    failed, was interrupted or drifted, or the second one measured more.
    """
    findings: list[str] = []
    groups: set[str] | None = None
    try:
        groups = set(run.study().groups)
    except BadInput as error:
        findings.append(str(error))
    by_trial = is_reproduction(run)
    ended: Counter[str] = Counter()
    latest: dict[str, Record] = {}
    for line in _lines(run, findings):
        if line.is_torn:
            findings.append(f"line {line.number} is truncated; --resume runs the trial again")
        elif line.fault:
            findings.append(f"line {line.number}{_fault_text(line.fault)}")
        record = line.fault.record if isinstance(line.fault, Edited) else line.record
        if record is None:
            continue
        if record.id != record.trial.id:
            findings.append(f"line {line.number}: record {record.id} belongs to another trial, {record.trial.id}")
        asked = (record.id,) if by_trial else record.place.groups
        if strange := [group for group in asked if groups is not None and group not in groups]:
            mismatch = f"group {' and '.join(strange)} is not in the study"
            findings.append(f"line {line.number}: record {record.id} does not match the run: {mismatch}")
        if record.status is Status.OK:
            before = latest.get(record.id)
            ended[record.id] += before is None or not _was_repeated(before, record)
            latest[record.id] = record
        findings += _complaints(run.snapshots_path(record), load_snapshots)
    findings += [f"record {id} occurs {count} times" for id, count in ended.items() if count > 1]
    findings += _complaints(run.folder / ENVIRONMENT, read_environment)
    more = len(findings) - _FINDINGS
    return [*findings[:_FINDINGS], *([f"and {more} more"] if more > 0 else [])]


def _was_repeated(first: Record, second: Record) -> bool:
    """Return whether a finished trial had a reason to run again: its timing drifted, or more was measured."""
    if first == second:
        return False
    return bool(first.drifted) or not first.answers(Request(passes=second.passes, against=_baseline(second)))


def _baseline(record: Record) -> Trial | None:
    return record.interleaved.baseline if record.interleaved else None


def _fault_text(fault: BadInput) -> str:
    return f": {fault}" if isinstance(fault, Edited) else f" cannot be read: {fault}"


def _complaints(path: Path, read: Callable[[Path], object]) -> list[str]:
    """Return the error of reading a file, in a list; an empty list if the file is valid or missing."""
    try:
        if os.path.exists(path):
            read(path)
    except BadInput as error:
        return [str(error)]
    return []


def repair(run: RunFolder) -> tuple[int, int]:
    """Move invalid lines of a run's records to ``ASIDE``; return the numbers of lines kept and moved.

    Lines of a newer schema are kept. A line is removed only after its copy is on disk.

    Raises:
        BadInput: another process writes the run, or a file cannot be read or written.
    """
    with run.writing():
        kept, bad = 0, {}
        path = run.folder / RECORDS
        for line in lines_of(path):
            if line.is_torn or (line.fault and not isinstance(line.fault, Newer)):
                bad[line.number] = (line.start, line.size)
            else:
                kept += 1
        if bad:
            _set_aside(run.folder, bad.values())
            replace_file(path, (line.raw for line in lines_of(path) if line.number not in bad))
    return kept, len(bad)


def _set_aside(folder: Path, ranges: Iterable[tuple[int, int]]) -> None:
    """Append byte ranges (start, size) of the records file to ``ASIDE``, and sync ``ASIDE`` to disk."""
    with writing_to(folder), (folder / RECORDS).open("rb") as file, open_file(folder, ASIDE, mode="ab") as aside:
        for start, size in ranges:
            file.seek(start)
            left = size
            while left > 0 and (part := file.read(min(left, _PART))):
                aside.write(part)
                left -= len(part)
        aside.flush()
        os.fsync(aside.fileno())


def leftover_merges(results: Path) -> list[Path]:
    """The folders of merges that were killed before they had finished; those of running processes are left out."""
    found = []
    for folder in sorted(results.glob(f"{_MERGING}*")):
        process = folder.name.removeprefix(_MERGING)
        if not (process.isdecimal() and psutil.pid_exists(int(process))):
            found.append(folder)
    return found


def merge(first: RunFolder, second: RunFolder, results: Path) -> tuple[RunFolder, int]:
    """Merge the records of two runs into a new run, and count the trials that both have.

    The new run has one record per trial: an ``ok`` record if only one of the two is ``ok``, else the later record.

    Raises:
        BadInput: the runs have different grids of the same name, a record was modified or cannot be read, or two
            records of a trial measured different versions of the user's code.
        RunAborted: the merged run cannot be written; no part of it is left.
    """
    for run in (first, second):
        if fault := _first_fault(run):
            message = f"{run.folder.name} has records that were modified or cannot be read ({fault})"
            raise BadInput(f"{message}; 'nodebench results repair' sets them aside")
    ours, theirs = first.study(), second.study()
    different = [
        name
        for name in ours.groups.keys() & theirs.groups.keys()
        if _without_seeds(ours, name) != _without_seeds(theirs, name)
    ]
    if different:
        raise BadInput(
            f"{first.folder.name} and {second.folder.name} both have a group '{different[0]}' with different settings"
        )
    groups = {name: _joined(ours, theirs, name) for name in ours.groups | theirs.groups}
    chosen: dict[str, tuple[Record, RunFolder]] = {}
    doubles = 0
    for run in (first, second):
        for record in run.records():
            if record.id in chosen:
                _refuse_other_code(chosen[record.id][0], record)
            doubles += record.id in chosen
            if record.id not in chosen or _better(record, chosen[record.id][0]):
                chosen[record.id] = record, run
    study = ours.model_copy(update={"groups": groups})
    return _written(results, study, first.environment(), chosen.values()), doubles


def _written(
    results: Path, study: Study, environment: Mapping[str, Any], chosen: Iterable[tuple[Record, RunFolder]]
) -> RunFolder:
    """Write the chosen records to a new run in ``results``; if this fails, leave nothing there."""
    scratch = results / f"{_MERGING}{os.getpid()}"
    try:
        merged = RunFolder.create(scratch, study, environment)
        with merged.writing():
            for record, run in chosen:
                merged.append(record, run.snapshots(record))
        return merged.moved_to(results)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _first_fault(run: RunFolder) -> str | None:
    """Return the error of the first invalid line of a run, or of its file as a whole; None if there is none."""
    findings: list[str] = []
    found = next((f"line {line.number}: {line.fault}" for line in _lines(run, findings) if line.fault), None)
    return found or next(iter(findings), None)


def _refuse_other_code(first: Record, second: Record) -> None:
    """Refuse to merge two records of a trial that measured different code."""
    if first.measured is not None and second.measured is not None and first.measured != second.measured:
        what = differing(first.measured, second.measured)
        raise BadInput(f"both runs have trial {first.id}, but the user's code differs: {what}. Keep the runs apart")


def _without_seeds(study: Study, name: str) -> dict[str, object]:
    return study.groups[name].model_dump(exclude={"seed"})


def _joined(ours: Study, theirs: Study, name: str) -> object:
    """A group with the seeds of both."""
    grid = (ours.groups | theirs.groups)[name]
    seeds = [seed for study in (ours, theirs) if name in study.groups for seed in study.groups[name].seed]
    return grid.model_copy(update={"seed": list(dict.fromkeys(seeds))})


def _better(new: Record, old: Record) -> bool:
    if (new.status is Status.OK) != (old.status is Status.OK):
        return new.status is Status.OK
    return new.started > old.started


def prune(results: Path, remove: bool) -> list[str]:
    """Find files that no record needs and, with ``remove``, remove them; return one line per finding.

    Only files that nodebench wrote, identified by name and content, are removed. Folders that are not runs, runs that
    are or contain symbolic links, and runs without records that contain other files are left unchanged. So is a run
    that another process writes or whose files cannot be removed; its line says why.
    """
    found = []
    for folder in leftover_merges(results):
        found.append(f"{folder.name}: a merge that was killed before it had finished")
        if remove:
            with _as_finding(folder.name, found):
                owned_files.remove_unfinished(folder)
    for run in list_runs(results):
        if not owned_files.is_own(run.folder):
            continue
        name = run.folder.name
        with _as_finding(name, found), run.writing() if remove else nullcontext():
            found.extend(f"{name}: {line}" for line in _prune(run, remove))
    return found


@contextmanager
def _as_finding(name: str, found: list[str]) -> Iterator[None]:
    """Add a finding if files cannot be removed, for example because a process writes the run."""
    try:
        yield
    except (BadInput, OSError) as error:
        found.append(f"{name}: not removed: {error}")


def _prune(run: RunFolder, remove: bool) -> Iterator[str]:
    """Find and, with ``remove``, remove the files and lines of one run that no record needs."""
    if _first_fault(run):
        yield f"left unchanged, since it has invalid lines; run 'nodebench results repair {run.folder.name}' first"
        return
    records = run.records()
    checkpoints = checkpoint_files(run.folder)
    if not records:
        # Keep a run that has a checkpoint: --resume can continue it.
        if not any(checkpoints.values()) and (files := owned_files.all_files(run.folder)) is not None:
            yield "a run without a record"
            if remove:
                owned_files.remove_run(run.folder, files)
        return
    lines = sum(1 for _ in _lines(run, []))
    if lines > len(records):
        yield f"{lines - len(records)} superseded or truncated lines"
        if remove:
            replace_file(run.folder / RECORDS, _latest(run))
    needed = {f"{record.id}.npz" for record in records}
    for name in owned_files.snapshot_files(run.folder):
        if name not in needed:
            yield f"{name}, which belongs to no record"
            if remove:
                remove_file(run.folder, ARRAYS, name)
    ended = {record.id for record in records if record.status is not Status.INTERRUPTED}
    for name, trial in checkpoints.items():
        if trial is None or trial in ended:
            yield f"{name}, which --resume does not need"
            if remove:
                remove_file(run.folder, CHECKPOINTS, name)


def _latest(run: RunFolder) -> list[bytes]:
    """Return the latest line of each trial, unchanged, in the order in which the trials first appear."""
    return list({line.record.id: line.raw for line in _lines(run, []) if line.record}.values())


def _lines(run: RunFolder, findings: list[str]) -> Iterator[Line]:
    """Yield the lines of a run's records; if the file cannot be read, append the error to ``findings``."""
    path = run.folder / RECORDS
    try:
        if has_content(path):
            yield from lines_of(path)
    except BadInput as error:
        findings.append(str(error))
