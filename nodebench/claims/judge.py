"""Compute verdicts by the same procedure for every claim.

Each part is judged under each condition at the planned looks (``nodebench.analysis.sequential``). The p-values of a
universal claim are corrected over its conditions (Holm 1979), and then those of all conditions of a report together
(Benjamini and Hochberg 1995). Exact metrics and identities are excluded from the corrections.
"""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace

from nodebench.analysis.sequential import LOOKS, look_interval, p_inside
from nodebench.analysis.statistics import ERROR, Estimate, Range, Replicates, Scale, holm, interval
from nodebench.claims.conclude import conclude, joint
from nodebench.claims.contract import Claim, Kind, Part
from nodebench.claims.correct import corrected
from nodebench.claims.freeze import Frozen
from nodebench.claims.gate import incompetent
from nodebench.claims.gather import Evidence, Sample, samples
from nodebench.claims.outcome import Verdict, Why, WhyCode
from nodebench.claims.registry import CLAIMS
from nodebench.claims.result import CheckedControl, ClaimResult, ConditionResult, PartResult
from nodebench.claims.words import edges
from nodebench.plugins import PluginWarning, one_line
from nodebench.spec import Record
from nodebench.spec.calibration import Calibration
from nodebench.spec.metrics import several

CONFIRMED = 2  # processes that must agree on an exact metric


def judge(
    claims: Sequence[Claim],
    records: Iterable[Record],
    calibrations: Sequence[Calibration] = (),
    frozen: Frozen | None = None,
) -> list[ClaimResult]:
    """Judge claims by records.

    Args:
        claims: those of one report, whose p-values are corrected together.
        records: in any order.
        calibrations: of the machines. Their noise is a lower bound on the error of a ratio of times that were not
            interleaved.
        frozen: the frozen declarations; they say which records belong to which claim.
    """
    frozen = frozen or Frozen()
    evidence = Evidence(records, calibrations, frozen.contents)
    drafts = [_draft_of_any(claim, evidence) for claim in claims]
    return [
        draft if draft.why else conclude(draft, frozen.date(draft.claim))  # keep a claim whose code failed
        for draft in corrected(drafts)
    ]


def _draft_of_any(claim: Claim, evidence: Evidence) -> ClaimResult:
    """Judge the conditions of a claim; if the code of another package's claim fails, return no conditions."""
    if claim in CLAIMS:
        return _draft(claim, evidence)
    try:
        return _draft(claim, evidence)
    except Exception as error:
        message = f"claim {claim.name} is not judged: its code failed: {one_line(error)}"
        warnings.warn(message, PluginWarning, stacklevel=2)
        return ClaimResult(claim, Verdict.NOT_TESTED, why=Why(WhyCode.BROKEN, message))


def _draft(claim: Claim, evidence: Evidence) -> ClaimResult:
    """Judge each condition of a claim separately; correct the p-values of a universal claim over its conditions."""
    conditions = [condition for parts in _groups(claim) for condition in _conditions(parts, claim, evidence)]
    if claim.kind is Kind.UNIVERSAL:
        adjusted = iter(holm([condition.p for condition in conditions if not condition.is_exact]))
        conditions = [one if one.is_exact else replace(one, p=next(adjusted)) for one in conditions]
    controls = tuple(
        CheckedControl(control, tuple(_results(control.part, claim, evidence, gated=False)))
        for control in claim.controls
    )
    return ClaimResult(claim, Verdict.NOT_TESTED, tuple(conditions), controls)


def _groups(claim: Claim) -> list[tuple[Part, ...]]:
    """Group the parts of a claim that hold or fail together; any other part is a group of its own."""
    groups: dict[str, list[Part]] = {}
    for index, part in enumerate(claim.parts):
        groups.setdefault(part.joint or f"#{index}", []).append(part)
    return [tuple(parts) for parts in groups.values()]


def _conditions(parts: tuple[Part, ...], claim: Claim, evidence: Evidence) -> list[ConditionResult]:
    """Return one result per condition of a group of parts; a part without conditions counts for all conditions."""
    found = [_results(part, claim, evidence) for part in parts]
    labels = list(dict.fromkeys(result.sample.label for results in found for result in results))
    named = [label for label in labels if label] or labels
    return [
        joint(label, [next((r for r in results if r.sample.label in (label, "")), None) for results in found])
        for label in named
    ]


def _results(part: Part, claim: Claim, evidence: Evidence, gated: bool = True) -> list[PartResult]:
    return [_result(part, claim, sample, evidence, gated) for sample in samples(part, claim, evidence)]


def _result(part: Part, claim: Claim, sample: Sample, evidence: Evidence, gated: bool) -> PartResult:
    if not sample.values:
        notes = sorted(sample.notes, key=lambda note: -note.count)
        messages = [str(note) for note in notes] or ["not measured"]
        return PartResult(part, sample, why=Why(WhyCode.NO_RECORDS, "; ".join(messages)))
    if gated and (why := incompetent(part, claim, sample, evidence)):
        return PartResult(part, sample, why=why)
    replicates = replicates_of(part, sample, evidence)
    result = PartResult(part, sample, _cut(_shown(replicates), part.within), replicates)
    least = CONFIRMED if replicates.is_exact else LOOKS[0]
    if replicates.n < least:
        why = Why(WhyCode.TOO_FEW, f"{several(replicates.n, 'replicate')}; at least {least} needed")
        return replace(result, verdict=Verdict.INCONCLUSIVE, why=why)
    levels = {outcome: p_inside(replicates, ranges) for outcome, ranges in part.regions.ranges.items() if ranges}
    outcome, p = min(levels.items(), key=lambda item: item[1])
    if p < ERROR:
        return replace(result, verdict=Verdict(outcome), p=p)
    why = Why(WhyCode.OVERLAPS, f"the interval overlaps a threshold ({edges(part)})")
    return replace(result, verdict=Verdict.INCONCLUSIVE, why=why, p=p)


def _cut(found: Estimate, within: Range) -> Estimate:
    """Clip the interval of an estimate to the range of possible values."""
    return replace(found, low=max(found.low, within[0]), high=min(found.high, within[1]))


def replicates_of(part: Part, sample: Sample, evidence: Evidence) -> Replicates:
    """Return the values of a sample in the order of their seeds, with the known sources of their error."""
    values = tuple(sample.values[seed] for seed in sorted(sample.values))
    scale: Scale = "linear" if part.scale == "log" and any(value <= 0 for value in values) else part.scale
    return Replicates(
        values,
        scale,
        exact=part.reading.exact,
        least_error=evidence.least_error(part, sample),
        shared_error=sample.test_set_error,
        resolution=sample.resolution,
    )


def _shown(replicates: Replicates) -> Estimate:
    """Return the interval of the last planned look reached; before the first look, one without correction for looks."""
    return look_interval(replicates) or interval(replicates)
