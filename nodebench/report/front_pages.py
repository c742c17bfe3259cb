"""The first page, and how it was measured."""

from collections import Counter
from collections.abc import Mapping, Sequence

from nodebench.analysis.claims import Verdict, Word
from nodebench.analysis.summary import configurations
from nodebench.report.document import Block, Bullets, Cell, Code, Heading, Links, Page, Paragraph, Table, Terms, number
from nodebench.spec import Preset, Record, Status, load_study, shipped_studies
from nodebench.spec.axes import AXES, Axis
from nodebench.spec.figures import FIGURES

_ORDER = (Word.SUPPORTED, Word.REFUTED, Word.INCONCLUSIVE, Word.NOT_TESTED)


def index_page(
    verdicts: Sequence[Verdict],
    records: Sequence[Record],
    studies: Sequence[Page],
    published: Sequence[Verdict] = (),
) -> Page:
    """One line a claim, under three sentences that sum up; beside it the verdict on the published records, if given."""
    blocks: list[Block] = [Paragraph(text) for text in summary(verdicts, records)]
    blocks.append(verdict_table(verdicts, published))
    blocks += [
        Heading("Studies"),
        Links([(page.name, page.title, page.about) for page in studies]),
        Heading("How it was measured"),
        Links([("method", "Method", "definitions, machine, versions, what was cut, gaps")]),
    ]
    return Page("index", "Neural ODEs: the published claims, measured", "Verdicts on the published claims", blocks)


def summary(verdicts: Sequence[Verdict], records: Sequence[Record]) -> list[str]:
    """Three sentences: how many claims stand how, which stand, and which do not."""
    counts = Counter(verdict.word for verdict in verdicts)
    told = ", ".join(f"{counts[word]} {word}" for word in _ORDER if counts[word])
    names = {word: [verdict.claim.name for verdict in verdicts if verdict.word is word] for word in _ORDER}
    first = f"Of {len(verdicts)} claims on Neural ODEs, each at one scope, {told}, on {len(records):,} records."
    return [
        first,
        f"Supported: {_some(names[Word.SUPPORTED])}.",
        f"Refuted, at the thresholds declared with each claim: {_some(names[Word.REFUTED])}.",
    ]


def _some(ids: Sequence[str]) -> str:
    return ", ".join(ids) if ids else "none"


def verdict_table(verdicts: Sequence[Verdict], published: Sequence[Verdict] = ()) -> Table:
    """One line a claim, with the verdicts on the published records in a column of their own where they are given."""
    rows = []
    beside = {verdict.claim.name: verdict for verdict in published}
    for verdict in sorted(verdicts, key=lambda v: _ORDER.index(v.word)):
        claim, finding = verdict.claim, verdict.deciding
        rows.append(
            [
                Cell(verdict.word.value, kind="verdict"),
                Cell(claim.id, page=f"claim-{claim.id}"),
                Cell(claim.sentence),
                Cell(claim.scope),
                Cell(claim.published),
                Cell(finding.told, finding.estimate.value) if finding and finding.estimate else Cell("–"),
                number(str(finding.estimate.n), finding.estimate.n) if finding and finding.estimate else number("0", 0),
                *([_beside(beside[claim.name])] if beside else []),
            ]
        )
    header = ["verdict", "claim", "it says", "scope", "published", "measured [95 % interval]", "n"]
    header += ["verdict of the published records"] if beside else []
    caption = "The claims and their verdicts; what was measured is of the condition that stands for the verdict"
    return Table("verdicts", caption, header, rows, filters=True)


def _beside(verdict: Verdict) -> Cell:
    finding = verdict.deciding
    measured = finding is not None and finding.estimate is not None
    return Cell(f"{verdict.word}: {finding.told}" if finding and measured else verdict.word.value)


_RULES = (
    "A replicate is a fresh process with its own seed; arms are paired by seed. Five are the least for a verdict.",
    "Below ten replicates the estimate is the mean (the geometric one for ratios) with Student's t interval; from ten "
    "on the median with its BCa bootstrap; exact binomial for shares; by order statistics where a trial has failed or "
    "all are equal. A figure without noise, as a count of bytes, is its value.",
    "Where the noise of the machine was measured beforehand, the error of a ratio of times below ten replicates is no "
    "smaller than that noise gives: five replicates may agree better than the machine does, by luck.",
    "Supported: every condition's interval lies wholly inside the region of support. Refuted: the interval of some "
    "condition lies wholly inside the region of refutation, after Holm's correction over conditions. Inconclusive "
    "otherwise. “The same as” is an interval within a margin, never “not significant”.",
    "p-values are corrected by Holm's method over the claims of each paper.",
    "Arms that differ in anything but the axis under test (tolerance, dtype, threads, preset, data, machine, versions) "
    "are not compared, and the difference is named. Where one arm has no ODE, solver and tolerance are none of its.",
    "Times of a trial whose machine changed speed, or that shared its cores, are left out. A trial whose passes "
    "disagree is left out.",
    "A fixed-step network whose error changes by a point or more under steps four times finer is marked ‡.",
)
_NOT_MEASURED = (
    "Accuracy at the scale of the papers: claims at paper scope say which command would test them.",
    "Continuous normalising flows, augmented and regularised fields, and solvers outside Python.",
    "Kernel workspaces and allocator overhead: the peak is that of live tensors.",
)


def method_page(
    verdicts: Sequence[Verdict], records: Sequence[Record], studies: Mapping[str, Sequence[Record]]
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
            [*_NOT_MEASURED, *(f"{v.claim.name}: {v.claim.command}" for v in verdicts if v.word is Word.NOT_TESTED)]
        ),
        Heading("Make this report"),
        Code("nodebench report"),
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
