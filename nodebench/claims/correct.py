"""The correction of p-values over all verdicts of a report."""

from collections.abc import Sequence
from dataclasses import replace

from nodebench.analysis.statistics import ERROR, benjamini_hochberg
from nodebench.claims.contract import Kind
from nodebench.claims.outcome import Verdict, Why, WhyCode
from nodebench.claims.result import ClaimResult, ConditionResult


def corrected(drafts: Sequence[ClaimResult]) -> list[ClaimResult]:
    """Correct the p-values of all conditions together by Benjamini and Hochberg's method.

    Exact metrics, identities and conditions that were not tested are not counted. The p-values of a claim that tests
    the same effect as another claim on the same records, with other thresholds (``Claim.counts_with``), are corrected,
    but do not add to the number of tests.
    """
    counted = [_tested(draft) for draft in drafts if draft.claim.counts_with is None]
    family = [condition.p for conditions in counted for condition in conditions]
    adjusted = iter(benjamini_hochberg(family) if family else [])
    of_family = {id(condition): next(adjusted) for conditions in counted for condition in conditions}
    found = []
    for draft in drafts:
        tested = {id(one) for one in _tested(draft)}
        conditions = [
            _settled(one, of_family.get(id(one)) or _as_another(family, one.p)) if id(one) in tested else one
            for one in draft.conditions
        ]
        found.append(replace(draft, conditions=tuple(conditions)))
    return found


def _tested(draft: ClaimResult) -> list[ConditionResult]:
    """The conditions whose verdict depends on chance."""
    if draft.claim.kind is Kind.IDENTITY:
        return []
    return [one for one in draft.conditions if one.verdict is not Verdict.NOT_TESTED and not one.is_exact]


def _as_another(family: Sequence[float], p: float) -> float:
    """Correct a p-value as if it were one more member of the family."""
    return benjamini_hochberg([*family, p])[-1]


def _settled(condition: ConditionResult, p: float) -> ConditionResult:
    """The condition after correction: undecided if its p-value is no longer small enough."""
    if not condition.verdict.is_decided or p < ERROR:
        return replace(condition, p_corrected=p)
    why = Why(WhyCode.CORRECTED, "decided before the correction for multiple tests, but not after it")
    return replace(condition, verdict=Verdict.INCONCLUSIVE, why=why, p_corrected=p)
