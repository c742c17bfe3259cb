"""Rerun the trials of stored records."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nodebench.analysis.fairness import OUTCOMES
from nodebench.analysis.noise import Noise, noise_of
from nodebench.analysis.reproduction import Replicates, Reproduction, reproduction
from nodebench.api.result import Run
from nodebench.api.running import listener
from nodebench.claims import ClaimResult, all_claims, judge
from nodebench.claims.amendments import new_name
from nodebench.claims.freeze import frozen_declarations
from nodebench.errors import BadInput, RunAborted, at_least, nearest
from nodebench.running.listener import Listener
from nodebench.spec import DataSource, Record, Status, Study
from nodebench.spec.calibration import Calibration, machine_of
from nodebench.spec.study import REPRODUCED
from nodebench.store.calibrations import calibrations
from nodebench.store.published import records_to_judge
from nodebench.store.run_folder import RunFolder, kept_records


@dataclass(frozen=True)
class Choice:
    """The records to rerun: ``sample`` of them, drawn with ``pick`` as seed, none longer than ``within`` seconds."""

    sample: int | None = None
    pick: str = ""
    within: float | None = None

    def of(self, records: Sequence[Record]) -> list[Record]:
        """Return the selected records; the same ``pick`` always selects the same ones."""
        fit = [record for record in records if self.within is None or record.duration_seconds <= self.within]
        if self.sample is None:
            return fit
        return sorted(fit, key=lambda r: hashlib.sha256(f"{self.pick} {r.id}".encode()).digest())[: self.sample]


@dataclass(frozen=True)
class Judged:
    """The verdict on a claim from three sets of records.

    Attributes:
        whole: from all records.
        before: from the original records of the rerun trials.
        now: from the new records.
    """

    whole: ClaimResult
    before: ClaimResult
    now: ClaimResult


@dataclass(frozen=True)
class Reproduced:
    """Trials that were run again.

    Attributes:
        run: the run with the new records.
        trials: each original record with its new record, and the outcome of each metric.
        verdicts: verdicts on the named claim from these records only; empty if no claim was named.
        failure: why the run could not continue; None if it did not fail.
        stopped: whether the run was interrupted.
    """

    run: Run
    trials: Sequence[Reproduction]
    verdicts: Sequence[Judged]
    failure: str | None
    stopped: bool

    @property
    def holds(self) -> bool:
        """Whether every difference could be explained by a change of the code or the machine."""
        return not any(one.unexplained or not one.same_end for one in self.trials)


def reproduce(
    what: str,
    *,
    results: str | Path = "results",
    out: str | Path = "results",
    choice: Choice | None = None,
    data: DataSource | None = None,
    progress: bool | Listener = True,
) -> Reproduced:
    """Rerun trials, using only their records.

    Args:
        what: the id of a claim, of a record (its first six digits or more), or the name of a run.
        results: folder of the records.
        out: folder in which the new run is made.
        choice: which of the records are run again; all of them by default.
        data: location of the full data sets.
        progress: whether to show a progress bar, or a ``Listener`` that shows the progress.

    Raises:
        BadInput: there is no such record, or none is chosen.
    """
    folder, choice = Path(results), choice or Choice()
    at_least(1, sample=choice.sample)
    everything = kept_records(folder)
    found, claims = _found(what, folder, everything)
    ended = [record for record in found if record.status is Status.OK or record.status in OUTCOMES]
    if not ended:
        raise BadInput(
            f"'{what}' has no record of a finished trial (interrupted and crashed trials and errors do not count)"
        )
    chosen = choice.of(ended)
    if not chosen:
        raise BadInput(f"none of the {len(ended)} records of '{what}' takes {choice.within:g} s or less")
    pairs, run, stopped, failure = _run(chosen, Path(out), data or DataSource(), listener(progress))
    known, replicates = calibrations(folder), Replicates(everything)
    again = [
        reproduction(a, b, replicates.of(a), _noise(known, a, b))
        for a, b in pairs
        if b.status is not Status.INTERRUPTED
    ]
    verdicts = [_judged(verdict, again, known) for verdict in claims] if again else []
    return Reproduced(Run(run.folder), again, verdicts, failure, stopped)


def _found(what: str, results: Path, everything: Sequence[Record]) -> tuple[list[Record], list[ClaimResult]]:
    """Return the records of a claim, a record id or a run, and the results of the claim if there is one."""
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
        run = RunFolder.open(results, what)
    except BadInput:
        near = new_name(what) or nearest(what, [claim.id for claim in all_claims()])
        hint = f"did you mean the claim {near}?" if near else "see 'nodebench claims list' and 'nodebench results list'"
        raise BadInput(f"'{what}' is not a claim, a record id or a run in {results}; {hint}") from None
    return run.records(), []


_FEWEST_DIGITS = 6


def _run(
    chosen: Sequence[Record], out: Path, data: DataSource, listener: Listener
) -> tuple[list[tuple[Record, Record]], RunFolder, bool, str | None]:
    """Run and store the trials; return the record pairs, the run, whether it was stopped, and the failure message."""
    from nodebench.trial.fork_server import start_fork_server

    start_fork_server()
    from nodebench.instruments import describe_environment
    from nodebench.running.engines.local import LocalEngine
    from nodebench.running.estimate import Costs
    from nodebench.running.repeat import Repetition, grid_of
    from nodebench.running.session import with_data

    groups = {record.id: grid_of(record.trial) for record in chosen}
    study = with_data(Study(name=REPRODUCED, about="trials run again from their records", groups=groups, data=data))
    run = RunFolder.create(out, study, describe_environment())
    repetition = Repetition(run, study.data, lambda: LocalEngine(1))
    trials = [record.trial for record in chosen]
    pairs, failure = [], None
    with (
        run.writing(),
        listener.interruption(repetition.stop) as received,
        listener.display(trials, Costs(chosen)) as display,
    ):
        try:
            for record, again in repetition.again(chosen, display.progress):
                pairs.append((record, again))
                display.finished(again)
        except RunAborted as error:
            failure = str(error)
    return pairs, run, bool(received), failure


def _judged(result: ClaimResult, again: Sequence[Reproduction], known: Sequence[Calibration]) -> Judged:
    sides = [one.record for one in again], [one.again for one in again]
    before, now = (judge([result.claim], side, known, frozen_declarations())[0] for side in sides)
    return Judged(result, before, now)


def _noise(known: Sequence[Calibration], record: Record, again: Record) -> dict[str, Noise]:
    """Return the noise of the machine; empty if the two records are from different machines."""
    if machine_of(record.environment) != machine_of(again.environment):
        return {}
    return noise_of(known, again.environment, again.trial.threads)
