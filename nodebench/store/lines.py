"""Read ``records.jsonl``: each line with its record, or with the reason why it has none."""

import gc
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from nodebench.errors import BadInput
from nodebench.spec import Record
from nodebench.spec.bounded import read_lines
from nodebench.spec.record import Newer

_log = logging.getLogger(__name__)
_REPEATED = ("environment", "options", "limits", "passes", "reasons")  # parts that records of a run have in common
_NAMED = 3  # bad lines that a warning names


@dataclass(frozen=True)
class Line:
    """One line of a file of records.

    Attributes:
        number: starts at 1.
        raw: the bytes of the line, newline included; only the first bytes if the line is too long.
        start, size: position in the file and length of the line, in bytes.
        record: None if the line is truncated or invalid.
        fault: why the line is invalid; None if it is valid or truncated.
    """

    number: int
    raw: bytes
    start: int
    size: int
    record: Record | None = None
    fault: BadInput | None = None

    @property
    def is_torn(self) -> bool:
        """Whether the line is truncated, without a newline: its process was killed, and its trial runs again."""
        return not self.raw.endswith(b"\n")


def lines_of(path: Path) -> Iterator[Line]:
    """Read a file of records line by line.

    Raises:
        BadInput: the file cannot be read at all.
    """
    start = 0
    for number, (raw, size) in enumerate(read_lines(path), start=1):
        line = Line(number, raw, start, size)
        start += size
        if line.is_torn:
            yield line
            continue
        try:
            yield replace(line, record=Record.parse(raw))
        except BadInput as error:
            yield replace(line, fault=error)


def good_records(path: Path) -> Iterator[Record]:
    """Yield the records of a file; invalid lines are skipped, counted and listed in one warning.

    Raises:
        BadInput: the file cannot be read at all, or a newer nodebench wrote part of it.
    """
    good, bad = 0, 0
    named: list[str] = []
    latest: Record | None = None
    for line in lines_of(path):
        if line.record is not None:
            good += 1
            if latest is not None:
                _share_equal_parts(line.record, latest)
            latest = line.record
            yield line.record
        elif isinstance(line.fault, Newer):
            raise BadInput(f"{path}, line {line.number}: {line.fault}")
        elif line.fault is not None:
            bad += 1
            if len(named) < _NAMED:
                named.append(f"line {line.number}: {line.fault}")
    if bad:
        more = f"; and {bad - len(named)} more" if bad > len(named) else ""
        message = f"{bad} of {good + bad} records left out: {'; '.join(named)}{more}"
        _log.warning("%s: %s. 'nodebench results repair' sets them aside", path, message)


def _share_equal_parts(record: Record, before: Record) -> None:
    """Make a record share the objects of the previous record for all parts that are equal.

    Sharing is safe because the models are frozen. The records of a run have most parts in common, for example the
    environment and the names of the given fields; sharing saves half of their memory.
    """
    for name in _REPEATED:
        if record.__dict__[name] == before.__dict__[name]:
            record.__dict__[name] = before.__dict__[name]
    for model, known in ((record, before), (record.trial, before.trial), (record.place, before.place)):
        if model.model_fields_set == known.model_fields_set:
            object.__setattr__(model, "__pydantic_fields_set__", known.model_fields_set)


@contextmanager
def collector_paused() -> Iterator[None]:
    """Pause the garbage collector, which looks at every object again and again while many records are read."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
