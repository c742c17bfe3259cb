"""The words for a verdict, and the typed reasons behind one."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What the records say about a claim, or about one of its conditions."""

    SUPPORTED = "supported"
    REFUTED = "refuted"
    DEPENDS = "depends"  # some conditions support it, others refute it
    PARTLY = "partly"  # the estimate is, with its interval, between support and refutation
    INCONCLUSIVE = "inconclusive"
    NOT_TESTED = "not tested"

    @property
    def is_decided(self) -> bool:
        """Whether the records decide."""
        return self not in (Verdict.INCONCLUSIVE, Verdict.NOT_TESTED)


class WhyCode(StrEnum):
    """Why a condition or a claim is not decided."""

    NO_RECORDS = "no-records"  # nothing that may be used was measured
    INCOMPETENT = "incompetent"  # a network is worse than the plain baseline
    STILL_TRAINING = "still-training"  # the training loss was still falling
    NO_BASELINE = "no-baseline"  # competence cannot be judged
    TOO_FEW = "too-few"  # fewer replicates than the first planned look
    OVERLAPS = "overlaps"  # the interval is in no region
    CORRECTED = "corrected"  # decided by itself, not after the correction for the number of verdicts
    HOME_OPEN = "home-open"  # the home condition is not decided
    CONDITIONS_OPEN = "conditions-open"  # some condition of a universal claim is not decided
    BROKEN = "broken"  # the code of another package's claim failed


@dataclass(frozen=True)
class Why:
    """Why something is not decided.

    Attributes:
        code: for programs.
        message: for people.
    """

    code: WhyCode
    message: str


class NoteCode(StrEnum):
    """What happened to records on their way into a sample."""

    NO_OUTCOME = "no-outcome"  # the trial failed for a reason that is not its method's
    UNRELIABLE = "unreliable"  # the figures may not be used
    OTHER_SETTING = "other-setting"  # measured with other settings than the arms compared
    OTHER_DATA = "other-data"  # the arms saw other data
    ARMS_DIFFER = "arms-differ"  # the arms differ in more than what is tested
    NO_ARM = "no-arm"  # one arm has no record
    UNPAIRED = "unpaired"  # a replicate lacks one arm
    REPEATED = "repeated"  # a trial was measured more than once
    NO_VALUE = "no-value"  # a record does not have the reading
    SEVERAL_COMMITS = "several-commits"  # records come from several commits of the code


@dataclass(frozen=True)
class Note:
    """What was left out, refused or noticed while a sample was made.

    Attributes:
        code: for programs.
        message: for people.
        count: how many records or replicates it is about.
    """

    code: NoteCode
    message: str
    count: int = 1

    def __str__(self) -> str:
        return self.message if self.count == 1 else f"{self.count} × {self.message}"
