"""Describe results in words, for the terminal, the report and the README."""

import math
import re
from collections.abc import Sequence

from nodebench.claims.contract import Gate, Part
from nodebench.claims.outcome import Verdict
from nodebench.claims.result import ClaimResult, ConditionResult
from nodebench.spec.metrics import metric, several

_ORDER = (Verdict.SUPPORTED, Verdict.PARTLY, Verdict.REFUTED, Verdict.INCONCLUSIVE, Verdict.NOT_TESTED)
_NAMED = 3  # conditions named in a line
_ABBREVIATIONS = {"mnist": "MNIST", "ecg": "ECG", "aca": "ACA", "rtol": "rtol", "atol": "atol"}


def verdict_line(result: ClaimResult) -> str:
    """Count conditions by verdict, the claim's own verdict first: ``refuted in 1 of 3 conditions; supported …``."""
    conditions = result.conditions
    if result.verdict is Verdict.NOT_TESTED or not conditions:
        return f"not tested: {result.why.message}" if result.why else "not tested"
    if len(conditions) == 1:
        return result.verdict.value
    groups = {verdict: [one for one in conditions if one.verdict is verdict] for verdict in _ORDER}
    named = sorted((verdict for verdict in groups if groups[verdict]), key=lambda one: one is not result.verdict)
    return "; ".join(_group(verdict, groups[verdict], len(conditions)) for verdict in named)


def _group(verdict: Verdict, found: Sequence[ConditionResult], total: int) -> str:
    every = "both conditions" if total == 2 else f"all {total} conditions"
    where = f"in {every}" if len(found) == total else f"in {len(found)} of {several(total, 'condition')}"
    labels = [one.label for one in found if one.label]
    named = f" ({'; '.join(labels)})" if labels and len(found) < total and len(labels) <= _NAMED else ""
    return f"{verdict} {where}{named}"


def measured(result: ClaimResult) -> str:
    """Describe what was measured in the conditions to show; see ``ClaimResult.shown``.

    The number of replicates is left out for an exact metric, since all replicates agree.
    """
    return ". ".join(opening(one.words if one.is_exact else f"{one.words}; n = {one.n}") for one in result.shown)


def opening(text: str) -> str:
    """Capitalize the first word of a text; known abbreviations get their usual spelling."""
    word = re.split(r"\W", text, maxsplit=1)[0]
    return _ABBREVIATIONS.get(word, word[:1].upper() + word[1:]) + text[len(word) :]


def explanation(result: ClaimResult) -> str:
    """Return why the shown condition, or else the claim, is not decided; empty if the claim is decided."""
    if result.verdict.is_decided:
        return ""
    why = result.headline.why if result.headline and result.headline.why else result.why
    return why.message if why else ""


def p_text(p: float) -> str:
    """Format a p-value; values below 0.001 are shown as ``< 0.001``."""
    return "< 0.001" if p < 0.001 else f"{p:.2g}"


def rule(part: Part, regions: Sequence[tuple[float, float]]) -> str:
    """Describe where the whole interval of a part must lie to be inside one of the regions."""
    return f"“{part.words.format('…')}”: {_either(part, regions)}"


def competence(gate: Gate) -> str:
    """Which networks a claim is judged on."""
    asked = []
    if math.isfinite(gate.still_falling):
        asked.append(
            f"whose training loss falls by at most {100 * gate.still_falling:g} % in the last tenth of training, "
            f"or by at most {100 * gate.negligible:g} % of the loss of the first epoch"
        )
    if gate.limit is not None:
        asked.append(f"whose {gate.metric.label} is at most {metric(gate.metric.metric).format(gate.limit)}")
    elif gate.baseline:
        asked.append(f"whose {gate.metric.label} is no worse than that of the {gate.baseline.name}")
    return f"networks {', and '.join(asked)} (means over the replicates of an arm)"


def edges(part: Part) -> str:
    """Describe the regions that decide a part: ``support: at most 0.75 ×; refutation: at least 1 ×``."""
    sides = {"support": [part.supports], "refutation": part.regions.refuting}
    return "; ".join(f"{name}: {_either(part, some)}" for name, some in sides.items())


def _either(part: Part, regions: Sequence[tuple[float, float]]) -> str:
    return " or ".join(_bounds(part, one) for one in regions)


def _bounds(part: Part, region: tuple[float, float]) -> str:
    """Describe a region. An edge that the region has in common with the supporting one belongs to the latter."""
    low, high = region
    number, unit = part.number, part.suffix
    if math.isinf(low):
        return f"{'less than' if high == part.supports[0] else 'at most'} {number(high)}{unit}"
    if math.isinf(high):
        return f"{'more than' if low == part.supports[1] else 'at least'} {number(low)}{unit}"
    return f"between {number(low)} and {number(high)}{unit}"
