"""Reduce records to one number per replicate: select the records of a part of a claim and pair comparable ones."""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

from nodebench.analysis.fairness import Point, differing, incomparable, points_of
from nodebench.analysis.noise import noise_of
from nodebench.claims.content import Content, as_read, content_key
from nodebench.claims.contract import Arm, Claim, Part
from nodebench.claims.outcome import Note
from nodebench.claims.replicate import replicate
from nodebench.claims.test_items import error_of_test_items, error_of_test_points, resolution_of_test_items
from nodebench.claims.usable import usable
from nodebench.spec import Record
from nodebench.spec.axes import AXES
from nodebench.spec.calibration import Calibration
from nodebench.spec.metrics import short
from nodebench.spec.trial import Scalar

# Axes that may differ, too, if the axis in the key differs.
_ALONG = {
    "rtol": ("atol", "adjoint_rtol", "adjoint_atol"),
    "gradient": ("adjoint_rtol", "adjoint_atol"),
    "solver": ("rtol", "atol", "step_size", "adjoint_rtol", "adjoint_atol", "batching"),
}
_NAMED = 4  # differences named in a note


@dataclass(frozen=True)
class Sample:
    """The measurements of one part of a claim under one condition.

    Attributes:
        condition: its axes and values; empty if the part has no conditions.
        name: the part's own label of the condition.
        values: one number per replicate, by seed; infinite if a trial failed.
        points: the records used, one tuple per arm.
        notes: what was left out, refused or noticed.
        test_set_error: standard error of the mean due to the shared test set, in the unit of the part.
        resolution: the smallest difference that the test set can show, in the unit of the part; None without a test
            set.
    """

    condition: dict[str, Scalar | None]
    values: dict[int, float] = field(default_factory=dict)
    points: tuple[tuple[Point, ...], ...] = ()
    notes: tuple[Note, ...] = ()
    test_set_error: float = 0.0
    resolution: float | None = None
    name: str = ""

    @property
    def label(self) -> str:
        """The condition as readable text."""
        return ", ".join([*filter(None, [self.name]), *(_axis_text(*item) for item in self.condition.items())])

    @property
    def records(self) -> tuple[str, ...]:
        """The ids of the records behind it."""
        used = sorted((p for side in self.points for p in side), key=lambda p: (p.seed, p.record.id))
        return tuple(dict.fromkeys(point.record.id for point in used))


def _axis_text(name: str, value: Scalar | None) -> str:
    if value is None:
        return f"no {name}" if name in AXES else f"default {name}"
    if isinstance(value, bool):
        return name if value else f"not {name}"
    text = short(value) if isinstance(value, float) else str(value)
    return text if name in _PLAIN else f"{name} {text}"


_PLAIN = ("task", "model", "solver", "variant", "dataset")


class Evidence:
    """Look-up of the records that each arm of a claim reads, ordered by start time.

    Args:
        records: of all runs.
        calibrations: of the machines that made the records.
        contents: the trials that the studies of each claim ask for, by the name of the claim; see
            ``nodebench.claims.content``.
    """

    def __init__(
        self,
        records: Iterable[Record],
        calibrations: Sequence[Calibration] = (),
        contents: Mapping[str, Sequence[Content]] | None = None,
    ) -> None:
        # By task; then, since there are many replicates, by the content of the trial.
        self._by_task: dict[str, dict[Hashable, list[Point]]] = {}
        for point in points_of(records):
            self._by_task.setdefault(point.record.trial.task, {}).setdefault(content_key(point), []).append(point)
        self._calibrations = calibrations
        self._contents = contents or {}
        self._of_claim: dict[str, list[Point]] = {}

    def least_error(self, part: Part, sample: Sample) -> float:
        """Return the standard error that machine noise alone causes in the logarithm of a ratio of times.

        It is a lower bound, since a few replicates may agree better than this by chance. It is 0 for other metrics, for
        times of interleaved arms, and if the noise of the machine was not measured.
        """
        plain = part.against is not None and part.combine == "ratio" and not part.along
        if not (plain and part.reading.timed and part.scale == "log" and sample.values):
            return 0.0
        record = sample.points[0][0].record
        noise = noise_of(self._calibrations, record.environment, record.trial.threads).get(part.reading.metric)
        return noise.shift(len(sample.values), apart=False).error if noise else 0.0

    def of(self, arm: Arm, claim: Claim) -> list[Point]:
        """The records of an arm of a claim."""
        return [point for point in self.read_by(claim) if arm.reads(point.axes)]

    def read_by(self, claim: Claim) -> list[Point]:
        """The records that a claim reads."""
        if claim.name not in self._of_claim:
            contents = self._contents.get(claim.name)
            tasks = _tasks(claim) or self._by_task
            groups = [group for task in tasks for group in self._by_task.get(task, {}).values()]
            read = [point for group in groups for point in as_read(claim, contents, group)]
            self._of_claim[claim.name] = sorted(read, key=lambda point: (point.record.started, point.record.id))
        return self._of_claim[claim.name]


def _tasks(claim: Claim) -> dict[str, None]:
    """Return the tasks that the arms of a claim name; empty if an arm names no task."""
    named = [arm.where.get("task") for arm in claim.arms]
    if any(task is None for task in named):
        return {}
    return dict.fromkeys(str(one) for task in named for one in (task if isinstance(task, tuple) else (task,)))


def samples(part: Part, claim: Claim, evidence: Evidence) -> list[Sample]:
    """Sort the records of a part by its conditions, and pair its arms by seed."""
    chosen: dict[tuple[Scalar | None, ...], list[list[Point]]] = {}
    for index, arm in enumerate(part.arms):
        for point in evidence.of(arm, claim):
            key = tuple(_rounded(point.axes.get(axis)) for axis in part.conditions)
            chosen.setdefault(key, [[] for _ in part.arms])[index].append(point)
    named = [_expected(part, axis) for axis in part.conditions]
    # Drop conditions for which an arm has no records, unless the declaration names them.
    chosen = {key: sides for key, sides in chosen.items() if all(sides) or _is_named(key, named)}
    for gap in product(*(values or (None,) for values in named)):
        if not any(all(not known or a == b for a, b, known in zip(key, gap, named, strict=True)) for key in chosen):
            chosen[gap] = [[] for _ in part.arms]
    ordered = sorted(chosen.items(), key=lambda item: [_order(value) for value in item[0]])
    found = [_sample(part, dict(zip(part.conditions, key, strict=True)), sides) for key, sides in ordered]
    return [replace(sample, name=part.label) for sample in found]


def _is_named(key: tuple[Scalar | None, ...], named: Sequence[tuple[Scalar | None, ...]]) -> bool:
    return all(value in values for value, values in zip(key, named, strict=True))


def _order(value: Scalar | None) -> tuple[str, float, str]:
    return str(type(value)), value if isinstance(value, int | float) else 0.0, str(value)


def _expected(part: Part, axis: str) -> tuple[Scalar | None, ...]:
    """Return the values of an axis that the arm names, or else the home condition; one without records is a gap."""
    wanted = part.arm.where.get(axis, (part.home or {}).get(axis))
    return wanted if isinstance(wanted, tuple) else () if wanted is None else (wanted,)


def _rounded(value: Scalar | None) -> Scalar | None:
    """Round to 9 significant digits to remove floating-point error: 0.1 + 0.2 becomes the condition 0.3."""
    return float(f"{value:.9g}") if isinstance(value, float) else value


def _varied(part: Part) -> frozenset[str]:
    """The settings in which the arms of one sample may differ."""
    names = {"seed", *part.may_differ, *part.along}
    if part.against:
        every = {*part.arm.where, *part.against.where}
        names |= {name for name in every if part.arm.where.get(name) != part.against.where.get(name)}
    return _with_those_along(names)


def _with_those_along(names: set[str]) -> frozenset[str]:
    return frozenset(names | {along for name in names for along in _ALONG.get(name, ())})


Setting = tuple[tuple[str, str], ...]
Replicates = dict[int, list[Point]]  # by seed; several per seed along the axis of a fit, or after a rerun


def _sample(part: Part, condition: dict[str, Scalar | None], sides: list[list[Point]]) -> Sample:
    notes: list[Note] = []
    kept = [[point for point in side if usable(point, part, notes)] for side in sides]
    best = _best_setting(part, kept)
    if best is None:
        return Sample(condition, notes=(*_refusals(part, kept), *_counted(notes)))
    notes += _left_aside(part, kept, best)
    values: dict[int, float] = {}
    used: list[list[Point]] = [[] for _ in best]
    for seed in _paired(best):
        arms = _of_one_machine([side[seed] for side in best])
        if arms is None:
            notes.append(Note("replicate left out: its arms ran on different machines"))
            continue
        if len({point.data for arm in arms for point in arm}) > 1:
            notes.append(Note("replicate left out: the arms used different data"))
            continue
        value = replicate(part, arms, notes)
        if value is None:
            continue
        values[seed] = value
        for side, arm in zip(used, arms, strict=True):
            side.extend(arm)
    points = tuple(map(tuple, used))
    notes += _unpaired(part, best)
    commits = {str((p.record.environment.get("code") or {}).get("commit")) for side in points for p in side}
    if values and len(commits) > 1:
        notes.append(Note(f"the records are from {len(commits)} commits of the code"))
    if not part.test_set:
        return Sample(condition, values, points, _counted(notes), error_of_test_points(part, points))
    error, resolution = error_of_test_items(part, points, values), resolution_of_test_items(points)
    return Sample(condition, values, points, _counted(notes), error, resolution)


def _best_setting(part: Part, sides: list[list[Point]]) -> list[Replicates] | None:
    """Return the replicates of each arm under the setting with the most pairs; for a tie, under the latest setting.

    Records of one arm may differ only in the seed and the axis of a line. The arms may also differ in what is tested.
    """
    within, may_differ = _with_those_along({"seed", *part.along}), _varied(part)
    if not part.reading.timed:  # replicates may be from several machines; the arms of one replicate may not
        within, may_differ = within | {"machine"}, may_differ | {"machine"}
    by_setting = [_by_setting(side, within) for side in sides]
    candidates = [
        found
        for keys in product(*by_setting)
        if not incomparable(dict(keys[0]), dict(keys[-1]), may_differ)
        and _paired(found := [settings[key] for settings, key in zip(by_setting, keys, strict=True)])
    ]
    return max(candidates, key=lambda found: (len(_paired(found)), _latest(found)), default=None)


def _of_one_machine(sides: Sequence[list[Point]]) -> list[list[Point]] | None:
    """Return the records of a replicate from the latest machine that measured every arm; None if there is none."""
    common = set.intersection(*({point.machine["machine"] for point in side} for side in sides))
    every = [point for side in sides for point in side if point.machine["machine"] in common]
    if not every:
        return None
    latest = max(every, key=lambda point: point.record.started).machine["machine"]
    return [[point for point in side if point.machine["machine"] == latest] for side in sides]


def _by_setting(side: Sequence[Point], within: frozenset[str]) -> dict[Setting, Replicates]:
    found: dict[Setting, Replicates] = {}
    for point in side:
        key = tuple((name, value) for name, value in sorted(point.setting.items()) if name not in within)
        found.setdefault(key, {}).setdefault(point.seed, []).append(point)
    return found


def _left_aside(part: Part, sides: list[list[Point]], best: list[Replicates]) -> list[Note]:
    kept = {id(point) for side in best for points in side.values() for point in points}
    aside = [point for side in sides for point in side if id(point) not in kept]
    if not aside:
        return []
    first = next(points[0] for side in best for points in side.values())
    how = _differences_text(differing(first.setting, aside[-1].setting, _varied(part)))
    return [Note(f"record excluded: different settings ({how})", len(aside))]


def _unpaired(part: Part, best: list[Replicates]) -> list[Note]:
    seeds = {seed for side in best for seed in side}
    gaps = [(arm, sorted(seeds - side.keys())) for arm, side in zip(part.arms, best, strict=True)]
    return [Note(f"no record of {arm.name} at seed {', '.join(map(str, missing))}") for arm, missing in gaps if missing]


def _paired(found: list[Replicates]) -> list[int]:
    """Return the seeds for which every arm has a record."""
    return sorted(set.intersection(*(set(side) for side in found)))


def _latest(found: list[Replicates]) -> str:
    return max(point.record.started for side in found for points in side.values() for point in points)


def _differences_text(pairs: Mapping[str, tuple[str, str]]) -> str:
    shown = [f"{name} {a or '–'} / {b or '–'}" for name, (a, b) in list(pairs.items())[:_NAMED]]
    return ", ".join(shown) + (f" and {len(pairs) - _NAMED} more" if len(pairs) > _NAMED else "")


def _refusals(part: Part, sides: list[list[Point]]) -> list[Note]:
    """Why there is no pair of records to compare."""
    missing = [arm.name for arm, side in zip(part.arms, sides, strict=True) if not side]
    if len(missing) == len(sides):
        return [Note("no usable record")]
    if missing:
        return [Note(f"no usable record of {missing[0]}")]
    if not {point.seed for point in sides[0]} & {point.seed for point in sides[-1]}:
        return [Note("the arms have no seed in common")]
    may_differ = _varied(part)
    pairs = [
        incomparable(first.setting, second.setting, may_differ)
        for first in sides[0]
        for second in sides[-1]
        if first.seed == second.seed
    ]
    return [Note(f"the arms differ in {_differences_text(min(pairs, key=len))}")]


def _counted(notes: Iterable[Note]) -> tuple[Note, ...]:
    """Merge equal notes and add up their counts."""
    counts = Counter[str]()
    for note in notes:
        counts[note.message] += note.count
    return tuple(Note(message, count) for message, count in sorted(counts.items()))
