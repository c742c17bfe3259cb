"""Settle claims: run the trials that decide the most claims per hour and judge after each look, until time is up.

Each record is stored as soon as it is measured. A later call continues from the stored records.
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

LEAST_PROBABILITY = 0.05  # looks that are less likely to decide are skipped
PROBE_SECONDS = 60.0  # time limit of a probe: a few steps of a trial of unknown cost
LONG_SECONDS = 3600.0  # assumed duration of a trial whose probe exceeds its limit


@dataclass
class SettleSession:
    """Measures and judges claims within a time limit.

    Attributes:
        results: folder of the records. Its published records are ignored: a verdict never combines them with others.
        claims: claims to settle.
        data: where the data sets are.
        available: names of the available data sets.
        jobs: number of concurrent trials when no time is measured.
        frozen: the frozen declarations.
    """

    results: Path
    claims: Sequence[Claim]
    data: DataSource
    available: frozenset[str]
    jobs: int
    frozen: Frozen = field(default_factory=frozen_declarations)

    def judged(self) -> list[ClaimResult]:
        """Judge all claims by the current records."""
        records = own_records(self.results)
        return judge(all_claims(), records, calibrations(self.results), self.frozen)

    def candidates(self, results: Sequence[ClaimResult], costs: Costs) -> list[Candidate]:
        """Return what could be measured next for the claims to settle, sorted by decreasing rate."""
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
        """Measure until time is up, no candidate is left, or the run is interrupted.

        Trials whose cost is not known are probed before the condition that needs them is measured.

        Args:
            hours: time limit in hours.
            measure: runs the trials of a candidate with the given number of jobs and stores their records; returns
                False if interrupted.
            report: called before each candidate is measured.
            environment: environment of this machine, for the time estimates.

        Returns:
            tuple: the final results, and the names of the newly decided claims.
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
                continue  # the new estimates may change the order of the candidates
            report(todo[0], results)
            tried.add(todo[0].trials)
            if not measure(todo[0], 1 if todo[0].timed else self.jobs):
                break
            results = self.judged()
        return results, decided(results) - before

    def _probe(self, candidate: Candidate, costs: Costs) -> list[tuple[Trial, float | None]]:
        """Estimate the seconds of a trial for each configuration of unknown cost; None if the probe takes too long."""
        unknown = [one.trial for _, planned in candidate.todo for one in planned if not costs.knows(one.trial)]
        return list(probe(unknown, self.data, Limits(timeout=PROBE_SECONDS)))

    def _is_worth(self, one: Candidate, left: float, tried: set[frozenset[str]]) -> bool:
        jobs = 1 if one.timed else self.jobs
        return one.probability >= LEAST_PROBABILITY and one.seconds / jobs <= left and one.trials not in tried
