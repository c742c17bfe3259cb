"""``nodebench reproduce``: the trials of records, run again from nothing but the records."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from nodebench.analysis.fairness import OUTCOMES
from nodebench.analysis.noise import Noise, noise_of
from nodebench.analysis.reproduction import Again, Repeated, Replicates, Reproduction, reproduction
from nodebench.analysis.surroundings import told
from nodebench.claims import ClaimResult, all_claims, judge
from nodebench.claims.freeze import frozen_declarations
from nodebench.claims.words import explanation, measured
from nodebench.cli.conventions import CANNOT_GO_ON, INTERRUPTED, OK, TRIAL_FAILED
from nodebench.cli.heartbeat import waiting
from nodebench.cli.interrupt import ctrl_c
from nodebench.cli.progress import make_display
from nodebench.cli.terminal import Terminal, print_json
from nodebench.errors import BadInput, CannotGoOn, at_least, nearest
from nodebench.run.calibrations import calibrations
from nodebench.run.published import records_to_judge
from nodebench.run.store import Run, kept_records
from nodebench.spec import DataSource, Record, Status, Study
from nodebench.spec.calibration import Calibration, machine_of
from nodebench.spec.figures import percent
from nodebench.spec.study import REPRODUCED

_COLOURS = {Again.IDENTICAL: "green", Again.WITHIN: "green", Again.DIFFERENT: "red", Again.UNKNOWN: "yellow"}


@dataclass(frozen=True)
class Choice:
    """Which of the records found are run again: ``sample`` of them that ``pick`` draws, none longer than ``within``."""

    sample: int | None = None
    pick: str = ""
    within: float | None = None

    def of(self, records: Sequence[Record]) -> list[Record]:
        """Choose; the same word always draws the same ones."""
        fit = [record for record in records if self.within is None or record.duration_seconds <= self.within]
        if self.sample is None:
            return fit
        return sorted(fit, key=lambda r: hashlib.sha256(f"{self.pick} {r.id}".encode()).digest())[: self.sample]


def reproduce_command(
    what: str, results: Path, out: Path, choice: Choice, data: DataSource, *, as_json: bool, quiet: bool
) -> int:
    """Run trials again; return 1 if a figure is different and no change of the surroundings could explain it."""
    at_least(1, sample=choice.sample)
    everything = kept_records(results)
    found, claims = _found(what, results, everything)
    ended = [record for record in found if record.status is Status.OK or record.status in OUTCOMES]
    if not ended:
        raise BadInput(f"'{what}' has no record yet of a trial that ran to an end of its own")
    chosen = choice.of(ended)
    if not chosen:
        raise BadInput(f"none of the {len(ended)} records of '{what}' takes {choice.within:g} s or less")
    pairs, run, pressed, failure = _run(chosen, out, data, quiet=quiet or as_json)
    known = calibrations(results)
    replicates = Replicates(everything)
    repeated = [
        reproduction(a, b, replicates.of(a), _noise(known, a, b))
        for a, b in pairs
        if b.status is not Status.INTERRUPTED
    ]
    with waiting("judging the claims again", quiet=quiet):
        verdicts = [_judged(verdict, repeated, known) for verdict in claims] if repeated else []
    if as_json:
        print_json(_as_object(repeated, verdicts, run))
    else:
        _print(repeated, verdicts, run)
    if failure:
        Terminal(stderr=True, soft_wrap=True).print(f"nodebench: {failure}")
        return CANNOT_GO_ON
    if pressed:
        return INTERRUPTED
    return TRIAL_FAILED if any(one.unexplained or not one.same_end for one in repeated) else OK


def _found(what: str, results: Path, everything: Sequence[Record]) -> tuple[list[Record], list[ClaimResult]]:
    """The records that a word names: those behind a claim's verdict, one by its id, or those of a run."""
    if what in {claim.id for claim in all_claims()}:
        judged = records_to_judge(results)
        found = judge(all_claims(), judged, calibrations(results), frozen_declarations())
        verdicts = [result for result in found if result.claim.id == what]
        ids = {id for verdict in verdicts for id in verdict.records}
        latest = {record.id: record for record in sorted(judged, key=lambda record: record.started)}
        records = [latest[id] for id in latest if id in ids]
        if not records:
            raise BadInput(
                f"claim '{what}' has no record in {results} yet; 'nodebench claims settle {what}' makes some"
            )
        return records, [verdict for verdict in verdicts if verdict.records]
    same = [record for record in everything if len(what) >= _FEWEST_DIGITS and record.id.startswith(what)]
    if len({record.id for record in same}) == 1:
        return [max(same, key=lambda record: record.started)], []
    try:
        return Run.open(results, what).records(), []
    except BadInput as error:
        near = nearest(what, [claim.id for claim in all_claims()])
        hint = f"; did you mean the claim {near}?" if near else ""
        raise BadInput(f"'{what}' is no record's id, no claim and no run in {results}{hint} {error}") from None


_FEWEST_DIGITS = 6


def _run(
    chosen: Sequence[Record], out: Path, data: DataSource, *, quiet: bool
) -> tuple[list[tuple[Record, Record]], Run, bool, str | None]:
    """Run the trials; what is finished is stored. Also: whether it was stopped, and what kept it from going on."""
    from nodebench.run.fork_server import start_fork_server

    start_fork_server()
    from nodebench.cli.run import with_data
    from nodebench.instruments import describe_environment
    from nodebench.run.engines.local import LocalEngine
    from nodebench.run.estimate import Costs
    from nodebench.run.repeat import Repetition, grid_of

    groups = {record.id: grid_of(record.trial) for record in chosen}
    study = with_data(Study(name=REPRODUCED, about="trials run again from their records", groups=groups, data=data))
    run = Run.create(out, study, describe_environment())
    repetition = Repetition(run, study.data, lambda: LocalEngine(1))
    display = make_display([record.trial for record in chosen], Costs(chosen), json=False, quiet=quiet)
    pairs, failure = [], None
    with run.writing(), display, ctrl_c(repetition.stop) as pressed:
        try:
            for record, again in repetition.again(chosen, display.progress):
                pairs.append((record, again))
                display.finished(again)
        except CannotGoOn as error:
            failure = str(error)
    return pairs, run, bool(pressed), failure


@dataclass(frozen=True)
class Judged:
    """A claim's verdict, and what the records that were run again say of it, as they were and as they are now."""

    whole: ClaimResult
    before: ClaimResult
    now: ClaimResult


def _judged(result: ClaimResult, repeated: Sequence[Reproduction], known: Sequence[Calibration]) -> Judged:
    sides = [one.record for one in repeated], [one.again for one in repeated]
    before, now = (judge([result.claim], side, known, frozen_declarations())[0] for side in sides)
    return Judged(result, before, now)


def _noise(known: Sequence[Calibration], record: Record, again: Record) -> dict[str, Noise]:
    """The noise of the machine, where both were measured on one."""
    if machine_of(record.environment) != machine_of(again.environment):
        return {}
    return noise_of(known, again.environment, again.trial.threads)


def _print(repeated: Sequence[Reproduction], verdicts: Sequence[Judged], run: Run) -> None:
    console = Terminal(soft_wrap=True)
    for name, count in Counter(told(one.surroundings) or "the same" for one in repeated).items():
        console.print(f"surroundings of {count} of {len(repeated)}: {name}")
    for one in repeated:
        if not one.same_end:
            console.print(Text(f"{one.record.id}: {one.record.status} → {one.again.status}", "red"))
    Terminal().print(_table(repeated))
    different = [figure for one in repeated for figure in one.figures if figure.outcome is Again.DIFFERENT]
    if causes := dict.fromkeys(cause for figure in different for cause in figure.explained_by):
        console.print(f"What is different could be explained by {', '.join(causes)}")
    for one in repeated:
        for figure in one.unexplained:
            first, second = (figure.figure.format(value) for value in (figure.first, figure.second))
            text = f"{one.record.id} {figure.figure.label}: {first} → {second}, and no change could explain it"
            console.print(Text(text, "red"))
    for judged in verdicts:
        console.print(f"{judged.whole.claim.name}: {judged.whole.verdict} by all of its records. By those run again:")
        for when, result in (("before", judged.before), ("now", judged.now)):
            words = [result.verdict.value, measured(result), explanation(result)]
            console.print(f"  {when}: {'; '.join(filter(None, words))}")
    console.print(f"{len(repeated)} run again · {run.folder / 'records.jsonl'}")


def _table(repeated: Sequence[Reproduction]) -> Table:
    """How often each figure came out how, and by how much at most it has changed."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for header in ("figure", *(_SHORT.get(outcome, outcome) for outcome in Again), "by at most"):
        table.add_column(header, justify="left" if header == "figure" else "right", no_wrap=True)
    for name in dict.fromkeys(figure.figure.name for one in repeated for figure in one.figures):
        found = [figure for one in repeated for figure in one.figures if figure.figure.name == name]
        counts = Counter(figure.outcome for figure in found)
        largest = max(map(_apart, found))
        table.add_row(
            found[0].figure.label,
            *(Text(str(counts[outcome] or ""), _COLOURS[outcome]) for outcome in Again),
            percent(largest) if largest else "",
        )
    return table


_SHORT = {Again.WITHIN: "in interval"}


def _apart(one: Repeated) -> float:
    """The relative difference of two values."""
    scale = max(abs(one.first), abs(one.second))
    return abs(one.first - one.second) / scale if scale else 0.0


def _as_object(repeated: Sequence[Reproduction], verdicts: Sequence[Judged], run: Run) -> dict[str, Any]:
    return {
        "run": str(run.folder),
        "records": [
            {
                "id": one.record.id,
                "status": [one.record.status, one.again.status],
                "surroundings": one.surroundings,
                "figures": {
                    figure.figure.name: {
                        "kind": figure.figure.kind,
                        "first": figure.first,
                        "second": figure.second,
                        "outcome": figure.outcome,
                        "interval": list(figure.interval) if figure.interval else None,
                        "explained_by": figure.explained_by,
                    }
                    for figure in one.figures
                },
            }
            for one in repeated
        ],
        "verdicts": [
            {
                "claim": one.whole.claim.id,
                "scope": one.whole.claim.scope,
                "verdict": one.whole.verdict,
                "before": one.before.verdict,
                "now": one.now.verdict,
            }
            for one in verdicts
        ],
    }
