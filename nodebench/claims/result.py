"""What was found about a claim: results of its parts, of its conditions, and of the claim."""

import math
from dataclasses import dataclass, field

from nodebench.analysis.statistics import Estimate, Replicates
from nodebench.claims.contract import Claim, Control, Part
from nodebench.claims.gather import Sample
from nodebench.claims.outcome import Verdict, Why


@dataclass(frozen=True)
class PartResult:
    """One part of a claim under one condition.

    Attributes:
        part: its declaration.
        sample: the records that it rests on.
        estimate: with its interval; None where there is none.
        replicates: the numbers behind the estimate, with what is known of their error.
        verdict: by itself, before correction.
        why: why it is not decided; None if it is.
        p: the least overall error level at which it is decided; 1 if it is at none, 0 for an exact figure.
    """

    part: Part
    sample: Sample
    estimate: Estimate | None = None
    replicates: Replicates | None = field(default=None, repr=False)
    verdict: Verdict = Verdict.NOT_TESTED
    why: Why | None = None
    p: float = 1.0

    @property
    def is_exact(self) -> bool:
        """Whether the figure has no sampling error: its value is known, not estimated."""
        return self.replicates is not None and self.replicates.is_exact

    @property
    def number(self) -> str:
        """The estimate and its interval: ``1.2 × [1.1, 1.4]``; or ``0.49 × (exact)``."""
        if self.estimate is None:
            return "–"
        number, found = self.part.number, self.estimate
        value = f"{number(found.value)}{self.part.suffix}"
        if self.is_exact:
            return f"{value} (exact)"
        if math.isinf(found.low) and math.isinf(found.high):
            return f"{value} (no interval)"
        return f"{value} [{number(found.low)}, {number(found.high)}]"

    @property
    def words(self) -> str:
        """The effect in plain words, with the interval; empty if nothing was measured."""
        return self.part.words.format(self.number) if self.estimate else ""


@dataclass(frozen=True)
class ConditionResult:
    """One condition of a claim: one part, or several that hold or fail together.

    Attributes:
        label: the condition, for people.
        parts: their results.
        home: whether it is the source's own condition.
        verdict: after correction.
        why: why it is not decided; None if it is.
        p: the least overall error level at which it is decided by itself; 0 for an exact figure.
        p_corrected: after the corrections over the conditions of a universal claim and over all verdicts of a report.
    """

    label: str
    parts: tuple[PartResult, ...]
    home: bool
    verdict: Verdict
    why: Why | None = None
    p: float = 1.0
    p_corrected: float = 1.0

    @property
    def is_exact(self) -> bool:
        """Whether it rests on exact figures alone."""
        return all(result.is_exact for result in self.parts)

    @property
    def words(self) -> str:
        """What was measured, in plain words, with the condition before it."""
        measured = "; ".join(result.words for result in self.parts if result.words)
        return f"{self.label}: {measured}" if self.label and measured else measured or self.label

    @property
    def n(self) -> int:
        """The fewest replicates of its parts."""
        return min((result.estimate.n if result.estimate else 0 for result in self.parts), default=0)


@dataclass(frozen=True)
class CheckedControl:
    """A control and its outcome.

    Attributes:
        control: its declaration.
        results: of its parts.
    """

    control: Control
    results: tuple[PartResult, ...]

    @property
    def outcome(self) -> str:
        """``as expected``, ``not as expected``, ``unclear`` or ``not measured``."""
        verdicts = {result.verdict for result in self.results}
        if verdicts <= {Verdict.NOT_TESTED}:
            return "not measured"
        if Verdict.REFUTED in verdicts:
            return "not as expected"
        return "as expected" if verdicts == {Verdict.SUPPORTED} else "unclear"


@dataclass(frozen=True)
class ClaimResult:
    """What the records say about a claim.

    Attributes:
        claim: its declaration.
        verdict: on the whole claim.
        conditions: their results.
        controls: their outcomes.
        why: why it is not decided; None if it is.
        frozen: the date on which its declaration was frozen; None if it was not.
    """

    claim: Claim
    verdict: Verdict
    conditions: tuple[ConditionResult, ...] = ()
    controls: tuple[CheckedControl, ...] = ()
    why: Why | None = None
    frozen: str | None = None

    @property
    def results(self) -> tuple[PartResult, ...]:
        """The results of its parts under every condition."""
        return tuple(result for condition in self.conditions for result in condition.parts)

    @property
    def records(self) -> tuple[str, ...]:
        """The ids of the records behind it."""
        return tuple(dict.fromkeys(id for result in self.results for id in result.sample.records))

    @property
    def is_exact(self) -> bool:
        """Whether it rests on exact figures alone."""
        return bool(self.conditions) and all(condition.is_exact for condition in self.conditions)

    @property
    def headline(self) -> ConditionResult | None:
        """The condition to show where there is room for one."""
        return next(iter(self.shown), None)

    @property
    def shown(self) -> tuple[ConditionResult, ...]:
        """The conditions to show: one with the claim's verdict; of *depends*, one supported and one refuted.

        A home condition comes first; of *depends*, then those of the most replicates.
        """
        if self.verdict is not Verdict.DEPENDS:
            measured = [one for one in self.conditions if any(result.estimate for result in one.parts)]
            alike = [one for one in measured if one.verdict is self.verdict] or measured
            return tuple(sorted(alike, key=lambda one: not one.home)[:1])
        home_first = sorted(self.conditions, key=lambda one: (not one.home, -one.n))
        kinds = (Verdict.SUPPORTED, Verdict.REFUTED)
        firsts = (next((one for one in home_first if one.verdict is kind), None) for kind in kinds)
        return tuple(one for one in firsts if one)
