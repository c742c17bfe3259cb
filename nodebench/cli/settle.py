"""``nodebench claims settle``: run the trials that decide the most claims per hour."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from nodebench.claims import Claim, ClaimResult, all_claims
from nodebench.claims.amendments import choose_claim
from nodebench.claims.words import verdict_line
from nodebench.cli.exit_codes import INTERRUPTED, OK
from nodebench.cli.progress import duration
from nodebench.cli.run import TerminalListener
from nodebench.cli.terminal import Terminal
from nodebench.errors import BadInput, RunAborted, at_least
from nodebench.running.session import Execution, run_more, with_data
from nodebench.spec import DataSource
from nodebench.store.run_folder import RunFolder

_SHOWN = 20  # candidates in a dry run


def settle_claims(
    ids: Sequence[str], results: Path, data: DataSource, *, hours: float, jobs: int | None, dry_run: bool, quiet: bool
) -> int:
    """Settle claims, or print what would be measured."""
    at_least(1, jobs=jobs)
    if not 0 < hours < math.inf:
        raise BadInput(f"--hours {hours:g}: not a positive, finite number")
    claims = _named(ids)
    from nodebench.trial.fork_server import start_fork_server

    if not dry_run:
        start_fork_server()
    from nodebench.cores import usable_cores
    from nodebench.instruments import describe_environment
    from nodebench.running.estimate import costs_on
    from nodebench.settle.settle import SettleSession

    environment = describe_environment()
    settling = SettleSession(results, claims, data, _available(data), jobs or usable_cores())
    console = Terminal(soft_wrap=True)
    if dry_run:
        found = settling.candidates(settling.judged(), costs_on(environment, results))
        Terminal().print(_plan(found[:_SHOWN]))
        console.print(f"{len(found)} conditions could be decided; the first {min(_SHOWN, len(found))} are shown.")
        return OK
    measuring = _Measuring(results, data, environment, quiet)

    def report(one: Any, current: Sequence[ClaimResult]) -> None:
        open_claims = sum(not result.verdict.is_decided for result in current)
        console.print(
            f"{one.claim}: {one.condition or 'its condition'} to n = {one.replicates}, {len(one.trials)} trials, about "
            f"{duration(one.seconds)}; decides with probability {one.probability:.2f}; {open_claims} claims undecided"
        )

    after, new = settling.run(hours, measuring.measure, report, environment)
    for result in after:
        if result.claim.name in new:
            console.print(f"decided: {result.claim.name}: {verdict_line(result)}")
    console.print(f"{len(new)} more claims are decided; {sum(not r.verdict.is_decided for r in after)} are undecided.")
    return INTERRUPTED if measuring.interrupted else OK


def _named(ids: Sequence[str]) -> list[Claim]:
    known = list(dict.fromkeys(claim.id for claim in all_claims()))
    wanted = {choose_claim(id, known) for id in ids}
    return [claim for claim in all_claims() if not wanted or claim.id in wanted]


def _available(data: DataSource) -> frozenset[str]:
    """Return the data sets of a source, found by trying to load each one."""
    from nodebench.tasks import dataset_of, find_task

    found = set()
    for name in ("mnist", "ecg"):
        task = find_task(name)
        for dataset in task.datasets:
            try:
                dataset_of(task, dataset, data, next(iter(task.presets)))
                found.add(dataset)
            except BadInput:
                continue
    return frozenset(found)


def _plan(found: Sequence[Any]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for header in ("claim", "condition", "new n", "trials", "time", "chance", "claims/h"):
        right = header not in ("claim", "condition")
        table.add_column(header, justify="right" if right else "left", no_wrap=right)
    for one in found:
        table.add_row(
            Text(one.claim),
            Text(one.condition or "–"),
            str(one.replicates),
            str(len(one.trials)),
            duration(one.seconds),
            f"{one.probability:.0%}",
            f"{one.rate:.1f}",
        )
    return table


class _Measuring:
    """Runs the trials of candidates, one run per study, and stores their records."""

    def __init__(self, results: Path, data: DataSource, environment: dict[str, Any], quiet: bool) -> None:
        self._results, self._data, self._environment = results, data, environment
        self._listener = TerminalListener(quiet=quiet)
        self.interrupted = False

    def measure(self, candidate: Any, jobs: int) -> bool:
        """Run the missing trials of a candidate; return False if interrupted."""
        for asked, planned in candidate.todo:
            study = with_data(asked.model_copy(update={"data": self._data}))
            todo = planned if candidate.timed else [one.once() for one in planned]
            run = RunFolder.create(self._results, study, self._environment)
            session = run_more(run, study, todo, Execution(self._results, jobs=jobs), self._listener)
            if session.failure:
                raise RunAborted(session.failure)
            self.interrupted = session.stopped
            if self.interrupted:
                return False
        return True
