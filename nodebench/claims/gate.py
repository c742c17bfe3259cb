"""The competence gate: an accuracy claim is not judged on networks that cannot do their task."""

import math
from collections.abc import Sequence
from statistics import fmean

from nodebench.analysis.fairness import Point
from nodebench.claims.contract import Arm, Claim, Gate, Part
from nodebench.claims.gather import Evidence, Sample
from nodebench.claims.outcome import Why, WhyCode
from nodebench.spec import Record, Status


def incompetent(part: Part, claim: Claim, sample: Sample, evidence: Evidence) -> Why | None:
    """Return the reason not to judge a sample; None if its networks are competent or the claim has no gate."""
    gate = claim.gate
    if gate is None or not sample.values:
        return None
    for arm, points in zip(part.arms, sample.points, strict=True):
        why = _too_bad(gate, arm, points, claim, evidence) or _unfinished(gate, arm, points)
        if why:
            return why
    return None


def _too_bad(gate: Gate, arm: Arm, points: Sequence[Point], claim: Claim, evidence: Evidence) -> Why | None:
    error = _mean(gate, points)
    if gate.baseline is None and gate.limit is None:
        return None
    if gate.baseline is None:
        limit, name = gate.limit, "the limit"
    else:
        data = {point.record.data.name for point in points if point.record.data}
        alike = [p for p in evidence.of(gate.baseline, claim) if p.record.data and p.record.data.name in data]
        limit, name = _mean(gate, alike), f"the {gate.baseline.name}"
        if limit is None:
            return Why(WhyCode.NO_BASELINE, f"no record of {name}, the baseline for {arm.name}")
    if error is None or limit is None or error > limit:
        shown = "unknown" if error is None else f"{error:.3g}"
        return Why(WhyCode.INCOMPETENT, f"{arm.name} has {gate.metric.label} {shown}, worse than {name} ({limit:.3g})")
    return None


def _mean(gate: Gate, points: Sequence[Point]) -> float | None:
    values = [gate.metric.get(point.record) for point in points if point.record.status is Status.OK]
    known = [value for value in values if value is not None and math.isfinite(value)]
    return fmean(known) if known else None


def _unfinished(gate: Gate, arm: Arm, points: Sequence[Point]) -> Why | None:
    falls = [fall for point in points if (fall := fall_at_the_end(point.record)) is not None]
    if not falls:
        return None
    of_itself, of_first = (fmean(parts) for parts in zip(*falls, strict=True))
    if of_itself <= gate.still_falling or of_first <= gate.negligible:
        return None
    message = (
        f"the training loss of {arm.name} still fell by {100 * of_itself:.2g} % in the last tenth of the training "
        f"(limit {100 * gate.still_falling:g} %)"
    )
    return Why(WhyCode.STILL_TRAINING, message)


def fall_at_the_end(record: Record) -> tuple[float, float] | None:
    """Return the decrease of the training loss over the last tenth of the epochs (at least one); None if unknown.

    The mean loss of the last tenth of the epochs is compared with that of the tenth before, to average out noise.

    Returns:
        tuple: the decrease as a share of the mean loss of the tenth before, and of the loss of the first epoch.
    """
    losses = [loss for row in record.history if (loss := row.get("loss")) is not None]
    tenth = max(1, round(len(losses) / 10))
    if len(losses) < 2 * tenth:
        return None
    before, last = fmean(losses[-2 * tenth : -tenth]), fmean(losses[-tenth:])
    return ((before - last) / abs(before), (before - last) / abs(losses[0])) if before and losses[0] else None
