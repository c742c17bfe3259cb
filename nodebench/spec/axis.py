"""The declaration of one axis of a trial."""

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
        default_text: its default as the help shows it; empty where it is ``unset``, or the field's own default.
        unset: the value that None stands for; None where it stands for "does not apply" or "the library's choice".
        follows: the axis that its default is computed from, by a factor; empty where there is none.
        inapplicable: the message where no trial of a grid can use a value of it.
        computes: whether it can change computed values by more than rounding; an axis that cannot changes time and
            memory only.
        multiple: whether a grid takes a list of its values.
    """

    part: Part
    label: str
    help: str
    default_text: str = ""
    unset: str | None = None
    follows: str = ""
    inapplicable: str = "it does not apply"
    computes: bool = True
    multiple: bool = True
