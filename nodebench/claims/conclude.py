"""Combine the verdicts on the conditions of a claim into the verdict on the claim."""

from collections.abc import Sequence
from dataclasses import replace

from nodebench.analysis.statistics import ERROR
from nodebench.analysis.study_membership import is_at
from nodebench.claims.contract import Kind
from nodebench.claims.outcome import Verdict, Why, WhyCode
from nodebench.claims.result import ClaimResult, ConditionResult, PartResult
from nodebench.spec.trial import Scalar


def joint(label: str, results: Sequence[PartResult | None]) -> ConditionResult:
    """Combine the parts that hold or fail together into the result of one condition.

    The condition is supported if all parts are supported. It is refuted if one part is refuted at a p-value that is
    corrected for the number of parts.
    """
    present = tuple(result for result in results if result is not None)
    home = all(_is_home(result) for result in present)
    if len(present) == 1:
        only = present[0]
        return ConditionResult(label, present, home, only.verdict, only.why, only.p)
    verdicts = [result.verdict for result in present]
    refuting = [result.p for result in present if result.verdict is Verdict.REFUTED]
    if refuting and (p := min(1.0, len(present) * min(refuting))) < ERROR:
        return ConditionResult(label, present, home, Verdict.REFUTED, None, p)
    weakest = max(present, key=lambda result: (_WEAKNESS.index(result.verdict), result.p))
    verdict = weakest.verdict if weakest.verdict is not Verdict.REFUTED else Verdict.INCONCLUSIVE
    why = weakest.why or (
        Why(WhyCode.CORRECTED, "a part is refuted, but not after the correction for the number of parts")
        if not verdict.is_decided
        else None
    )
    p = max(result.p for result in present) if set(verdicts) == {verdict} else weakest.p
    return ConditionResult(label, present, home, verdict, why, p)


# From the strongest to the weakest verdict of a part. The weakest part limits the verdict on the condition.
_WEAKNESS = [Verdict.SUPPORTED, Verdict.PARTLY, Verdict.REFUTED, Verdict.INCONCLUSIVE, Verdict.NOT_TESTED]


def _is_home(result: PartResult) -> bool:
    home = result.part.home
    if home is None:
        return False
    arm: dict[str, Scalar | None] = {
        name: value for name, value in result.part.arm.where.items() if not isinstance(value, tuple)
    }
    return is_at(arm | result.sample.condition, home)


def conclude(draft: ClaimResult, frozen: str | None) -> ClaimResult:
    """Return the draft with its verdict, derived from its corrected conditions by the rule for the claim's kind."""
    rule = _universal if draft.claim.kind in (Kind.UNIVERSAL, Kind.IDENTITY) else _conditional
    verdict, why = rule(draft.conditions)
    return replace(draft, verdict=verdict, why=why, frozen=frozen)


Conclusion = tuple[Verdict, Why | None]


def _universal(conditions: Sequence[ConditionResult]) -> Conclusion:
    """One refuted condition refutes the claim; support needs every condition."""
    verdicts = [condition.verdict for condition in conditions]
    if Verdict.REFUTED in verdicts:
        return Verdict.REFUTED, None
    if set(verdicts) <= {Verdict.NOT_TESTED}:
        return Verdict.NOT_TESTED, _first_why(conditions)
    if all(verdict.is_decided for verdict in verdicts):
        return (Verdict.PARTLY if Verdict.PARTLY in verdicts else Verdict.SUPPORTED), None
    still = [condition for condition in conditions if not condition.verdict.is_decided]
    labels = "; ".join(condition.label or "its only condition" for condition in still)
    return Verdict.INCONCLUSIVE, Why(WhyCode.CONDITIONS_OPEN, f"not decided: {labels}")


def _conditional(conditions: Sequence[ConditionResult]) -> Conclusion:
    """Supported or refuted if every home condition is decided and all decided conditions agree."""
    decided = {condition.verdict for condition in conditions if condition.verdict.is_decided}
    if {Verdict.SUPPORTED, Verdict.REFUTED} <= decided:
        return Verdict.DEPENDS, None
    if not decided:
        tested = [condition for condition in conditions if condition.verdict is not Verdict.NOT_TESTED]
        verdict = Verdict.INCONCLUSIVE if tested else Verdict.NOT_TESTED
        return verdict, _first_why(tested or conditions)
    home = [condition for condition in conditions if condition.home]
    still = [condition for condition in home if not condition.verdict.is_decided]
    if still or not home:
        return Verdict.INCONCLUSIVE, Why(WhyCode.HOME_OPEN, _home_open(home, still))
    return (Verdict.PARTLY if Verdict.PARTLY in decided else next(iter(decided))), None


def _home_open(home: Sequence[ConditionResult], still: Sequence[ConditionResult]) -> str:
    """Say which home conditions are not decided."""
    if not home:
        return "none of its conditions is a home condition"
    if len(home) == 1:
        why = home[0].why
        return "the home condition is not decided" + (f": {why.message}" if why else "")
    labels = "; ".join(condition.label for condition in still)
    return f"not decided: {len(still)} of {len(home)} home conditions ({labels})"


def _first_why(conditions: Sequence[ConditionResult]) -> Why:
    return next((one.why for one in conditions if one.why), Why(WhyCode.NO_RECORDS, "not measured"))
