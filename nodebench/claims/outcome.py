"""Verdicts, reasons for undecided verdicts, and notes on records."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What the records say about a claim, or about one of its conditions."""

    SUPPORTED = "supported"
    REFUTED = "refuted"
    DEPENDS = "depends"  # some conditions support it, others refute it
    PARTLY = "partly"  # the whole interval lies between the regions of support and refutation
    INCONCLUSIVE = "inconclusive"
    NOT_TESTED = "not tested"

    @property
    def is_decided(self) -> bool:
        """Whether the verdict is neither inconclusive nor not tested."""
        return self not in (Verdict.INCONCLUSIVE, Verdict.NOT_TESTED)


class WhyCode(StrEnum):
    """Why a condition or a claim is not decided."""

    NO_RECORDS = "no-records"  # there are no usable records
    INCOMPETENT = "incompetent"  # a network is worse than the plain baseline
    STILL_TRAINING = "still-training"  # the training loss was still falling
    NO_BASELINE = "no-baseline"  # the baseline that defines competence has no records
    TOO_FEW = "too-few"  # fewer replicates than the first planned look
    OVERLAPS = "overlaps"  # the interval overlaps a threshold
    CORRECTED = "corrected"  # decided before the correction for multiple tests, but not after it
    HOME_OPEN = "home-open"  # a home condition is not decided
    CONDITIONS_OPEN = "conditions-open"  # some condition of a universal claim is not decided
    BROKEN = "broken"  # the code of another package's claim failed


@dataclass(frozen=True)
class Why:
    """Why a claim or a condition is not decided.

    Attributes:
        code: for programs.
        message: for people.
    """

    code: WhyCode
    message: str


@dataclass(frozen=True)
class Note:
    """What was left out, refused or noticed while a sample was made.

    Attributes:
        message: what happened, as a sentence without its full stop.
        count: how many records or replicates it is about.
    """

    message: str
    count: int = 1

    def __str__(self) -> str:
        return self.message if self.count == 1 else f"{self.count} × {self.message}"
