"""Keeping results in order: is a run whole, two runs into one, what no record needs."""

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from nodebench.errors import BadInput
from nodebench.run.store import ARRAYS, RECORDS, Run, list_runs
from nodebench.spec import Record, Status, Study
from nodebench.spec.record import differing, is_intact


def verify(run: Run) -> list[str]:
    """What is wrong with a run, a sentence each: torn, unreadable, edited, foreign and double records.

    A foreign record is of a trial that is not its own, or whose group the run's study does not have. Two records
    of a trial are no double if the first one failed or was interrupted: it was run again.
    """
    findings = []
    try:
        groups = set(run.study().groups)
    except BadInput as error:
        return [str(error)]
    ended: Counter[str] = Counter()
    for number, line in enumerate(_lines(run), start=1):
        if not line.endswith(b"\n"):
            findings.append(f"line {number} is torn; the trial runs again on --resume")
            continue
        try:
            text = line.decode()
            record = Record.parse(text)
        except (json.JSONDecodeError, UnicodeDecodeError, BadInput) as error:
            findings.append(f"line {number} cannot be read: {error}")
            continue
        if is_intact(text.rstrip("\n")) is False:
            findings.append(f"line {number}: record {record.id} was edited: it is not what its checksum says")
        if record.id != record.trial.id:
            findings.append(f"line {number}: record {record.id} is of another trial, {record.trial.id}")
        if strange := [group for group in record.place.groups if group not in groups]:
            findings.append(f"line {number}: record {record.id} is foreign: group {' and '.join(strange)} is not here")
        ended[record.id] += record.status is Status.OK
    findings += [f"record {id} is there {count} times" for id, count in ended.items() if count > 1]
    return findings


def merge(first: Run, second: Run, results: Path) -> tuple[Run, int]:
    """Make a new run of the records of two, and count the trials that both have.

    A trial is there once: the record that is ``ok`` goes before one that is not, else the later one.

    Raises:
        BadInput: the two have grids of one name that differ, a record was edited, or the records of a trial measured
            different code of the user's.
    """
    for run in (first, second):
        if any(is_intact(line.decode().rstrip("\n")) is False for line in _lines(run)):
            raise BadInput(f"{run.folder.name} has records that were edited; 'nodebench results verify' says which")
    ours, theirs = first.study(), second.study()
    different = [
        name
        for name in ours.groups.keys() & theirs.groups.keys()
        if _without_seeds(ours, name) != _without_seeds(theirs, name)
    ]
    if different:
        raise BadInput(
            f"{first.folder.name} and {second.folder.name} both have a group '{different[0]}', and they differ"
        )
    groups = {name: _joined(ours, theirs, name) for name in ours.groups | theirs.groups}
    chosen: dict[str, tuple[Record, Run]] = {}
    doubles = 0
    for run in (first, second):
        for record in run.records():
            if record.id in chosen:
                _refuse_other_code(chosen[record.id][0], record)
            doubles += record.id in chosen
            if record.id not in chosen or _better(record, chosen[record.id][0]):
                chosen[record.id] = record, run
    merged = Run.create(results, ours.model_copy(update={"groups": groups}), first.environment())
    with merged.writing():
        for record, run in chosen.values():
            merged.append(record, run.film(record))
    return merged, doubles


def _refuse_other_code(first: Record, second: Record) -> None:
    """Refuse to take two records for one trial that measured different things."""
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
    """Find what no record needs and, with ``remove``, remove it; return a line for each.

    Raises:
        BadInput: something cannot be removed, or a run is being written.
    """
    found = []
    for run in list_runs(results):
        with run.writing():
            records = run.records()
            name = run.folder.name
            if not records:
                found.append(f"{name}: a run without a record")
                if remove:
                    shutil.rmtree(run.folder)
                continue
            lines = sum(1 for _ in _lines(run))
            if lines > len(records):
                found.append(f"{name}: {lines - len(records)} superseded or torn lines")
                if remove:
                    run.rewrite(_latest(run))
            needed = {f"{record.id}.npz" for record in records}
            for path in sorted((run.folder / ARRAYS).glob("*")):
                if path.name not in needed:
                    found.append(f"{name}: {path.name}, which belongs to no record")
                    if remove:
                        path.unlink()
    return found


def _latest(run: Run) -> list[bytes]:
    """The latest line of each trial as it was written, in the order of the first ones."""
    whole = (line for line in _lines(run) if line.endswith(b"\n"))
    return list({json.loads(line)["id"]: line for line in whole}.values())


def _lines(run: Run) -> Iterator[bytes]:
    path = run.folder / RECORDS
    if path.is_file():
        with path.open("rb") as file:
            yield from file
