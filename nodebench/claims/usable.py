"""Which records a part of a claim may use."""

from nodebench.analysis.fairness import Point, unreliable
from nodebench.claims.contract import Part
from nodebench.claims.outcome import Note, NoteCode


def usable(point: Point, part: Part, notes: list[Note]) -> bool:
    """Return whether a record may be used; if not, append the reason to ``notes``."""
    if not point.is_outcome:
        message = f"record left out: status {point.record.status} is not caused by the method"
        notes.append(Note(NoteCode.NO_OUTCOME, message))
        return False
    if reason := unreliable(point.record, part.reading.timed, part.reading.paired):
        notes.append(Note(NoteCode.UNRELIABLE, f"record left out: {reason}"))
        return False
    return True
