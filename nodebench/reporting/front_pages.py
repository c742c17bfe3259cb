"""The first page, and how it was measured."""

from collections import Counter
from collections.abc import Mapping, Sequence

from nodebench.analysis.sequential import LOOKS
from nodebench.analysis.summary import configurations
from nodebench.claims import ClaimResult, Kind, Verdict
from nodebench.claims.words import explanation, measured, verdict_line
from nodebench.reporting.document import (
    Block,
    Bullets,
    Cell,
    Chart,
    Code,
    Heading,
    Links,
    Page,
    Paragraph,
    Table,
    Terms,
    number,
)
from nodebench.reporting.overview import Row, overview, rows
from nodebench.reporting.question_page import findings
from nodebench.spec import Preset, Record, Status, load_study, shipped_studies
from nodebench.spec.axes import AXES, Axis
from nodebench.spec.figures import FIGURES, several

_ORDER = (
    Verdict.SUPPORTED,
    Verdict.DEPENDS,
    Verdict.PARTLY,
    Verdict.REFUTED,
    Verdict.INCONCLUSIVE,
    Verdict.NOT_TESTED,
)


def index_page(
    results: Sequence[ClaimResult],
    records: Sequence[Record],
    studies: Sequence[Page],
    published: Sequence[ClaimResult] = (),
) -> Page:
    """One line a claim, under the sentences that sum up; with the verdict of the published records if given."""
    headline, checks = _split(results)
    blocks: list[Block] = [Paragraph(summary(results, records))]
    if drawn := rows(headline):
        blocks.append(_overview(drawn))
    if found := findings(results):
        blocks.append(Bullets(found))
    blocks += [
        Links(
            [
                ("questions", "Questions", "what users ask, answered in one sentence each"),
                ("choice", "Which one to use", "solver, tolerance, gradient and library for an error"),
            ]
        ),
        verdict_table(headline, published=published),
    ]
    if checks:
        blocks += [
            Heading("Checks of the instruments"),
            Paragraph("Identities and theorems: they test nodebench, not a claim that could be false."),
            verdict_table(checks, "checks"),
        ]
    blocks += [
        Heading("Studies"),
        Links([(page.name, page.title, page.about) for page in studies]),
        Heading("How it was measured"),
        Links(
            [
                ("method", "Method", "definitions, machine, versions, what was cut, gaps"),
                ("amendments", "Amendments", "what changed in the declarations, when and why"),
            ]
        ),
    ]
    return Page("index", "Neural ODEs: the published claims, measured", "Verdicts on the published claims", blocks)


def _overview(shown: Sequence[Row]) -> Chart:
    n = [row.estimate.n for row in shown]
    caption = (
        "Every claim that has been measured: the condition shown in the table, with its interval, the region that "
        "supports the claim, and the published value where there is one. Each row has its own scale; hollow circles "
        f"are not decided; n = {min(n)} to {max(n)}."
    )
    header = ("claim", "scope", "verdict", "estimate", "low", "high", "n")
    data = [
        (
            row.result.claim.id,
            row.result.claim.scope,
            row.result.verdict.value,
            row.estimate.value,
            row.estimate.low,
            row.estimate.high,
            row.estimate.n,
        )
        for row in shown
    ]
    return Chart(
        "overview",
        caption,
        "; ".join(f"{row.result.claim.name}: {row.words}" for row in shown),
        overview("overview", shown),
        header,
        data,
    )


def _split(results: Sequence[ClaimResult]) -> tuple[list[ClaimResult], list[ClaimResult]]:
    """Claims that could be false, and identities that check the instruments."""
    checks = [result for result in results if result.claim.kind is Kind.IDENTITY]
    return [result for result in results if result.claim.kind is not Kind.IDENTITY], checks


def summary(results: Sequence[ClaimResult], records: Sequence[Record]) -> str:
    """How many claims have which verdict."""
    headline, checks = _split(results)
    counts = Counter(result.verdict for result in headline)
    shown = ", ".join(f"{counts[verdict]} {verdict}" for verdict in _ORDER if counts[verdict])
    first = f"Verdicts on {len(headline)} claims on Neural ODEs: {shown}; from {len(records):,} records."
    first += " A claim that is tested at two scales counts twice."
    if checks:
        first += f" Not counted: {several(len(checks), 'claim')} true by definition, to check the instruments."
    on_cpu = all(record.trial.device == "cpu" for record in records)
    return first + (" All trials ran on CPUs." if records and on_cpu else "")


def verdict_table(
    results: Sequence[ClaimResult], name: str = "verdicts", published: Sequence[ClaimResult] = ()
) -> Table:
    """One line a claim, with a column for the verdicts of the published records if they are given."""
    rows = []
    beside = {result.claim.name: result for result in published}
    for result in sorted(results, key=lambda one: _ORDER.index(one.verdict)):
        claim, shown = result.claim, result.shown
        rows.append(
            [
                Cell(result.verdict.value, kind="verdict"),
                Cell(claim.id, page=f"claim-{claim.id}"),
                Cell(claim.sentence),
                Cell(claim.scope),
                Cell(claim.published),
                Cell(verdict_line(result)),
                Cell(measured(result) or explanation(result) or "–"),
                number(", ".join(dict.fromkeys(str(one.n) for one in shown)) or "0", shown[0].n if shown else 0),
                *([Cell(verdict_line(beside[claim.name]))] if beside else []),
            ]
        )
    header = ["verdict", "claim", "it says", "scope", "published", "conditions", "measured [interval]", "n"]
    header += ["verdict of the published records"] if beside else []
    caption = (
        "The claims and their verdicts. The figure is that of one condition with the verdict of the claim, a home "
        "condition if there is one; of “depends”, one for either side"
    )
    return Table(name, caption, header, rows, filters=name == "verdicts")


_RULES = (
    "A replicate is a fresh process with its own seed; arms are paired by seed.",
    "The estimate is the mean on the declared scale (of logarithms for ratios) with Student's interval; for shares the "
    "exact binomial one; for the median by order statistics if a trial failed. A figure without sampling error, such "
    "as "
    "a count of bytes, is its value and is marked exact.",
    f"Results are looked at after {', '.join(map(str, LOOKS))} replicates. An error of 5 % is spent over these "
    f"looks, so "
    "that measuring until a verdict is reached does not make false verdicts more frequent. The interval shown is "
    "that of "
    "the last look.",
    "Supported, refuted, partly: the whole interval is inside the region of support, of refutation, or between them. "
    "“The same as” is an interval within a margin, never “not significant”.",
    "A claim is judged condition by condition. It is supported or refuted if all decided conditions agree and the "
    "source's own (home) condition is among them; it depends if some support and some refute it. A universal claim is "
    "refuted by one condition, after Holm's correction over its conditions.",
    "p-values are corrected by Benjamini and Hochberg's method (5 %) over all conditions of this report. Claims that "
    "read "
    "the same records in reciprocal form count once.",
    "Ratios of times come from arms that alternate in one process. Trials during which the machine's speed changed are "
    "run again up to three times; then a time by itself is left out, and a ratio of arms that alternate is kept.",
    "A claim on accuracy is not judged on networks that are worse than a plain MLP, or whose training loss still "
    "falls by "
    "more than 5 % in the last tenth of the training; of densities, whose loss ends near an entropy, by more than "
    "0.3 %.",
    "Where all replicates share one test set, the sampling error of that test set is a part of the interval.",
    "Arms that differ in anything but the axis under test (tolerance, dtype, threads, preset, data, machine, versions) "
    "are not compared, and the difference is named.",
    "A fixed-step network whose error changes by a point or more under steps four times finer is marked ‡.",
)
_NOT_MEASURED = (
    "Accelerators: the study devices measures them (nodebench study run devices --device cuda).",
    "Accuracy at the scale of the papers: claims at paper scope say which command would test them.",
    "Solvers outside Python.",
    "Kernel workspaces and allocator overhead: the peak is that of live tensors.",
)


def method_page(
    results: Sequence[ClaimResult], records: Sequence[Record], studies: Mapping[str, Sequence[Record]]
) -> Page:
    """Definitions, machine, versions, seeds, deviations, and what was not measured."""
    blocks: list[Block] = [
        Heading("From records to verdicts"),
        Bullets(_RULES),
        Heading("Machine and versions"),
        _environments(records),
        Heading("What each figure is"),
        Terms([(f"{known.label} ({known.name})", known.about) for known in FIGURES.values()]),
        Heading("What a trial is"),
        Terms([(axis.label, _axis(axis)) for axis in AXES.values()]),
        Heading("What was run, and what was cut"),
        Bullets(_cuts(studies)),
        Heading("Not measured"),
        Bullets(
            [
                *_NOT_MEASURED,
                *(f"{r.claim.name}: {r.claim.command}" for r in results if r.verdict is Verdict.NOT_TESTED),
            ]
        ),
        Heading("Make this report"),
        Code("nodebench report"),
        Paragraph("The file verdicts.json beside these pages has the verdicts for programs."),
    ]
    return Page("method", "How it was measured", "Definitions, machine, versions, cuts, gaps", blocks)


def _axis(axis: Axis) -> str:
    """What an axis is, and what it can change."""
    return axis.help + ("" if axis.computes else " Changes time and memory; computed values up to rounding only.")


def _environments(records: Sequence[Record]) -> Table:
    found: Counter[tuple[str, ...]] = Counter()
    for record in records:
        known = record.environment
        packages = known.get("packages") or {}
        cores = (known.get("cores") or {}).get("usable")
        code = (known.get("code") or {}).get("commit") or "–"
        found[
            str(known.get("cpu")),
            str(cores),
            str(record.trial.threads),
            str(known.get("python")),
            *(str(packages.get(name)) for name in ("torch", "torchdiffeq", "scipy")),
            code[:8],
        ] += 1
    rows = [[*map(Cell, key), number(str(count), count)] for key, count in sorted(found.items())]
    header = ("processor", "cores", "threads", "Python", "torch", "torchdiffeq", "scipy", "commit", "records")
    return Table("environments", "Machines and versions behind the records", header, rows)


def _cuts(studies: Mapping[str, Sequence[Record]]) -> list[str]:
    """What of each study was run, and what was not."""
    told = []
    for name in shipped_studies():
        records = studies.get(name, [])
        study = load_study(name, Preset.QUICK)
        if not records:
            told.append(f"{name}: not run.")
            continue
        presets = ", ".join(sorted({record.trial.preset.value for record in records}))
        wanted = max(len(grid.seed) for grid in study.groups.values())
        seeds = {len(one.records) for one in configurations(records)}
        span = f"{min(seeds)}" if len(seeds) == 1 else f"{min(seeds)} to {max(seeds)}"
        failed = sum(record.status is not Status.OK for record in records)
        told.append(
            f"{name}: preset {presets}, {span} of {wanted} seeds a configuration, {failed} of {len(records)} failed."
        )
    return told
