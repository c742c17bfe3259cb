"""Which records a part of a claim may use."""

from nodebench.analysis.fairness import Point, unreliable
from nodebench.claims.contract import Part
from nodebench.claims.outcome import Note
from nodebench.spec import Status


def usable(point: Point, part: Part, notes: list[Note]) -> bool:
    """Return whether a record may be used; if not, append the reason to ``notes``."""
    if not point.is_outcome:
        message = f"record left out: status {point.record.status} is not caused by the method"
        notes.append(Note(message))
        return False
    if reason := unreliable(point.record, part.reading.timed, part.reading.paired):
        notes.append(Note(f"record left out: {reason}"))
        return False
    if missing := _missing(point, part):
        notes.append(Note(f"record left out: no value of “{missing}”"))
        return False
    return True


def _missing(point: Point, part: Part) -> str | None:
    """Return what the record of a finished trial lacks; None if it has every reading of the part."""
    if point.record.status is not Status.OK:
        return None  # a failed trial counts as worse than every finished one
    readings = (part.reading, part.fit.x if part.fit else None, part.match.error if part.match else None)
    return next((one.label for one in readings if one is not None and one.get(point.record) is None), None)
