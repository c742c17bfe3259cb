"""One page per claim: the published claim, the measurements, and other possible explanations."""

from collections.abc import Collection, Mapping, Sequence

from nodebench.analysis.sequential import LOOKS
from nodebench.claims import ClaimResult, Kind, PartResult
from nodebench.claims.amendments import Amendment
from nodebench.claims.words import competence, explanation, measured, p_text, rule, verdict_line
from nodebench.reporting.document import (
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
from nodebench.reporting.forest import forest

_KINDS = {
    Kind.UNIVERSAL: "universal: one refuted condition refutes the claim; supported only if all conditions are",
    Kind.CONDITIONAL: "conditional: each condition has a verdict. If one is supported and another refuted, the verdict "
    "is “depends”; otherwise every home condition must be decided",
    Kind.IDENTITY: "identity: an exact identity or theorem that checks the instruments; not counted among the verdicts",
}
_READ = {
    "text": "",
    "abstract": " (read in the abstract)",
    "reported": " (quoted from another report; the original text was not available)",
}


def claim_pages(
    results: Sequence[ClaimResult],
    studies: Collection[str],
    amendments: Sequence[Amendment] = (),
    published: Sequence[ClaimResult] = (),
) -> list[Page]:
    """Return one page per claim, with all its scopes.

    Args:
        results: of all claims.
        studies: those that have a page.
        amendments: of all declarations.
        published: the results from the published records, if they are shown next to the others.
    """
    found: dict[str, list[ClaimResult]] = {}
    for result in results:
        found.setdefault(result.claim.id, []).append(result)
    beside = {result.claim.name: result for result in published}
    return [_page(id, of_claim, studies, amendments, beside) for id, of_claim in found.items()]


def _page(
    id: str,
    results: Sequence[ClaimResult],
    studies: Collection[str],
    amendments: Sequence[Amendment],
    beside: Mapping[str, ClaimResult],
) -> Page:
    blocks: list[Block] = []
    for result in results:
        blocks += _scope(result, [one for one in amendments if one.claim == result.claim.name])
        if other := beside.get(result.claim.name):
            title = Heading(f"{result.claim.scope.capitalize()} scope, published records")
            blocks += [title, Paragraph(sentence(other)), _conditions(f"{other.claim.id}-published", other)]
    feeding = dict.fromkeys(name for result in results for name in result.claim.studies if name in studies)
    if feeding:
        blocks += [Heading("Studies used"), Links([(f"study-{name}", name, "") for name in feeding])]
    mark = ", ".join(dict.fromkeys(result.verdict.value for result in results))
    return Page(f"claim-{id}", id, results[0].claim.sentence, blocks, "claims", mark)


def _scope(result: ClaimResult, amendments: Sequence[Amendment]) -> list[Block]:
    claim = result.claim
    name = f"{claim.id}-{claim.scope}"
    blocks: list[Block] = [
        Heading(f"{claim.scope.capitalize()} scope: {result.verdict}"),
        Paragraph(sentence(result), strong=True),
        Terms(_terms(result)),
    ]
    alike: dict[str, list[PartResult]] = {}
    for one in result.results:
        alike.setdefault(one.part.words, []).append(one)
    for index, results in enumerate(alike.values()):
        blocks += _forest(f"{name}-{index + 1}", results, claim.published_value if index == 0 else None)
    if any(one.estimate for one in result.results):
        blocks.append(_conditions(name, result))
    if result.controls:
        blocks += [Heading("Controls"), _controls(name, result)]
    if claim.fairness:
        blocks += [Heading("Setup"), Paragraph(claim.fairness)]
    if claim.traps:
        blocks += [Heading("Other possible explanations"), Bullets(claim.traps)]
    if notes := list(dict.fromkeys(str(note) for one in result.results for note in one.sample.notes)):
        blocks += [Heading("Records left out, and why"), Bullets([f"{note}." for note in notes])]
    if amendments:
        blocks += [Heading("Amendments"), Bullets([f"{a.date[:10]}, {a.what}: {a.reason}" for a in amendments])]
    blocks += [Heading("Reproduce it"), Code(claim.command)]
    if result.records:
        blocks.append(Folded(f"The {len(result.records)} records used", " ".join(result.records)))
    return blocks


_ANY_DEVICE = "records of the CPU or of an accelerator; the networks of one replicate are trained on one machine"


def _terms(result: ClaimResult) -> list[tuple[str, str]]:
    claim, source = result.claim, result.claim.source
    quote = f"“{source.quote}”, " if source.quote else ""
    return [
        ("The claim", claim.sentence),
        ("Source", f"{quote}{source.paper}, {source.place}{_READ[source.read]}. {source.link}".strip()),
        ("Published", claim.published),
        ("Home condition", claim.home),
        ("Kind", _KINDS[claim.kind]),
        ("Supported if", "; and ".join(dict.fromkeys(rule(part, [part.supports]) for part in claim.parts))),
        ("Refuted if", "; or ".join(dict.fromkeys(rule(part, part.regions.refuting) for part in claim.parts))),
        *([("Judged on", competence(claim.gate))] if claim.gate else []),
        *([("Devices", _ANY_DEVICE)] if claim.any_device else []),
        ("Declared", result.declared),
        ("Failed trials", claim.failures),
    ]


def sentence(result: ClaimResult) -> str:
    """Return the verdict in words, with the measurements of the conditions to show; see ``ClaimResult.shown``."""
    line, shown, why = verdict_line(result), measured(result), explanation(result)
    text = f"{line[0].upper()}{line[1:]}."
    if shown:
        text += f" {shown}."
    return f"{text} {why[0].upper()}{why[1:]}." if why and why not in line else text


def _forest(name: str, results: Sequence[PartResult], published: float | None) -> list[Block]:
    shown = [one for one in results if one.estimate]
    if not shown:
        return []
    part = shown[0].part
    values = [v for one in shown for v in (*one.sample.values.values(), one.estimate.value if one.estimate else 0)]
    ratio = part.scale == "log" and all(value > 0 for value in values)
    drawing = forest(f"claim-{name}", shown, published, ratio)
    n = {one.estimate.n for one in shown if one.estimate}
    words = part.words.format("…")
    looks = ", ".join(map(str, LOOKS))
    caption = (
        f"“{words[0].upper()}{words[1:]}”. Dots: mean over replicates. Bars: interval of the last planned look (looks "
        f"at {looks} replicates, with a total error of 5 %); before the first look, an ordinary 95 % interval. Ticks: "
        f"single replicates. n = {_range(n)}."
    )
    alt = f"{words}. " + "; ".join(f"{one.sample.label or 'all'}: {one.number}, {one.verdict}" for one in shown) + "."
    rows = [(one.sample.label, seed, value) for one in shown for seed, value in one.sample.values.items()]
    return [Chart(f"claim-{name}", caption, alt, drawing, ("condition", "seed", part.reading.label), rows)]


def _range(numbers: set[int]) -> str:
    return f"{min(numbers)}" if len(numbers) == 1 else f"{min(numbers)} to {max(numbers)}"


def _conditions(name: str, result: ClaimResult) -> Table:
    rows = []
    for condition in result.conditions:
        for one in condition.parts:
            found = one.estimate
            p = "exact" if one.is_exact else p_text(condition.p_corrected)
            rows.append(
                [
                    Cell((condition.label or "–") + (" (home)" if condition.home else "")),
                    Cell(one.part.words.format("…")),
                    number(one.number, found.value if found else None),
                    number(str(found.n) if found else "0", found.n if found else 0),
                    Cell(one.verdict.value),
                    number(p if found else "–", condition.p_corrected),
                    Cell(condition.verdict.value, kind="verdict"),
                    Cell(condition.why.message if condition.why else ""),
                ]
            )
    caption = (
        f"All conditions of {result.claim.name}. “Alone” is the verdict from one effect by itself. The verdict of a "
        "condition combines all its effects and is corrected for the number of verdicts"
    )
    header = ("condition", "effect", "estimate", "n", "alone", "p, corrected", "verdict", "why not decided")
    return Table(f"claim-{name}", caption, header, rows)


def _controls(name: str, result: ClaimResult) -> Table:
    rows = []
    for checked in result.controls:
        shown = "; ".join(_of_control(one) for one in checked.results if one.estimate)
        rows.append([Cell(checked.control.says), Cell(checked.outcome, kind="verdict"), Cell(shown or "–")])
    caption = f"Controls of {result.claim.name}: they do not change the verdict, but help to interpret it"
    return Table(f"claim-{name}-controls", caption, ("expected", "outcome", "measured"), rows)


def _of_control(one: PartResult) -> str:
    label = f"{one.sample.label}: " if one.sample.label else ""
    n = f" (n = {one.estimate.n})" if one.estimate and not one.is_exact else ""
    return f"{label}{one.words}{n}"
