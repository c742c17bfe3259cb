"""The index page and the method page."""

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
from nodebench.spec.metrics import METRICS, several

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
    """Return the index page: a summary and one row per claim, with verdicts of the published records if given."""
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
                ("choice", "Which configuration to use", "the fastest and smallest configuration by gradient error"),
            ]
        ),
        verdict_table(headline, published=published),
    ]
    if checks:
        blocks += [
            Heading("Checks of the instruments"),
            Paragraph("Identities and theorems are always true. They test nodebench, not a claim that could be false."),
            verdict_table(checks, "checks"),
        ]
    blocks += [
        Heading("Studies"),
        Links([(page.name, page.title, page.about) for page in studies]),
        Heading("How it was measured"),
        Links(
            [
                ("method", "Method", "definitions, machine, versions, what was run and what was not measured"),
                ("amendments", "Amendments", "what changed in the declarations, when and why"),
            ]
        ),
    ]
    return Page("index", "Neural ODEs: the published claims, measured", "Verdicts on the published claims", blocks)


def _overview(shown: Sequence[Row]) -> Chart:
    n = [row.estimate.n for row in shown]
    caption = (
        "All measured claims. A row shows the condition from the table with its interval, the region that supports "
        "the claim, and the published value if there is one. Each row has its own scale. A hollow circle means that "
        f"the claim is not decided. n = {min(n)} to {max(n)}."
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
    """Separate claims that can be false from identities that check the instruments."""
    checks = [result for result in results if result.claim.kind is Kind.IDENTITY]
    return [result for result in results if result.claim.kind is not Kind.IDENTITY], checks


def summary(results: Sequence[ClaimResult], records: Sequence[Record]) -> str:
    """Return the number of claims by verdict, in sentences."""
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
    """Return a table with one row per claim, and a column for verdicts of the published records if given."""
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
    header = ["verdict", "claim", "statement", "scope", "published", "conditions", "measured [interval]", "n"]
    header += ["verdict of the published records"] if beside else []
    caption = (
        "The claims and their verdicts. The measured value is from one condition that has the verdict of the claim, "
        "preferably a home condition; for “depends”, from one supported and one refuted condition; for “partly”, also "
        "from a home condition with another verdict"
    )
    return Table(name, caption, header, rows, filters=name == "verdicts")


_RULES = (
    "A replicate is a fresh process with its own seed; arms are paired by seed.",
    "The estimate is the mean on the declared scale (the mean of logarithms for ratios) with Student's t interval. A "
    "share has the exact binomial interval. If a trial failed, the estimate is the median, with an interval from order "
    "statistics. A quantity without sampling error, such as a number of bytes, has no interval and is marked exact.",
    f"Results are evaluated at planned looks, after {', '.join(map(str, LOOKS))} replicates. A total error of 5 % is "
    "distributed over these looks, so that measuring until a verdict is reached does not increase the rate of false "
    "verdicts. The interval shown is that of the last look.",
    "A condition is supported if its whole interval is inside the region of support, refuted if it is inside the "
    "region of refutation, and “partly” if it is between the two. “The same as” means that the interval is within a "
    "margin; a difference that is not significant is not enough.",
    "Each condition of a claim has its own verdict. The claim is supported or refuted if every condition of the "
    "source (home condition) is decided and all decided conditions agree. Its verdict is “depends” if some conditions "
    "support it and others refute it. One refuted condition refutes a universal claim, after Holm's correction over "
    "its conditions.",
    "p-values are corrected with the Benjamini–Hochberg method (5 %) over all conditions of this report. Claims that "
    "test the same effect on the same records, with other thresholds, count once.",
    "Ratios of times come from arms that run interleaved in one process. A trial runs up to three times in all if the "
    "speed of the machine changed during it. After that, its absolute times are left out, and ratios of interleaved "
    "arms are kept.",
    "A claim about accuracy is not judged on networks that are worse than a plain MLP, or whose training loss still "
    "falls by more than 5 % in the last tenth of the training. For densities, whose loss ends near an entropy, the "
    "limit is 0.3 %.",
    "If all replicates share one test set, the interval includes the sampling error of that test set.",
    "Arms that differ in anything but the axis under test (tolerance, dtype, threads, preset, data, machine, versions) "
    "are not compared, and the report names the difference.",
    "A network trained with fixed steps is marked ‡ if steps four times smaller change its error by a percentage point "
    "or more.",
)
_NOT_MEASURED = (
    "Accelerators: the study devices measures them (nodebench study run devices --device cuda).",
    "Accuracy at the scale of the papers: the page of a claim names the command that tests its paper scope.",
    "Solvers outside Python.",
    "Kernel workspaces and allocator overhead: peak memory counts live tensors only.",
)


def method_page(
    results: Sequence[ClaimResult], records: Sequence[Record], studies: Mapping[str, Sequence[Record]]
) -> Page:
    """Return the method page: definitions, machine, versions, seeds, and what was not measured."""
    blocks: list[Block] = [
        Heading("From records to verdicts"),
        Bullets(_RULES),
        Heading("Machine and versions"),
        _environments(records),
        Heading("Definition of each metric"),
        Terms([(f"{known.label} ({known.name})", known.about) for known in METRICS.values()]),
        Heading("Axes of a trial"),
        Terms([(axis.label, _axis(axis)) for axis in AXES.values()]),
        Heading("What was run"),
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
        Paragraph("The file verdicts.json in the same folder contains the verdicts in machine-readable form."),
    ]
    return Page("method", "How it was measured", "Definitions, machine, versions, runs, gaps", blocks)


def _axis(axis: Axis) -> str:
    """Describe an axis and what it can change."""
    return axis.help + ("" if axis.computes else " Changes time and memory; computed values change only by rounding.")


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
    return Table("environments", "Machines and versions of the records", header, rows)


def _cuts(studies: Mapping[str, Sequence[Record]]) -> list[str]:
    """Return a line per study: its presets, seeds and failures, or that it was not run."""
    lines = []
    for name in shipped_studies():
        records = studies.get(name, [])
        study = load_study(name, Preset.QUICK)
        if not records:
            lines.append(f"{name}: not run.")
            continue
        presets = ", ".join(sorted({record.trial.preset.value for record in records}))
        wanted = max(len(grid.seed) for grid in study.groups.values())
        seeds = {len(one.records) for one in configurations(records)}
        span = f"{min(seeds)}" if len(seeds) == 1 else f"{min(seeds)} to {max(seeds)}"
        failed = sum(record.status is not Status.OK for record in records)
        lines.append(
            f"{name}: preset {presets}, {span} seeds per configuration ({wanted} planned), {failed} of {len(records)} "
            "trials failed."
        )
    return lines
