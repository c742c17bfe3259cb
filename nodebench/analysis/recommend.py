"""Recommend a solver and gradient method: the Pareto front of the measured candidates, and why others are rejected."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from nodebench.analysis.fairness import Point, by_installations, points_of, unreliable
from nodebench.analysis.statistics import Estimate, estimate, median
from nodebench.analysis.study_membership import is_at, is_value
from nodebench.analysis.summary import Configuration, configurations
from nodebench.spec import Preset, Record, Status
from nodebench.spec.axes import Part, axis_names
from nodebench.spec.calibration import machine_label
from nodebench.spec.metrics import metric, several
from nodebench.spec.trial import Scalar

ERROR, SECONDS = "gradient_error", "step_seconds"
# In order of preference. Only the peak of the process includes JAX's memory.
MEMORY = ("tensor_peak_bytes", "process_peak_bytes")

# The axes to choose from. All other settings of a trial define the problem and must be equal.
_CHOICE = frozenset(axis_names(Part.METHOD))
ENOUGH = 5  # configurations of a problem that is preferred to smaller ones
_FEWEST = 2  # least number of replicates for an interval


class Options(StrEnum):
    """How the task options of a problem relate to the defaults, in order of preference."""

    DEFAULT = "the task's default options"
    SHORT = "options of a short trial"
    OTHER = "options that are not the task's defaults"


class CandidateStatus(StrEnum):
    """Status of a candidate."""

    CHOSEN = "chosen"
    FRONT = "on the front"
    BEATEN = "beaten"
    UNTIMED = "could not be timed"
    UNFIT = "outside the limits"
    FAILED = "failed"


# The statuses of candidates that meet the limits.
WITHIN_LIMITS = (CandidateStatus.CHOSEN, CandidateStatus.FRONT, CandidateStatus.BEATEN)


@dataclass(frozen=True)
class Limits:
    """Limits of a recommendation: ``error`` is the relative gradient error, ``memory`` in bytes; None is no limit."""

    error: float | None = None
    memory: float | None = None


@dataclass(frozen=True)
class Candidate:
    """A measured combination of solver, step control and gradient method.

    Attributes:
        error, memory: maximum over replicates, because each replicate must meet the limits; None if not measured.
        seconds: median over replicates; None if not measured.
        seen_by: name of the metric in ``memory``.
        status, why: status of the candidate, and the reason.
    """

    configuration: Configuration = field(repr=False)
    error: float | None
    seconds: float | None
    memory: float | None
    seen_by: str
    status: CandidateStatus
    why: str

    @property
    def record(self) -> Record:
        """One of its replicates."""
        return self.configuration.records[0]

    @property
    def name(self) -> str:
        """Short label: solver, step control and gradient method."""
        trial = self.record.trial
        return f"{trial.solver_label} {trial.step_label} {trial.gradient_label}"

    @property
    def timed(self) -> int:
        """Number of replicates with a usable time."""
        return len(self.configuration.by_seed(SECONDS))


@dataclass(frozen=True)
class Present:
    """The current options of a task, which may have changed since a record was made.

    Attributes:
        preset: option values of the default preset, ``quick``.
        neutral: value of each option in a record that was made before the option existed.
        brief: option values of a short trial.
    """

    preset: Mapping[str, Scalar | None] = field(default_factory=dict)
    neutral: Mapping[str, Scalar | None] = field(default_factory=dict)
    brief: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True)
class Problem:
    """Records that differ only in the axes to choose from, and how their options relate to the task's defaults.

    Attributes:
        differing: options that were not requested and that differ from the current defaults: the recorded value and
            the default. For a preset other than ``quick``, the overridden options.
    """

    records: Sequence[Record]
    options: Options
    differing: Mapping[str, tuple[Scalar | None, Scalar | None]] = field(default_factory=dict)

    @property
    def options_known(self) -> int:
        """Number of options in its records; an earlier version stored fewer."""
        return max(len(record.options) for record in self.records)


@dataclass(frozen=True)
class Recommendation:
    """The recommended candidate and all others.

    Attributes:
        problem: readable description of what the candidates have in common.
        options: how the options of these records relate to the task's defaults.
        candidates: all candidates; the chosen one first, then by status and time.
        choice, runner_up: the two fastest candidates that meet the limits; None if there is none.
        time_ratio: time of the runner-up divided by the time of the choice, paired by seed.
    """

    problem: str
    options: Options
    candidates: Sequence[Candidate]
    choice: Candidate | None
    runner_up: Candidate | None
    time_ratio: Estimate | None


def problems(records: Iterable[Record], wanted: Mapping[str, Scalar | None], present: Present) -> list[Problem]:
    """Group records by problem. Two installations of one plug-in are two problems.

    Problems with the task's default options come first, then those of short trials, then those with other options or
    another preset. Among equal ones, problems with at least ``ENOUGH`` configurations come first; then those measured
    by the latest version, which records the most options; then those with the most configurations.

    Args:
        records: any records.
        wanted: requested values of axes and options; None for any value.
        present: the current options of the task.
    """
    found: dict[str, list[Point]] = {}
    asked = {name: value for name, value in wanted.items() if value is not None}
    for point in points_of(records):
        record = point.record
        if record.trial.solver is None or record.trial.gradient is None:
            continue
        if not is_at(point.axes, asked):
            continue
        may_differ = _CHOICE | {"seed", *point.own}
        fixed = {name: value for name, value in point.setting.items() if name not in may_differ}
        fixed["machine"] = machine_label(record.environment)
        found.setdefault(str(sorted(fixed.items())), []).append(point)
    groups = [[point.record for point in some] for points in found.values() for some in by_installations(points)]

    def rank(problem: Problem) -> tuple[int, bool, int, int, str]:
        kind, number = list(Options).index(problem.options), len(configurations(problem.records))
        latest = max(one.started for one in problem.records)
        return -kind, number >= ENOUGH, problem.options_known, number, latest

    return sorted((_problem(some, asked, present) for some in groups), key=rank, reverse=True)


def _problem(records: Sequence[Record], asked: Mapping[str, Scalar], present: Present) -> Problem:
    """Return the problem of records with equal options, and classify the options that were not requested."""
    trial = records[0].trial
    if trial.preset is not Preset.QUICK:
        overrides = {name: (value, None) for name, value in trial.overrides.items() if name not in asked}
        return Problem(records, Options.OTHER, overrides)
    differing = _differing(records[0], asked, present)
    if not differing:
        return Problem(records, Options.DEFAULT)
    short = all(
        name in present.brief and is_value(value, present.brief[name]) for name, (value, _) in differing.items()
    )
    return Problem(records, Options.SHORT if short else Options.OTHER, differing)


def _differing(
    record: Record, asked: Mapping[str, Scalar], present: Present
) -> dict[str, tuple[Scalar | None, Scalar | None]]:
    """Return the options of a record that differ from the current defaults; older records store only overrides."""
    known = {**present.neutral, **record.options} if record.options else present.preset
    recorded = {**known, **record.trial.overrides}
    names = [name for name in dict.fromkeys([*recorded, *present.preset]) if name not in asked]
    pairs = {name: (recorded.get(name), present.preset.get(name)) for name in names}
    return {name: pair for name, pair in pairs.items() if not is_value(*pair)}


def by_machine(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Records by the processor and the accelerator that they were measured on."""
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(Point.of(record).machine["machine"], []).append(record)
    return found


def needs_another_time(record: Record) -> bool:
    """Whether only the time of a record is unreliable, so that rerunning its trial may help."""
    return record.status is Status.OK and bool(unreliable(record, timed=True)) and not unreliable(record, timed=False)


def recommend(problem: Problem, limits: Limits) -> Recommendation:
    """Choose the fastest candidate of a problem that meets the limits.

    Args:
        problem: see ``problems``.
        limits: limits on error and memory.
    """
    measured = [_measured(one) for one in configurations(_best(problem.records))]
    fit = [one for one in measured if _unfit(one, limits) is None]
    fit.sort(key=lambda one: (one.seconds or 0.0, one.error or 0.0))
    choice, runner_up = (*fit, None, None)[:2]
    judged = [_judged(one, choice, fit, limits) for one in measured]
    judged.sort(
        key=lambda one: (list(CandidateStatus).index(one.status), one.seconds if one.seconds is not None else 1e9)
    )
    by_name = {one.name: one for one in judged}
    chosen = by_name[choice.name] if choice else None
    second = by_name[runner_up.name] if runner_up else None
    time_ratio = _paired(second.configuration, chosen.configuration, SECONDS) if chosen and second else None
    return Recommendation(_described(problem.records[0]), problem.options, judged, chosen, second, time_ratio)


def _best(records: Iterable[Record]) -> list[Record]:
    """Return the latest record of each trial.

    A successful record with a usable time is kept if the later one was interrupted or only its time is unreliable.
    """
    found: dict[str, Record] = {}
    for record in sorted(records, key=lambda record: record.started):
        before = found.get(record.id)
        worse = record.status is Status.INTERRUPTED or needs_another_time(record)
        if before is None or not worse or before.status is not Status.OK or needs_another_time(before):
            found[record.id] = record
    return list(found.values())


def _measured(one: Configuration) -> Candidate:
    """A configuration with its greatest error and memory, and its median time."""
    errors, seconds = one.values(ERROR), one.values(SECONDS)
    seen_by = next((name for name in MEMORY if one.values(name)), MEMORY[0])
    worst = max(errors, default=None)
    most = max(one.values(seen_by), default=None)
    return Candidate(one, worst, median(seconds) if seconds else None, most, seen_by, CandidateStatus.BEATEN, "")


def _unfit(one: Candidate, limits: Limits) -> tuple[CandidateStatus, str] | None:
    """Why a candidate cannot be chosen; None if it can."""
    if one.configuration.failed:
        failed = next(record for record in one.configuration.records if record.status is not Status.OK)
        return (
            CandidateStatus.FAILED,
            f"{one.configuration.failed} of {len(one.configuration.records)} trials failed: {failed.status}",
        )
    if all(disagree := [unreliable(record, timed=False) for record in one.configuration.records]):
        return CandidateStatus.UNFIT, str(disagree[0])
    for name, value, limit in ((ERROR, one.error, limits.error), (one.seen_by, one.memory, limits.memory)):
        shown = metric(name).format
        if limit is not None and value is None:
            return CandidateStatus.UNFIT, f"its {metric(name).label} was not measured{_why_missing(one, name)}"
        if limit is not None and value is not None and value > limit:
            return CandidateStatus.UNFIT, f"{metric(name).label} {shown(value)} is above the limit of {shown(limit)}"
    if one.seconds is None:
        return CandidateStatus.UNTIMED, f"its time was not measured{_why_missing(one, SECONDS)}"
    return None


def _why_missing(one: Candidate, name: str) -> str:
    """Why none of a candidate's replicates has a metric, as the end of a sentence."""
    for record in one.configuration.records:
        if why := unreliable(record, metric(name).is_time):
            return f": {why}"
        if reason := record.reasons.get(name):
            return f": {reason}"
    return ""


def _judged(one: Candidate, choice: Candidate | None, fit: Sequence[Candidate], limits: Limits) -> Candidate:
    failure = _unfit(one, limits)
    if failure is not None:
        return replace(one, status=failure[0], why=failure[1])
    if choice is not None and one is choice:
        limited = limits != Limits()
        return replace(
            one, status=CandidateStatus.CHOSEN, why="the fastest that meets the limits" if limited else "the fastest"
        )
    dominating = [other for other in fit if other is not one and _dominates(other, one)]
    assert choice is not None
    ratio = _paired(one.configuration, choice.configuration, SECONDS)
    slower = f"{ratio.value:.2g} × the time of the chosen one" if ratio else "slower than the chosen one"
    if dominating:
        compared = " and ".join(name for name, *_ in _compared(dominating[0], one))
        return replace(
            one, status=CandidateStatus.BEATEN, why=f"{slower}; {dominating[0].name} is no worse in {compared}"
        )
    better = [name for name, its, mine in _compared(choice, one) if name != "time" and its is not None and mine < its]
    return replace(
        one, status=CandidateStatus.FRONT, why=f"{slower}, with less {' and '.join(better)}" if better else slower
    )


def _dominates(first: Candidate, second: Candidate) -> bool:
    """Whether the first candidate Pareto-dominates the second, in the values that the second has.

    A value that the first one lacks counts as infinite.
    """
    pairs = [(math.inf if a is None else a, b) for _, a, b in _compared(first, second)]
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def _compared(first: Candidate, second: Candidate) -> list[tuple[str, float | None, float]]:
    """Return the known values of the second, with those of the first; memory only if one meter measured both."""
    pairs = [("error", first.error, second.error), ("time", first.seconds, second.seconds)]
    if first.seen_by == second.seen_by:
        pairs.append(("memory", first.memory, second.memory))
    return [(name, a, b) for name, a, b in pairs if b is not None]


def _paired(first: Configuration, second: Configuration, name: str) -> Estimate | None:
    """The ratio of a metric, paired by seed."""
    above, below = first.by_seed(name), second.by_seed(name)
    ratios = [value / below[seed] for seed, value in above.items() if value and below.get(seed)]
    return estimate(ratios, "log") if len(ratios) >= _FEWEST else None


def _described(record: Record) -> str:
    trial = record.trial
    options = [f"{name}={value}" for name, value in trial.overrides.items()]
    parts = [
        trial.task,
        trial.dataset,
        f"model {trial.model}",
        trial.device,
        trial.dtype,
        several(trial.threads, "thread"),
    ]
    return ", ".join([*(part for part in parts if part), *options])
