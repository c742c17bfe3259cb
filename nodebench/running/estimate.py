"""Estimate the run times of trials from those of similar trials on this machine."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from nodebench.spec import DataSource, Limits, Record, Status, Trial
from nodebench.spec.axes import Part, axis_names, value_type
from nodebench.spec.calibration import machine_of
from nodebench.store.run_folder import RunFolder, list_runs, records_of

# Axes in which two similar trials may differ, by level from most to least similar. The first level that has a record
# gives the estimate. An axis that is not listed here must be equal at every level, except the seed.
_NUMBERS = tuple(name for name in axis_names(Part.METHOD) if value_type(name) in (int, float))
_MAY_DIFFER: tuple[tuple[str, ...], ...] = (
    (),
    _NUMBERS,
    axis_names(Part.METHOD),
    ("model", *axis_names(Part.METHOD)),
)
_LIKENESS = tuple(axis_names(without=("seed", *level)) for level in _MAY_DIFFER)
# From this level on, trials differ in axes that can change the run time by a factor of 100.
_SURE = 1


def _key(trial: Trial, names: Iterable[str]) -> Hashable:
    """The values of a trial on some axes."""
    values = (getattr(trial, name) for name in names)
    return tuple(tuple(sorted(value.items())) if isinstance(value, dict) else value for value in values)


class Costs:
    """Run times of trials in seconds, grouped by level of similarity."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._seconds: list[dict[Hashable, list[float]]] = [defaultdict(list) for _ in _LIKENESS]
        for record in records:
            self.add(record)

    def add(self, record: Record) -> None:
        """Add the run time of a record if its trial finished or reached its time limit."""
        if record.status in (Status.OK, Status.TIMEOUT):
            self.learn(record.trial, record.duration_seconds)

    def learn(self, trial: Trial, seconds: float, alone: bool = False) -> None:
        """Add the run time of a trial; with ``alone``, only for trials that differ in nothing but the seed."""
        for known, names in zip(self._seconds, _LIKENESS, strict=True):
            known[_key(trial, names)].append(seconds)
            if alone:
                break

    def of(self, trial: Trial) -> tuple[float, bool] | None:
        """Return the median seconds of the most similar trials and whether they are very similar; None without any."""
        for level, (known, names) in enumerate(zip(self._seconds, _LIKENESS, strict=True)):
            if seconds := known.get(_key(trial, names)):
                return median(seconds), level < _SURE
        return None

    def knows(self, trial: Trial) -> bool:
        """Whether the run time of a very similar trial is known."""
        found = self.of(trial)
        return found is not None and found[1]


@dataclass(frozen=True)
class Estimate:
    """Total seconds of several trials in sequence, and how many run times are known, guessed and unknown."""

    seconds: float
    known: int
    guessed: int
    unknown: int


def estimate(trials: Iterable[Trial], costs: Costs) -> Estimate:
    """Add up the estimated run times of trials; an unknown run time counts as the mean of the others."""
    found = [costs.of(trial) for trial in trials]
    seconds = [cost[0] for cost in found if cost]
    sure = sum(cost[1] for cost in found if cost)
    unknown = len(found) - len(seconds)
    mean = sum(seconds) / len(seconds) if seconds else 0.0
    return Estimate(sum(seconds) + unknown * mean, sure, len(seconds) - sure, unknown)


def probe(
    trials: Iterable[Trial], source: DataSource, limits: Limits | None = None
) -> Iterator[tuple[Trial, float | None]]:
    """Run a few steps of one trial per configuration, and yield the estimated seconds of the whole trial.

    Args:
        trials: trials of any number of configurations.
        source: location of the data sets.
        limits: limits of each probe.

    Yields:
        tuple: a trial and its seconds, None if its probe failed.
    """
    from nodebench.trial.isolation import foresee  # imports torch

    seen, tried = Costs(), set[str]()
    for trial in trials:
        if not seen.knows(trial) and trial.configuration not in tried:
            tried.add(trial.configuration)
            seconds = foresee(trial, source, limits)
            if seconds is not None:
                seen.learn(trial, seconds)
            yield trial, seconds


def costs_on(environment: Mapping[str, Any], results: Path, but: RunFolder | None = None) -> Costs:
    """Return the run times in a results folder from all runs on an equivalent machine, except the run ``but``.

    A run that cannot be read is skipped, since an estimate is optional.
    """
    costs = Costs()
    for run in list_runs(results):
        if (but and run.folder == but.folder) or machine_of(run.environment()) != machine_of(environment):
            continue
        for record in records_of(run):
            if record.place.host is None:  # it ran here
                costs.add(record)
    return costs
