"""``nodebench claims``: the published claims, what the records say of them, and what would decide them."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tomli_w
from rich import box
from rich.table import Table
from rich.text import Text

from nodebench.analysis.claims import CLAIMS, Claim, Verdict, Word, judge
from nodebench.analysis.claims.evaluate import FEWEST
from nodebench.analysis.fairness import Point, unreliable
from nodebench.analysis.homes import homes
from nodebench.cli.calibrate import resolution
from nodebench.cli.conventions import OK, TRIAL_FAILED, finite
from nodebench.cli.progress import duration
from nodebench.cli.show import print_rows
from nodebench.cli.terminal import Terminal, print_json, print_plain
from nodebench.errors import BadInput, choose
from nodebench.report.claim_pages import refutation, rule
from nodebench.run.calibrations import calibrations
from nodebench.run.store import kept_records, records_below
from nodebench.spec import DataSource, Grid, Preset, Record, Status, Study, Trial, load_study
from nodebench.spec.calibration import Calibration

_COLOURS = {
    Word.SUPPORTED: "green",
    Word.REFUTED: "red",
    Word.INCONCLUSIVE: "yellow",
    Word.NOT_TESTED: "dim",
}
# Axes of a grid that a study may be cut along.
_AXES = ("model", "dataset", "solver", "gradient", "rtol", "step_size")


def list_claims() -> None:
    """Print the claims."""
    print_rows(
        [("claim", "scope", "it says", "published"), *((c.id, c.scope, c.sentence, c.published) for c in CLAIMS)]
    )


def check_claims(results: Path, as_json: bool, fail_on: str) -> int:
    """Print the verdicts; return 1 if one of them is a word of ``fail_on``."""
    unwanted = [choose("verdict", word.strip(), list(Word)) for word in fail_on.split(",") if word.strip()]
    verdicts = judge(CLAIMS, records_below(results), calibrations(results))
    if as_json:
        print_json([as_object(verdict) for verdict in verdicts])
    else:
        console = Terminal()
        console.print(_table(verdicts))
        counts = Counter(verdict.word.value for verdict in verdicts)
        console.print(", ".join(f"{counts[word]} {word}" for word in Word if counts[word]))
    return TRIAL_FAILED if any(verdict.word in unwanted for verdict in verdicts) else OK


def as_object(verdict: Verdict) -> dict[str, Any]:
    """A verdict as JSON has it; an end of an interval that is infinite or unknown is null."""
    finding, estimate = verdict.deciding, verdict.deciding.estimate if verdict.deciding else None

    return {
        "id": verdict.claim.id,
        "scope": verdict.claim.scope,
        "verdict": verdict.word.value,
        "estimate": finite(estimate.value) if estimate else None,
        "low": finite(estimate.low) if estimate else None,
        "high": finite(estimate.high) if estimate else None,
        "n": estimate.n if estimate else 0,
        "condition": finding.sample.label if finding else "",
        "words": finding.words if finding else "",
        "p": verdict.p,
        "p_corrected": verdict.p_corrected,
        "why": verdict.why,
        "controls": {checked.control.says: checked.outcome for checked in verdict.controls},
        "records": list(verdict.records),
    }


def _table(verdicts: Sequence[Verdict]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for header in ("verdict", "claim", "scope", "n", "what the records say"):
        table.add_column(header, no_wrap=header in ("verdict", "claim", "scope"), overflow="fold")
    for verdict in verdicts:
        finding = verdict.deciding
        measured = finding is not None and finding.estimate is not None
        said = [finding.told] if finding and measured else []
        said += [verdict.why] if verdict.why else []
        n = str(finding.estimate.n) if finding and finding.estimate else ""
        word = Text(verdict.word.value, _COLOURS[verdict.word])
        table.add_row(word, verdict.claim.id, verdict.claim.scope, n, Text("; ".join(said)))
    return table


def show_claim(id: str, results: Path) -> None:
    """Print a claim whole, at each of its scopes."""
    console = Terminal()
    records, known = kept_records(results), calibrations(results)
    verdicts = judge(CLAIMS, records, known)
    for claim in _named(id):
        verdict = next(verdict for verdict in verdicts if verdict.claim is claim)
        console.print()
        console.print(Text.assemble((claim.id, "bold"), f" · {claim.scope} scope · ", (verdict.word.value, "bold")))
        lines = [
            claim.sentence,
            f"source: {claim.source.paper}, {claim.source.place} {claim.source.link}".rstrip(),
            f"published: {claim.published}",
            *dict.fromkeys(f"supported where {rule(part, part.supports)}" for part in claim.parts),
            *dict.fromkeys(f"refuted where {refutation(part)}" for part in claim.parts),
            *(f"found: {finding.told}, n = {finding.estimate.n}" for finding in verdict.findings if finding.estimate),
            *(f"control: {checked.control.says}: {checked.outcome}" for checked in verdict.controls),
            *(f"note: {note}" for note in dict.fromkeys(n for f in verdict.findings for n in f.sample.notes)),
            *(f"trap: {trap}" for trap in claim.traps),
            f"failures: {claim.failures}",
            *_resolution(verdict, records, known),
            f"p = {verdict.p_corrected:.2g}, corrected over the claims of its paper",
            *([f"why: {verdict.why}"] if verdict.why else []),
            f"study: {claim.command}",
        ]
        for line in lines:
            console.print(f"  {line}")


def _resolution(verdict: Verdict, records: Sequence[Record], known: Sequence[Calibration]) -> list[str]:
    """What the replicates of a claim on times can tell apart at all, on the machine that made them."""
    finding = verdict.deciding
    if finding is None or not finding.part.reading.timed:
        return []
    record = next(record for record in records if record.id in finding.sample.records)
    n = max(2, len(finding.sample.values))
    return [f"noise: {resolution(known, record.environment, record.trial.threads, n)}"]


def _named(id: str) -> list[Claim]:
    choose("claim", id, dict.fromkeys(claim.id for claim in CLAIMS))
    return [claim for claim in CLAIMS if claim.id == id]


def plan_claim(id: str, results: Path, data: DataSource) -> None:
    """Print, for each scope of a claim, the smallest study that would decide it, or why none would."""
    from nodebench.instruments import describe_environment
    from nodebench.run.estimate import costs_on, estimate
    from nodebench.run.plan import plan

    records = kept_records(results)
    verdicts = judge(CLAIMS, records, calibrations(results))
    costs = costs_on(describe_environment(), results)
    for claim in _named(id):
        verdict = next(verdict for verdict in verdicts if verdict.claim is claim)
        seeds, told = _replicates(verdict)
        print_plain(f"# {claim.name}: {verdict.word}. {told}")
        if not seeds:
            continue
        try:
            study = _cut(claim, seeds, records, data)
        except BadInput as error:
            print_plain(f"# {error}")
            continue
        trials = [one.trial for one in plan(study, elsewhere=True).planned]
        cost = estimate(trials, costs)
        time = f"about {duration(cost.seconds)}" if cost.known + cost.guessed else "a time not known here yet"
        print_plain(f"# {len(trials)} trials, {time}. Save it as a .toml file and give that to 'nodebench study run'.")
        print_plain(tomli_w.dumps(_as_file(study)))


def _replicates(verdict: Verdict) -> tuple[int, str]:
    """How many replicates would decide, 0 where nothing is to be run, and a sentence on it."""
    if verdict.word in (Word.SUPPORTED, Word.REFUTED):
        return 0, "Nothing needs to be run."
    counts = [finding.estimate.n for finding in verdict.findings if finding.estimate]
    if verdict.word is Word.NOT_TESTED or not counts or min(counts) < FEWEST:
        return FEWEST, f"{FEWEST} replicates are the least for a verdict."
    if verdict.deciding is None or verdict.deciding.needed is None:
        return 0, f"{verdict.why.capitalize()}."
    return verdict.deciding.needed, f"About {verdict.deciding.needed} replicates would decide."


def _cut(claim: Claim, seeds: int, records: Sequence[Record], data: DataSource) -> Study:
    """The claim's studies in one, without the trials that it does not ask for and those that are there."""
    from nodebench.run.plan import plan

    timed = any(part.reading.timed for part in claim.parts)
    points = [Point.of(record) for record in records]
    there = {p.record.id for p in points if p.record.status is Status.OK and not unreliable(p.record, timed)}
    threads = Counter(p.record.trial.threads for p in points if set(homes(p.record)) & set(claim.studies))
    groups: dict[str, Grid] = {}
    for of in claim.studies:
        study = load_study(of, Preset(claim.preset))
        replicates: dict[str, Any] = {"seed": list(range(seeds))}
        if threads:  # trials of another number of threads would be others
            replicates["threads"] = threads.most_common(1)[0][0]
        wanted = {name: grid.model_copy(update=replicates) for name, grid in study.groups.items()}
        planned = plan(study.model_copy(update={"groups": wanted, "data": data}), elsewhere=True).planned
        for name, grid in wanted.items():
            asked = [one.trial for one in planned if name in one.groups and _is_asked(claim, one.trial)]
            missing = sorted({trial.seed for trial in asked if trial.id not in there})
            if missing:
                key = name if name not in groups else f"{of}-{name}"
                groups[key] = _narrowed(grid, asked).model_copy(update={"seed": missing})
    if not groups:
        raise BadInput(f"claim {claim.name}: every trial that it asks for is there. It is fed by {claim.command}")
    first = load_study(claim.studies[0], Preset(claim.preset))
    changes = {"groups": groups, "data": data, "about": f"what decides {claim.name}", "claims": [claim.id]}
    return first.model_copy(update=changes)


def _is_asked(claim: Claim, trial: Trial) -> bool:
    from nodebench.analysis.claims.gather import is_of
    from nodebench.run.multiply import options_of

    axes = trial.model_dump(mode="json", exclude={"overrides"}) | options_of(trial).model_dump()
    parts = [*claim.parts, *(control.part for control in claim.controls)]
    return any(is_of(arm, claim.preset, axes) for part in parts for arm in (part.arm, part.against) if arm)


def _narrowed(grid: Grid, trials: Sequence[Trial]) -> Grid:
    """A grid with no more values on each axis than the trials have."""
    axes: dict[str, Any] = {}
    for axis in _AXES:
        used = {getattr(trial, axis) for trial in trials}
        axes[axis] = [value for value in getattr(grid, axis) if value in used]
    options = {
        name: [value for value in values if any(trial.overrides.get(name, value) == value for trial in trials)]
        for name, values in grid.overrides.items()
    }
    return grid.model_copy(update={**axes, "overrides": options})


def _as_file(study: Study) -> dict[str, Any]:
    """A study as its file has it."""
    content = study.model_dump(mode="json", exclude_defaults=True, exclude={"name", "data"})
    for grid in content["groups"].values():
        grid.pop("preset", None)
        for axes in (grid, grid.get("overrides", {})):
            for axis, values in list(axes.items()):
                if values == []:
                    del axes[axis]
                elif isinstance(values, list) and len(values) == 1:
                    axes[axis] = values[0]
    return content
