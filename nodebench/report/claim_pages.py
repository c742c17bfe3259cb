"""A page for each claim: what was said, what was measured, and what else could explain it."""

import math
from collections.abc import Collection, Mapping, Sequence

from nodebench.analysis.claims import Finding, Part, Verdict, Word
from nodebench.report.charts import forest
from nodebench.report.document import (
    Block,
    Bullets,
    Cell,
    Chart,
    Code,
    Folded,
    Heading,
    Links,
    Page,
    Paragraph,
    Table,
    Terms,
    number,
)


def claim_pages(verdicts: Sequence[Verdict], studies: Collection[str], published: Sequence[Verdict] = ()) -> list[Page]:
    """One page a claim, with all its scopes.

    Args:
        verdicts: of all claims.
        studies: those that have a page.
        published: the verdicts on the published records, where these stand beside others.
    """
    found: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        found.setdefault(verdict.claim.id, []).append(verdict)
    beside = {verdict.claim.name: verdict for verdict in published}
    return [_page(id, of_claim, studies, beside) for id, of_claim in found.items()]


def _page(id: str, verdicts: Sequence[Verdict], studies: Collection[str], beside: Mapping[str, Verdict]) -> Page:
    blocks: list[Block] = []
    for verdict in verdicts:
        blocks += _scope(verdict)
        if other := beside.get(verdict.claim.name):
            blocks += [Heading(f"{verdict.claim.scope.capitalize()} scope, published records"), _beside(other)]
    feeding = dict.fromkeys(name for verdict in verdicts for name in verdict.claim.studies if name in studies)
    if feeding:
        blocks += [Heading("Studies behind it"), Links([(f"study-{name}", name, "") for name in feeding])]
    mark = ", ".join(dict.fromkeys(verdict.word.value for verdict in verdicts))
    return Page(f"claim-{id}", id, verdicts[0].claim.sentence, blocks, "claims", mark)


def _scope(verdict: Verdict) -> list[Block]:
    claim = verdict.claim
    name = f"{claim.id}-{claim.scope}"
    blocks: list[Block] = [
        Heading(f"{claim.scope.capitalize()} scope: {verdict.word}"),
        Paragraph(sentence(verdict), strong=True),
        Terms(
            [
                ("The claim", claim.sentence),
                ("Source", f"{claim.source.paper}, {claim.source.place}. {claim.source.link}".strip()),
                ("Published", claim.published),
                ("Supported where", "; and ".join(dict.fromkeys(rule(part, part.supports) for part in claim.parts))),
                ("Refuted where", "; or ".join(dict.fromkeys(refutation(part) for part in claim.parts))),
                ("Failed trials", claim.failures),
                (
                    "p",
                    f"{p_text(verdict.p)}; corrected over the claims of its paper {p_text(verdict.p_corrected)}"
                    if verdict.word is not Word.NOT_TESTED
                    else "–",
                ),
            ]
        ),
    ]
    alike: dict[str, list[Finding]] = {}
    for finding in verdict.findings:
        alike.setdefault(finding.part.words, []).append(finding)
    for index, findings in enumerate(alike.values()):
        blocks += _forest(f"{name}-{index + 1}", findings, claim.published_value if index == 0 else None)
    if any(finding.estimate for finding in verdict.findings):
        blocks.append(_table(name, verdict))
    if verdict.controls:
        blocks += [Heading("Controls"), _controls(name, verdict)]
    if claim.traps:
        blocks += [Heading("What else could explain it"), Bullets(claim.traps)]
    if notes := list(dict.fromkeys(note for finding in verdict.findings for note in finding.sample.notes)):
        blocks += [Heading("Left out, refused or noticed"), Bullets([f"{note}." for note in notes])]
    blocks += [Heading("Reproduce it"), Code(claim.command)]
    if verdict.records:
        blocks.append(Folded(f"The {len(verdict.records)} records behind it", " ".join(verdict.records)))
    return blocks


def _beside(verdict: Verdict) -> Bullets:
    """What the published records say, with every condition."""
    told = [f"{f.told}; n = {f.estimate.n}: {f.word}." for f in verdict.findings if f.estimate]
    return Bullets([sentence(verdict), *(told if len(told) > 1 else [])])


def sentence(verdict: Verdict) -> str:
    """The verdict in plain words."""
    finding = verdict.deciding
    if verdict.word is Word.NOT_TESTED or finding is None or finding.estimate is None:
        return f"Not tested: {verdict.why}."
    alike = [f for f in verdict.findings if f.word is verdict.word]
    decided = verdict.word in (Word.SUPPORTED, Word.REFUTED)
    extreme = "the mildest" if verdict.word is Word.REFUTED else "the least certain"
    count = f", in {len(alike)} of {len(verdict.findings)} conditions, {extreme}" if decided and len(alike) > 1 else ""
    text = f"{verdict.word.capitalize()}{count}: {finding.told}; n = {finding.estimate.n}."
    return f"{text} {verdict.why.capitalize()}." if verdict.why else text


def p_text(p: float) -> str:
    """A p-value; below a thousandth its size says nothing."""
    return "< 0.001" if p < 0.001 else f"{p:.2g}"


def rule(part: Part, region: tuple[float, float]) -> str:
    """What must be seen of a part for its interval to lie in a region."""
    low, high = region
    number, unit = part.number, part.suffix
    if math.isinf(low):
        bounds = f"at or below {number(high)}{unit}"
    elif math.isinf(high):
        bounds = f"at or above {number(low)}{unit}"
    else:
        bounds = f"between {number(low)} and {number(high)}{unit}"
    return f"“{part.words.format('…')}”: the whole interval {bounds}"


def refutation(part: Part) -> str:
    """What must be seen of a part that does not hold."""
    return " or ".join(rule(part, region) for region in part.refuting)


def _forest(name: str, findings: Sequence[Finding], published: float | None) -> list[Block]:
    shown = [finding for finding in findings if finding.estimate]
    if not shown:
        return []
    part = shown[0].part
    values = [v for f in shown for v in (*f.sample.values.values(), f.estimate.value if f.estimate else 0)]
    ratio = part.scale == "log" and all(value > 0 for value in values)
    drawing = forest(f"claim-{name}", shown, published, ratio)
    n = {finding.estimate.n for finding in shown if finding.estimate}
    words = part.words.format("…")
    caption = (
        f"“{words[0].upper()}{words[1:]}”: estimate (dot; the mean below ten replicates, else the median) with its "
        f"95 % interval (bar) and each replicate (ticks); n = {_range(n)}."
    )
    alt = f"{words}. " + "; ".join(f"{f.sample.label or 'all'}: {f.number}, {f.word}" for f in shown) + "."
    rows = [(f.sample.label, seed, value) for f in shown for seed, value in f.sample.values.items()]
    return [Chart(f"claim-{name}", caption, alt, drawing, ("condition", "seed", part.reading.label), rows)]


def _range(numbers: set[int]) -> str:
    return f"{min(numbers)}" if len(numbers) == 1 else f"{min(numbers)} to {max(numbers)}"


def _table(name: str, verdict: Verdict) -> Table:
    rows = []
    for finding in verdict.findings:
        found = finding.estimate
        rows.append(
            [
                Cell(finding.part.words.format("…")),
                Cell(finding.sample.label or "–"),
                number(finding.number, found.value if found else None),
                number(str(found.n) if found else "0", found.n if found else 0),
                number(p_text(min(finding.p_supports, finding.p_refutes)), min(finding.p_supports, finding.p_refutes)),
                Cell(finding.word.value, kind="verdict"),
            ]
        )
    caption = f"Every condition of {verdict.claim.name}: estimate and 95 % interval over replicates"
    return Table(f"claim-{name}", caption, ("effect", "condition", "estimate", "n", "p", "before correction"), rows)


def _controls(name: str, verdict: Verdict) -> Table:
    rows = []
    for checked in verdict.controls:
        measured = "; ".join(
            f"{finding.told} (n = {finding.estimate.n})" for finding in checked.findings if finding.estimate
        )
        rows.append([Cell(checked.control.says), Cell(checked.outcome, kind="verdict"), Cell(measured or "–")])
    caption = f"Controls of {verdict.claim.name}: they change no verdict, but what it means"
    return Table(f"claim-{name}-controls", caption, ("expected", "outcome", "measured"), rows)
