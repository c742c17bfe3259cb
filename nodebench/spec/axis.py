"""The declaration of one axis of a trial."""

from dataclasses import dataclass
from enum import StrEnum


class Part(StrEnum):
    """What an axis decides about a trial."""

    PROBLEM = "problem"  # what is solved
    METHOD = "method"  # how it is solved and differentiated
    EXECUTION = "execution"  # where, and in which number format
    REPLICATE = "replicate"  # distinguishes trials that are otherwise equal


@dataclass(frozen=True)
class Axis:
    """One axis of a trial, declared in the annotation of a field of ``Trial``.

    Attributes:
        part: what the axis decides.
        label: short name for tables and plots.
        help: description in one sentence.
        default_text: default as shown in the help; empty if that is ``unset`` or the field's own default.
        unset: the value that None means; None if it means "does not apply" or "the library's choice".
        follows: name of the axis from which the default is computed by a factor; empty if there is none.
        inapplicable: error message if no trial of a grid can use a given value.
        computes: whether the axis can change computed values by more than rounding; if not, it changes only time and
            memory.
        multiple: whether a grid accepts a list of values.
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
