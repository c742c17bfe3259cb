"""Compare two runs: each metric of each configuration, paired by trial.

Counted and computed metrics are reproducible on one machine with the same software, so they are compared exactly.
Sampled metrics are compared as ratios, with the interval and the p-value of ``nodebench.analysis.noise``, and Holm's
correction over all tests.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import product
from statistics import fmean
from typing import TYPE_CHECKING

from nodebench.analysis.environment_diff import Changes, changes
from nodebench.analysis.fairness import Point, differing, unreliable
from nodebench.analysis.noise import Noise, Shift, assumed_noise, shift
from nodebench.analysis.statistics import LEVEL, exp, holm
from nodebench.analysis.summary import MACHINE, Configuration, configurations, varying
from nodebench.errors import BadInput
from nodebench.spec import Metric, Record, Status
from nodebench.spec.axes import AXES
from nodebench.spec.metrics import Kind, metric, short
from nodebench.spec.trial import Scalar

if TYPE_CHECKING:
    import pandas as pd

# The sampled metrics to compare. The other sampled metrics are parts of these or measure their spread.
_SAMPLED = (
    "step_seconds",
    "forward_seconds",
    "backward_seconds",
    "first_step_seconds",
    "process_peak_bytes",
    "accelerator_peak_bytes",
)


class Outcome(StrEnum):
    """How a metric of the second run compares with the first run."""

    WORSE = "worse"
    BETTER = "better"
    DIFFERENT = "different"
    SAME = "no difference found"
    IDENTICAL = "identical"


@dataclass(frozen=True)
class Change:
    """One metric of one configuration in two runs.

    Attributes:
        configuration: label that distinguishes the configuration from the others.
        metric: the compared metric.
        seeds: seeds of the replicates that both runs have, in the order of the values.
        first: values of the first run, one per replicate.
        second: values of the second run, one per replicate.
        outcome: result of the comparison.
        shift: estimate of the log ratio, or of the difference if a value is not positive; None if the metric was
            compared exactly.
        relative: whether ``shift`` is a log ratio.
        p_corrected: p-value after Holm's correction over all tests.
    """

    configuration: str
    metric: Metric
    seeds: tuple[int, ...]
    first: tuple[float, ...]
    second: tuple[float, ...]
    outcome: Outcome
    shift: Shift | None = None
    relative: bool = True
    p_corrected: float = 1.0

    @property
    def ratio(self) -> float | None:
        """The second run divided by the first: geometric mean over replicates; None if a value is not positive."""
        if min(*self.first, *self.second) <= 0:
            return None
        return math.exp(fmean(math.log(b / a) for a, b in zip(self.first, self.second, strict=True)))

    @property
    def interval(self) -> tuple[float, float] | None:
        """Interval of the ratio at ``LEVEL``; None if the metric was compared exactly or as a difference."""
        if self.shift is None or not self.relative:
            return None
        low, high = self.shift.interval
        return exp(low), exp(high)

    @property
    def smallest(self) -> float | None:
        """The smallest ratio that this comparison detects with 80 % power; None if there is no ratio test."""
        return exp(self.shift.smallest) if self.shift is not None and self.relative else None


@dataclass(frozen=True)
class Ending:
    """A trial that ended with another status in the second run.

    Attributes:
        configuration: label that distinguishes the configuration from the others.
        seed: of the trial.
        first: how it ended in the first run.
        second: how it ended in the second run.
    """

    configuration: str
    seed: int
    first: Status
    second: Status

    @property
    def outcome(self) -> Outcome:
        """Better if the trial now succeeds, worse if it now fails, different if it fails in another way."""
        if self.second is Status.OK:
            return Outcome.BETTER
        return Outcome.WORSE if self.first is Status.OK else Outcome.DIFFERENT


@dataclass(frozen=True)
class Comparison:
    """Two runs side by side.

    Attributes:
        environment_changes: what differs in environment and code.
        changes: every metric that both runs have.
        endings: trials whose status has changed.
        only: number of trials that only the first run has, and that only the second run has.
        notes: what was left out, and why.
        noise_known: whether the noise of the machine was measured.
    """

    environment_changes: Changes
    changes: tuple[Change, ...]
    endings: tuple[Ending, ...]
    only: tuple[int, int]
    notes: tuple[str, ...]
    noise_known: bool = False

    @property
    def outcomes(self) -> Counter[Outcome]:
        """Number of metrics and endings with each outcome."""
        return Counter([*(one.outcome for one in self.changes), *(one.outcome for one in self.endings)])

    def frame(self) -> "pd.DataFrame":
        """One row per configuration and metric: ``outcome``, means before and after, ``ratio`` and its interval."""
        import pandas as pd

        rows = []
        for one in self.changes:
            low, high = one.interval or (None, None)
            row = {"configuration": one.configuration, "metric": one.metric.name, "outcome": one.outcome.value}
            means = {"before": fmean(one.first), "after": fmean(one.second), "ratio": one.ratio}
            rows.append(row | means | {"low": low, "high": high, "n": len(one.seeds)})
        return pd.DataFrame(rows)

    def _repr_html_(self) -> str:
        return self.frame().to_html(index=False, na_rep="–")


def compare(first: Sequence[Record], second: Sequence[Record], noise: Mapping[str, Noise] | None = None) -> Comparison:
    """Compare two runs, trial by trial.

    Args:
        first: records of the first run; the latest record of a trial is used.
        second: records of the second run.
        noise: noise of the machine, by metric; if unknown, see ``nodebench.analysis.noise.assumed_noise``.

    Raises:
        BadInput: the runs have no trial in common; the message names the axes on which their trials differ.
    """
    before, after = configurations(first), configurations(second)
    common = _common(before, after)
    of_time, of_other = assumed_noise(first, second)
    taken = {name: of_time if metric(name).is_time else of_other for name in _SAMPLED} | dict(noise or {})
    if not common:
        raise BadInput(f"the two runs have no trial in common: {_apart(before, after)}")
    axes = varying([one for one, _ in common])
    notes = Counter[str]()
    found: list[Change] = []
    endings: list[Ending] = []
    for one, pairs in common:
        label = _label(one, axes)
        endings += [
            Ending(label, seed, a.status, b.status) for seed, (a, b) in pairs.items() if a.status is not b.status
        ]
        good = {seed: pair for seed, pair in pairs.items() if all(record.status is Status.OK for record in pair)}
        notes.update(_left_out(good.values()))
        notes.update(_of_other_code(pairs.values()))
        metrics = {seed: (compared(a), compared(b)) for seed, (a, b) in good.items()}
        names = dict.fromkeys(name for a, b in metrics.values() for name in a if name in b)
        for name in names:
            usable = {seed for seed, pair in good.items() if not _spoiled(pair, metric(name).is_time)}
            values = {s: (a[name], b[name]) for s, (a, b) in metrics.items() if s in usable and name in a and name in b}
            if values:
                found.append(_change(label, name, values, taken))
    ids = {record.id for record in first}, {record.id for record in second}
    matched = [pair for _, pairs in common for pair in pairs.values()]
    environment_changes = {name: pair for a, b in matched for name, pair in changes(a, b).items()}
    only = len(ids[0] - ids[1]), len(ids[1] - ids[0])
    left_out = tuple(f"{count} × {note}" for note, count in sorted(notes.items()))
    return Comparison(environment_changes, tuple(_settled(found)), tuple(endings), only, left_out, bool(noise))


Pairs = dict[int, tuple[Record, Record]]  # by seed: the record of the first run, and that of the second


def _common(before: Sequence[Configuration], after: Sequence[Configuration]) -> list[tuple[Configuration, Pairs]]:
    """Return the configurations that both runs have, with their record pairs, separately for each pair of machines.

    If the two machines differ, the configuration's machine names both: ``A, 2 cores → B, 8 cores``.
    """
    others: dict[str, list[Configuration]] = {}
    for one in after:
        others.setdefault(one.records[0].trial.configuration, []).append(one)
    found = []
    for one in before:
        for other in others.get(one.records[0].trial.configuration, ()):
            if pairs := _pairs(one, other):
                machines = dict.fromkeys(str(side.axes[MACHINE]) for side in (one, other))
                found.append((replace(one, axes=one.axes | {MACHINE: " → ".join(machines)}), pairs))
    return found


def _pairs(first: Configuration, second: Configuration) -> Pairs:
    """Return the two records of each seed that both configurations have."""
    others = {record.trial.seed: record for record in second.records}
    return {r.trial.seed: (r, others[r.trial.seed]) for r in first.records if r.trial.seed in others}


def _label(one: Configuration, axes: Sequence[str]) -> str:
    """Return what distinguishes a configuration from the others; its task if there are no others."""
    parts = [(name, _shown(name, one.axis(name))) for name in axes]
    text = ", ".join(_axis_text(name, value) for name, value in parts if value is not None)
    return text or str(one.axis("task"))


def _shown(name: str, value: Scalar | None) -> Scalar | None:
    """Return the value; for None, what None means on the axis."""
    return AXES[name].unset if value is None and name in AXES else value


def _axis_text(name: str, value: Scalar) -> str:
    text = short(value) if isinstance(value, float) else str(value)
    return text if name in ("task", "model", "solver", "gradient", "dataset") else f"{name} {text}"


def compared(record: Record) -> dict[str, float]:
    """Return the values of a record to compare: metrics, costs, and the loss at the end of training."""
    last = record.history[-1].get("loss") if record.history else None
    known = {**record.metrics, **record.costs, "loss": last}
    return {name: value for name, value in known.items() if value is not None and _is_compared(name)}


def _is_compared(name: str) -> bool:
    return name in _SAMPLED or metric(name).kind is not Kind.SAMPLED


def _change(
    label: str,
    name: str,
    values: Mapping[int, tuple[float, float]],
    noise: Mapping[str, Noise],
) -> Change:
    """Compare one metric over the usable replicates, given by seed (at least one)."""
    known = metric(name)
    one, other = tuple(a for a, _ in values.values()), tuple(b for _, b in values.values())
    change = Change(label, known, tuple(values), one, other, Outcome.IDENTICAL)
    if one == other and known.kind is not Kind.SAMPLED:
        return change
    if known.kind is Kind.COUNTED:
        return replace(change, outcome=_direction(known, fmean(other) - fmean(one)))
    relative = min(*one, *other) > 0
    apart = [math.log(b / a) if relative else b - a for a, b in values.values()]
    if not relative and known.kind is Kind.SAMPLED:  # zero or negative values have no ratio
        return replace(change, outcome=Outcome.SAME, shift=Shift(fmean(apart), math.inf, 0), relative=False)
    tested = shift(apart, noise.get(name) if relative else None)
    return replace(change, outcome=Outcome.SAME, shift=tested, relative=relative)


def _left_out(pairs: Iterable[tuple[Record, Record]]) -> Iterator[str]:
    """Yield why metrics of a trial are left out."""
    for pair in pairs:
        for timed, what in ((False, "all metrics"), (True, "times")):
            if reason := _spoiled(pair, timed):
                yield f"{what} of a trial left out: {reason}"
                break


def _of_other_code(pairs: Iterable[tuple[Record, Record]]) -> Iterator[str]:
    """Yield a note for each pair whose trials are equal but whose user code or initial weights differ."""
    for first, second in pairs:
        if first.measured is not None and second.measured is not None and first.measured != second.measured:
            same_code = first.measured.code == second.measured.code
            what = "the initial weights of the field differ" if same_code else "the field's code differs"
            yield f"{what} between the two records of a trial"


def _spoiled(pair: tuple[Record, Record], timed: bool) -> str | None:
    """Return why a pair of records is unreliable; None if both records are reliable."""
    return unreliable(pair[0], timed) or unreliable(pair[1], timed)


def _settled(found: Sequence[Change]) -> list[Change]:
    """Set the outcome of each tested change, after correction for multiple testing."""
    tested = [one for one in found if one.shift is not None]
    corrected = dict(zip(map(id, tested), holm([one.shift.p for one in tested if one.shift]), strict=True))
    return [_decided(one, corrected[id(one)]) if id(one) in corrected else one for one in found]


def _decided(one: Change, p: float) -> Change:
    assert one.shift is not None
    if p < 1 - LEVEL:
        return replace(one, p_corrected=p, outcome=_direction(one.metric, one.shift.mean))
    # Any change of a computed metric is real; if it is not significant, only its direction is unknown.
    changed = one.metric.kind is Kind.COMPUTED
    return replace(one, p_corrected=p, outcome=Outcome.DIFFERENT if changed else Outcome.SAME)


def _direction(known: Metric, change: float) -> Outcome:
    if known.better == "neither" or change == 0:
        return Outcome.DIFFERENT
    return Outcome.BETTER if (change < 0) == (known.better == "lower") else Outcome.WORSE


def _apart(first: Iterable[Configuration], second: Iterable[Configuration]) -> str:
    """Return the differences between the two most similar trials of the runs."""
    sides = [[Point.of(one.records[0]) for one in found] for found in (first, second)]
    pairs = (differing(a.setting, b.setting, {*a.machine, *a.own, *b.machine, *b.own}) for a, b in product(*sides))
    nearest = min(pairs, key=len, default={})
    return ", ".join(f"{name} {a} / {b}" for name, (a, b) in nearest.items()) or "one of them has no record"
