"""Which records a part of a claim may use."""

from nodebench.analysis.fairness import Point, unreliable
from nodebench.claims.contract import Part
from nodebench.claims.outcome import Note, NoteCode


def usable(point: Point, part: Part, notes: list[Note]) -> bool:
    """Whether a record may be used; if not, a note says why."""
    if not point.is_outcome:
        message = f"record left out: it ended as {point.record.status}, which is not an outcome of its method"
        notes.append(Note(NoteCode.NO_OUTCOME, message))
        return False
    if reason := unreliable(point.record, part.reading.timed, part.reading.paired):
        notes.append(Note(NoteCode.UNRELIABLE, f"record left out: {reason}"))
        return False
    return True
