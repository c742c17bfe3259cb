"""Compare a record with a rerun of its trial: which metrics agree, and what could explain those that do not."""

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy import special

from nodebench.analysis.compare_runs import compared
from nodebench.analysis.environment_diff import Changes, changes, reaching
from nodebench.analysis.noise import Noise, shift
from nodebench.analysis.statistics import LEVEL, Range
from nodebench.spec import Metric, Record, Status
from nodebench.spec.calibration import machine_of
from nodebench.spec.metrics import Kind, metric

FEWEST = 3  # replicates of the original for a prediction interval


class ReproductionOutcome(StrEnum):
    """How a metric of the rerun compares with the original."""

    IDENTICAL = "identical"
    WITHIN = "within the interval"
    DIFFERENT = "different"
    UNKNOWN = "no interval"  # not identical, and too few data for an interval


@dataclass(frozen=True)
class Repeated:
    """One metric of a trial that was run again.

    Attributes:
        metric: the metric.
        first: the original value.
        second: the new value.
        outcome: how the new value compares with the original.
        interval: prediction interval of a further replicate of the original at ``LEVEL``; None if unknown.
        explained_by: changes of the environment that could explain a difference; empty if the values are identical.
    """

    metric: Metric
    first: float
    second: float
    outcome: ReproductionOutcome
    interval: Range | None
    explained_by: Changes


@dataclass(frozen=True)
class Reproduction:
    """A record and the record of a rerun of its trial.

    Attributes:
        record: the original record.
        again: the new record.
        metrics: the comparison of each metric.
        environment_changes: what has changed in machine, software and data.
    """

    record: Record
    again: Record
    metrics: tuple[Repeated, ...]
    environment_changes: Changes

    @property
    def same_end(self) -> bool:
        """Whether both trials ended with the same status."""
        return self.record.status is self.again.status

    @property
    def unexplained(self) -> list[Repeated]:
        """Deterministic metrics that differ although no change of the environment could explain it.

        Sampled metrics are not included: one in twenty lies outside its interval, and they depend on the load of the
        machine, which records do not contain.
        """
        return [
            one
            for one in self.metrics
            if one.outcome is ReproductionOutcome.DIFFERENT
            and not one.explained_by
            and one.metric.kind is not Kind.SAMPLED
        ]


class Replicates:
    """Successful records, grouped by machine and by every axis except the seed."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._known: dict[Hashable, dict[int, Record]] = {}
        for record in sorted(records, key=lambda record: record.started):
            if record.status is Status.OK:
                self._known.setdefault(self._key(record), {})[record.trial.seed] = record

    def of(self, record: Record) -> list[Record]:
        """The latest replicate of each seed, with the record itself for its own seed."""
        return list((self._known.get(self._key(record), {}) | {record.trial.seed: record}).values())

    @staticmethod
    def _key(record: Record) -> Hashable:
        return record.trial.configuration, machine_of(record.environment)


def reproduction(
    record: Record, again: Record, replicates: Sequence[Record], noise: Mapping[str, Noise] | None = None
) -> Reproduction:
    """Compare a record with the record of a rerun of its trial.

    Args:
        record: the original record.
        again: the record of the rerun.
        replicates: replicates of the original configuration, including ``record``.
        noise: noise of the machine, by metric, if both records are from the same machine.
    """
    found = changes(record, again)
    before, after, others = compared(record), compared(again), [compared(one) for one in replicates]
    metrics = []
    for name, first in before.items():
        if name in after:
            known = metric(name)
            why = reaching(found, known.kind, record.trial)
            interval = _interval(name, first, others, noise or {})
            if known.kind is not Kind.SAMPLED and not why:
                interval = None  # without a relevant change, the values must be identical
            outcome = _outcome(known, first, after[name], interval)
            why = {} if outcome is ReproductionOutcome.IDENTICAL else why
            metrics.append(Repeated(known, first, after[name], outcome, interval, why))
    return Reproduction(record, again, tuple(metrics), found)


def _outcome(known: Metric, first: float, second: float, interval: Range | None) -> ReproductionOutcome:
    if first == second:
        return ReproductionOutcome.IDENTICAL
    if interval is None:
        return ReproductionOutcome.UNKNOWN if known.kind is Kind.SAMPLED else ReproductionOutcome.DIFFERENT
    return ReproductionOutcome.WITHIN if interval[0] <= second <= interval[1] else ReproductionOutcome.DIFFERENT


def _interval(
    name: str, first: float, replicates: Sequence[Mapping[str, float]], noise: Mapping[str, Noise]
) -> Range | None:
    """Return the prediction interval of another replicate, from the machine's noise or the spread of replicates."""
    if name in noise and first > 0:
        low, high = shift([0.0], noise[name]).interval
        return first * math.exp(low), first * math.exp(high)
    values = [metrics[name] for metrics in replicates if name in metrics]
    if len(values) < FEWEST:
        return None
    logs = min(values) > 0
    numbers = np.log(values) if logs else np.asarray(values)
    width = special.stdtrit(len(values) - 1, (1 + LEVEL) / 2) * np.std(numbers, ddof=1) * math.sqrt(1 + 1 / len(values))
    low, high = float(np.mean(numbers) - width), float(np.mean(numbers) + width)
    return (math.exp(low), math.exp(high)) if logs else (low, high)
