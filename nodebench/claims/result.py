"""Results of a claim, of its conditions and of its parts."""

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime

from nodebench.analysis.statistics import Estimate, Replicates
from nodebench.claims.contract import Claim, Control, Part
from nodebench.claims.gather import Sample
from nodebench.claims.outcome import Verdict, Why
from nodebench.spec.metrics import several


@dataclass(frozen=True)
class PartResult:
    """The result of one part of a claim under one condition.

    Attributes:
        part: its declaration.
        sample: the measurements behind it.
        estimate: with its interval; None if nothing was measured, or if the networks are not competent.
        replicates: the values behind the estimate, with the known sources of their error.
        verdict: before the correction for multiple tests.
        why: why it is not decided; None if it is.
        p: the smallest overall error level at which the part is decided; 1 if there is none, 0 for an exact metric.
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
        """Whether the metric has no sampling error: its value is known, not estimated."""
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
    """The result of one condition of a claim: of one part, or of several that hold or fail together.

    Attributes:
        label: the condition, for people.
        parts: their results.
        home: whether it is the source's own condition.
        verdict: after correction.
        why: why it is not decided; None if it is.
        p: the smallest overall error level at which the condition alone is decided; 0 for an exact metric.
        p_corrected: ``p`` after the corrections over the conditions of a universal claim and over all verdicts of a
            report.
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
        """Whether all its metrics are exact."""
        return all(result.is_exact for result in self.parts)

    @property
    def words(self) -> str:
        """What was measured, in plain words, with the condition before it."""
        measured = "; ".join(result.words for result in self.parts if result.words)
        return f"{self.label}: {measured}" if self.label and measured else measured or self.label

    @property
    def headline_part(self) -> PartResult | None:
        """The measured part to show if only one can be: the first with the verdict of the condition, else the first."""
        measured = [one for one in self.parts if one.estimate]
        return next((one for one in measured if one.verdict is self.verdict), next(iter(measured), None))

    @property
    def n(self) -> int:
        """The smallest number of replicates of any of its parts."""
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
    """The verdict on a claim, with the results behind it.

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
    def older(self) -> int:
        """How many of these records were made before the declaration was frozen; 0 if it was not."""
        if self.frozen is None:
            return 0
        date = datetime.fromisoformat(self.frozen)
        made = {p.record.id: p.record.started for one in self.results for side in one.sample.points for p in side}
        return sum(datetime.fromisoformat(started).replace(tzinfo=UTC) < date for started in made.values())

    @property
    def declared(self) -> str:
        """When its declaration was last changed, and whether its records are older."""
        if self.frozen is None:
            return "not frozen"
        older = f"; {self.older} of its {several(len(self.records), 'record')} are older" if self.records else ""
        return f"last changed on {self.frozen[:10]}{older}"

    @property
    def is_exact(self) -> bool:
        """Whether all its metrics are exact."""
        return bool(self.conditions) and all(condition.is_exact for condition in self.conditions)

    @property
    def headline(self) -> ConditionResult | None:
        """The condition to show if only one can be: one with the claim's verdict, if it is shown."""
        return next((one for one in self.shown if one.verdict is self.verdict), next(iter(self.shown), None))

    @property
    def shown(self) -> tuple[ConditionResult, ...]:
        """The conditions to show: one with the claim's verdict, or for *depends* one supported and one refuted.

        Home conditions are preferred; for *depends*, then conditions with the most replicates. If a claim is *partly*
        true although a home condition has another verdict, this home condition is shown first.
        """
        if self.verdict is not Verdict.DEPENDS:
            measured = [one for one in self.conditions if any(result.estimate for result in one.parts)]
            alike = [one for one in measured if one.verdict is self.verdict] or measured
            first = sorted(alike, key=lambda one: not one.home)[:1]
            if self.verdict is Verdict.PARTLY and not any(one.home for one in first):
                first = [one for one in measured if one.home and one.verdict.is_decided][:1] + first
            return tuple(first)
        home_first = sorted(self.conditions, key=lambda one: (not one.home, -one.n))
        kinds = (Verdict.SUPPORTED, Verdict.REFUTED)
        firsts = (next((one for one in home_first if one.verdict is kind), None) for kind in kinds)
        return tuple(one for one in firsts if one)
