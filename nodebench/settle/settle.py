"""Settling claims: measure what decides most conditions an hour, judge after each look, and go on until the time is up.

Everything that is measured is stored as it comes. Settling again goes on from the records that there are.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nodebench.claims import Claim, ClaimResult, all_claims, judge
from nodebench.claims.freeze import Frozen, frozen_declarations
from nodebench.running.estimate import Costs, costs_on, probe
from nodebench.settle.candidates import Candidate, candidates, decided
from nodebench.spec import DataSource, Limits, Trial
from nodebench.store.calibrations import calibrations
from nodebench.store.published import own_records

LEAST_PROBABILITY = 0.05  # below it a look is not worth its time
PROBE_SECONDS = 60.0  # for a few steps of a trial whose cost is not known
LONG_SECONDS = 3600.0  # taken for a trial whose few steps take longer


@dataclass
class Settling:
    """One settling.

    Attributes:
        results: the folder of the records. The published ones in it are left out, since no verdict rests on both.
        claims: those to settle.
        data: where the data sets are.
        available: names of data sets that are there.
        jobs: trials at once, where no time is measured.
        frozen: the frozen declarations.
    """

    results: Path
    claims: Sequence[Claim]
    data: DataSource
    available: frozenset[str]
    jobs: int
    frozen: Frozen = field(default_factory=frozen_declarations)

    def judged(self) -> list[ClaimResult]:
        """The results of all claims by the records that there are now."""
        records = own_records(self.results)
        return judge(all_claims(), records, calibrations(self.results), self.frozen)

    def candidates(self, results: Sequence[ClaimResult], costs: Costs) -> list[Candidate]:
        """What could be measured next for the claims to settle, the best rate first."""
        names = {claim.name for claim in self.claims}
        mine = [result for result in results if result.claim.name in names]
        return candidates(mine, own_records(self.results), costs, self.frozen.contents, self.available)

    def run(
        self,
        hours: float,
        measure: Callable[[Candidate, int], bool],
        report: Callable[[Candidate, list[ClaimResult]], None],
        environment: dict[str, object],
    ) -> tuple[list[ClaimResult], set[str]]:
        """Measure until the time is up, nothing more would decide, or it is interrupted.

        Trials whose cost is not known are probed before the condition that needs them is measured.

        Args:
            hours: the time.
            measure: runs the trials of a candidate with a number of jobs, and stores their records; false if it was
                interrupted.
            report: called before each candidate is measured.
            environment: of this machine, for estimates.

        Returns:
            tuple: the results at the end, and the names of the claims that were decided on the way.
        """
        until = time.monotonic() + 3600 * hours
        results = self.judged()
        before = decided(results)
        tried: set[frozenset[str]] = set()
        probed: list[tuple[Trial, float | None]] = []
        while time.monotonic() < until:
            costs = costs_on(environment, self.results)
            for trial, seconds in probed:
                costs.learn(trial, LONG_SECONDS if seconds is None else seconds, alone=seconds is None)
            left = until - time.monotonic()
            todo = [one for one in self.candidates(results, costs) if self._is_worth(one, left, tried)]
            if not todo:
                break
            if found := self._probe(todo[0], costs):
                probed += found
                continue  # what it costs may put another one first
            report(todo[0], results)
            tried.add(todo[0].trials)
            if not measure(todo[0], 1 if todo[0].timed else self.jobs):
                break
            results = self.judged()
        return results, decided(results) - before

    def _probe(self, candidate: Candidate, costs: Costs) -> list[tuple[Trial, float | None]]:
        """Estimate the seconds of one trial of each configuration of unknown cost; None if that takes too long."""
        unknown = [one.trial for _, planned in candidate.todo for one in planned if not costs.knows(one.trial)]
        return list(probe(unknown, self.data, Limits(timeout=PROBE_SECONDS)))

    def _is_worth(self, one: Candidate, left: float, tried: set[frozenset[str]]) -> bool:
        jobs = 1 if one.timed else self.jobs
        return one.probability >= LEAST_PROBABILITY and one.seconds / jobs <= left and one.trials not in tried
