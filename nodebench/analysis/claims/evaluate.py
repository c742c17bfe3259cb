"""The verdicts: one piece of code for every claim."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from nodebench.analysis.claims.contract import Claim, Control, Part
from nodebench.analysis.claims.gather import Evidence, Sample, samples
from nodebench.analysis.statistics import (
    LEVEL,
    Estimate,
    estimate,
    holm,
    p_outside,
    replicates_to_decide,
)
from nodebench.spec import Record
from nodebench.spec.calibration import Calibration
from nodebench.spec.figures import several

FEWEST = 5  # replicates, before any verdict


class Word(StrEnum):
    """How a claim, or a part of it, stands."""

    SUPPORTED = "supported"
    REFUTED = "refuted"
    INCONCLUSIVE = "inconclusive"
    NOT_TESTED = "not tested"


@dataclass(frozen=True)
class Finding:
    """A part of a claim under one condition.

    Attributes:
        p_supports, p_refutes: the least level of error at which the interval lies in the region of either.
        needed: replicates that would probably decide; None where more of the same would not.
    """

    part: Part
    sample: Sample
    estimate: Estimate | None = None
    p_supports: float = 1.0
    p_refutes: float = 1.0
    needed: int | None = None

    @property
    def word(self) -> Word:
        """How it stands by itself, without a correction for the others."""
        if self.estimate is None:
            return Word.NOT_TESTED
        if self.estimate.n < FEWEST:
            return Word.INCONCLUSIVE
        if self.p_supports < 1 - LEVEL:
            return Word.SUPPORTED
        return Word.REFUTED if self.p_refutes < 1 - LEVEL else Word.INCONCLUSIVE

    @property
    def number(self) -> str:
        """``1.2 × [1.1, 1.4]``: the estimate and its interval."""
        if self.estimate is None:
            return "–"
        number, found = self.part.number, self.estimate
        value = f"{number(found.value)}{self.part.suffix}"
        if found.n > 1 and len(set(self.sample.values.values())) == 1:
            return f"{value} (the same in all {found.n})"
        return f"{value} [{number(found.low)}, {number(found.high)}]"

    @property
    def words(self) -> str:
        """The effect in plain words, with the interval; empty where nothing was measured."""
        return self.part.words.format(self.number) if self.estimate else ""

    @property
    def told(self) -> str:
        """The words with their condition before them."""
        return f"{self.sample.label}: {self.words}" if self.sample.label else self.words


@dataclass(frozen=True)
class Checked:
    """A control and what became of it."""

    control: Control
    findings: tuple[Finding, ...]

    @property
    def outcome(self) -> str:
        """``holds``, ``does not hold``, ``unclear`` or ``not measured``."""
        words = {finding.word for finding in self.findings}
        if words <= {Word.NOT_TESTED}:
            return "not measured"
        if Word.REFUTED in words:
            return "does not hold"
        return "holds" if words == {Word.SUPPORTED} else "unclear"


@dataclass(frozen=True)
class Verdict:
    """What the records say about a claim.

    Attributes:
        deciding: the finding that stands for the verdict: the least certain one of a supported claim, the mildest of
            those that refute, and of any other claim the one that stands in its way.
        p, p_corrected: of the direction that the data lean to; corrected over the claims of its paper.
    """

    claim: Claim
    word: Word
    deciding: Finding | None
    findings: tuple[Finding, ...] = ()
    controls: tuple[Checked, ...] = ()
    p: float = 1.0
    p_corrected: float = 1.0
    why: str = field(default="")

    @property
    def is_tested(self) -> bool:
        """Whether enough was measured for a p-value, which is then one of its paper's."""
        counts = [finding.estimate.n for finding in self.findings if finding.estimate]
        return self.word is not Word.NOT_TESTED and max(counts, default=0) >= FEWEST

    @property
    def records(self) -> tuple[str, ...]:
        """The ids of every record behind it."""
        return tuple(dict.fromkeys(id for finding in self.findings for id in finding.sample.records))


def judge(
    claims: Sequence[Claim], records: Sequence[Record], calibrations: Sequence[Calibration] = ()
) -> list[Verdict]:
    """Put claims to the test over records; p-values are corrected over the claims of each paper.

    The order of the records does not matter. No interval of a ratio of times is narrower than the noise of its machine
    allows, as far as that was calibrated.
    """
    evidence = Evidence(records, calibrations)
    drafts = [_draft(claim, evidence) for claim in claims]
    corrected: dict[str, float] = {}
    for paper in dict.fromkeys(claim.source.paper for claim in claims):
        family = [draft for draft in drafts if draft.claim.source.paper == paper and draft.is_tested]
        adjusted = holm([draft.p for draft in family])
        corrected |= {draft.claim.name: p for draft, p in zip(family, adjusted, strict=True)}
    return [_settle(draft, corrected.get(draft.claim.name, 1.0)) for draft in drafts]


def _draft(claim: Claim, evidence: Evidence) -> Verdict:
    findings = tuple(found for part in claim.parts for found in _findings(part, claim, evidence))
    controls = tuple(Checked(c, tuple(_findings(c.part, claim, evidence))) for c in claim.controls)
    measured = [finding for finding in findings if finding.estimate is not None]
    if not measured:
        return Verdict(claim, Word.NOT_TESTED, None, findings, controls)
    enough = [finding for finding in measured if finding.estimate and finding.estimate.n >= FEWEST]
    # A condition that was not measured, or too seldom, stands in the way of support, not of refutation.
    untested = [part for part in claim.parts if not any(f.part is part for f in measured)]
    supports = max(finding.p_supports if finding in enough else 1.0 for finding in findings)
    refutes = min(holm([f.p_refutes for f in enough]), default=1.0)
    weakest = max(measured, key=lambda f: (f.p_supports if f in enough else 2.0, -f.p_refutes))
    if supports < 1 - LEVEL:
        return Verdict(claim, Word.SUPPORTED, weakest, findings, controls, supports)
    if refutes < 1 - LEVEL:
        adjusted = dict(zip(map(id, enough), holm([f.p_refutes for f in enough]), strict=True))
        mildest = min((f for f in enough if adjusted[id(f)] < 1 - LEVEL), key=_distance)
        return Verdict(claim, Word.REFUTED, mildest, findings, controls, refutes)
    if untested:
        return Verdict(claim, Word.NOT_TESTED, measured[0], findings, controls)
    return Verdict(claim, Word.INCONCLUSIVE, weakest, findings, controls, min(supports, refutes))


def _distance(finding: Finding) -> float:
    """How far an estimate lies from the values that would support it, in its own size."""
    assert finding.estimate is not None
    value, (low, high) = finding.estimate.value, finding.part.supports
    edge = low if value < low else high
    return abs(value - edge) / (abs(edge) or 1.0)


def _settle(draft: Verdict, corrected: float) -> Verdict:
    """The verdict after correction, and why it is none."""
    word, why = draft.word, ""
    if word is Word.NOT_TESTED:
        notes = dict.fromkeys(note for finding in draft.findings for note in finding.sample.notes)
        why = f"{'; '.join(notes)}. To test it: {draft.claim.command}"
    elif word in (Word.SUPPORTED, Word.REFUTED) and corrected >= 1 - LEVEL:
        word, why = Word.INCONCLUSIVE, "its p-value does not stand the correction over the claims of its paper"
    if word is Word.INCONCLUSIVE and not why:
        why = _why(draft)
    return Verdict(draft.claim, word, draft.deciding, draft.findings, draft.controls, draft.p, corrected, why)


def _why(draft: Verdict) -> str:
    finding = draft.deciding
    assert finding is not None
    assert finding.estimate is not None
    n = finding.estimate.n
    if missing := [other.sample.label for other in draft.findings if other.estimate is None]:
        return f"nothing could be measured of {'; '.join(missing)}"
    if n < FEWEST:
        return f"{several(n, 'replicate')}; {FEWEST} are the least for a verdict"
    if finding.needed is not None:
        return f"its interval crosses an edge; about {finding.needed} replicates would decide"
    return "the estimate lies between support and refutation, or at an edge: more replicates would not decide"


def _findings(part: Part, claim: Claim, evidence: Evidence) -> list[Finding]:
    found = samples(part, claim, evidence)
    return [_finding(part, sample, evidence.least_error(part, sample)) for sample in found]


def _cut(found: Estimate, within: tuple[float, float]) -> Estimate:
    """An estimate whose interval ends where no value can lie."""
    return Estimate(found.value, max(found.low, within[0]), min(found.high, within[1]), found.n)


def _finding(part: Part, sample: Sample, least_error: float) -> Finding:
    values = list(sample.values.values())
    if not values:
        return Finding(part, sample)
    scale = part.scale
    if scale == "log" and any(value <= 0 and math.isfinite(value) for value in values):
        scale = "linear"
    return Finding(
        part,
        sample,
        _cut(estimate(values, scale, part.reading.exact, least_error), part.within),
        p_outside(values, scale, [part.supports], part.reading.exact, least_error),
        p_outside(values, scale, part.refuting, part.reading.exact, least_error),
        replicates_to_decide(values, scale, [part.supports, *part.refuting], least_error),
    )
