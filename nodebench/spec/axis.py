"""What a field of ``Trial`` says about itself."""

from dataclasses import dataclass
from enum import StrEnum


class Part(StrEnum):
    """What an axis decides about a trial."""

    PROBLEM = "problem"  # what is solved
    METHOD = "method"  # how it is solved and differentiated
    EXECUTION = "execution"  # where, and in which number format
    REPLICATE = "replicate"  # which of several trials that are otherwise equal


@dataclass(frozen=True)
class Axis:
    """One axis of a trial, declared in the annotation of a field of ``Trial``.

    Attributes:
        part: what it decides.
        label: a short name for tables and plots.
        help: what it is, in one sentence.
        default: what a grid that does not name it has, for a person; empty where that is the field's own default.
        unset: the value that None stands for; None where it stands for "does not apply" or "the library's choice".
        follows: the axis that its default is computed from, by a factor; empty where there is none.
        absent: why no trial of a grid may have it.
        computes: whether it can change computed values by more than rounding; an axis that cannot changes time and
            memory only.
        listed: whether a grid takes several values of it.
    """

    part: Part
    label: str
    help: str
    default: str = ""
    unset: str | None = None
    follows: str = ""
    absent: str = "it does not apply"
    computes: bool = True
    listed: bool = True
