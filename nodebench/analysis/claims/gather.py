"""From records to one number a replicate: which records belong to a part of a claim, and which may be compared."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

from nodebench.analysis.claims.contract import Arm, Claim, Match, Part
from nodebench.analysis.curves import line, ratio_at_equal
from nodebench.analysis.fairness import Point, differing, unreliable
from nodebench.analysis.homes import homes, is_at
from nodebench.analysis.noise import noise_of
from nodebench.spec import Record, Status
from nodebench.spec.calibration import Calibration
from nodebench.spec.figures import short
from nodebench.spec.trial import Scalar

# Axes that go along with another one.
_ALONG = {
    "rtol": ("atol", "adjoint_rtol", "adjoint_atol"),
    "gradient": ("adjoint_rtol", "adjoint_atol"),
    "solver": ("rtol", "atol", "step_size", "adjoint_rtol", "adjoint_atol", "batching"),
}
_FEWEST_ON_A_LINE = 3
_NAMED = 4  # differences, in a note
_COUNTED = ("left out, ", "refused, since")


@dataclass(frozen=True)
class Sample:
    """What was measured of a part under one condition.

    Attributes:
        condition: its axes and values; empty where the part has none.
        values: one number a replicate, by seed; infinite where a trial failed.
        records: every record behind them, and every one that was looked at and failed.
        notes: what was left out, refused or merely noticed.
    """

    condition: dict[str, Scalar | None]
    values: dict[int, float] = field(default_factory=dict)
    records: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The condition, for a person."""
        return ", ".join(_told_axis(name, value) for name, value in self.condition.items())


def _told_axis(name: str, value: Scalar | None) -> str:
    if isinstance(value, bool):
        return name if value else f"not {name}"
    text = short(value) if isinstance(value, float) else str(value)
    return text if name in _PLAIN else f"{name} {text}"


_PLAIN = ("task", "model", "solver", "variant", "dataset")


class Evidence:
    """Records as claims see them, in the order in which they ran, whatever the order given.

    Args:
        records: of all runs.
        calibrations: of the machines behind them, as far as there are any.
    """

    def __init__(self, records: Iterable[Record], calibrations: Sequence[Calibration] = ()) -> None:
        self._by_study: dict[str, list[Point]] = {}
        self._by_id: dict[str, Record] = {}
        self._calibrations = calibrations
        for record in sorted(records, key=lambda record: (record.started, record.id)):
            point = Point.of(record)
            self._by_id[record.id] = record
            for study in homes(record):
                self._by_study.setdefault(study, []).append(point)

    def least_error(self, part: Part, sample: "Sample") -> float:
        """The standard error that the noise of the machine alone gives the logarithm of a ratio of times.

        Five replicates may lie closer together than that by luck. 0 for anything else, and where the noise of the
        machine was not measured.
        """
        plain = part.against is not None and part.combine == "ratio" and not part.along
        if not (plain and part.reading.timed and part.scale == "log" and sample.records):
            return 0.0
        record = self._by_id[sample.records[0]]
        noise = noise_of(self._calibrations, record.environment, record.trial.threads).get(part.reading.figure)
        return noise.shift(len(sample.values), apart=False).error if noise and sample.values else 0.0

    def of(self, arm: Arm, claim: Claim) -> list[Point]:
        """The records of an arm, of the studies that feed its claim and at its scale."""
        found = [point for study in claim.studies for point in self._by_study.get(study, ())]
        unique = {id(point): point for point in found}  # two of the studies may have one
        return [point for point in unique.values() if is_of(arm, claim.preset, point.axes)]


def samples(part: Part, claim: Claim, evidence: Evidence) -> list[Sample]:
    """Sort the records that a part asks for by its conditions, and pair the arms of each by seed."""
    arms = [part.arm, *([part.against] if part.against else [])]
    chosen: dict[tuple[Scalar | None, ...], list[list[Point]]] = {}
    for index, arm in enumerate(arms):
        for point in evidence.of(arm, claim):
            key = tuple(_rounded(point.axes.get(axis)) for axis in part.conditions)
            chosen.setdefault(key, [[] for _ in arms])[index].append(point)
    named = [_expected(part.arm, axis) for axis in part.conditions]
    # Where one arm alone happens to have been measured, nobody has asked for a comparison.
    chosen = {key: sides for key, sides in chosen.items() if all(sides) or _is_named(key, named)}
    for gap in product(*(values or (None,) for values in named)):
        if not any(all(not known or a == b for a, b, known in zip(key, gap, named, strict=True)) for key in chosen):
            chosen[gap] = [[] for _ in arms]
    ordered = sorted(chosen.items(), key=lambda item: [_order(value) for value in item[0]])
    return [_sample(part, arms, dict(zip(part.conditions, key, strict=True)), sides) for key, sides in ordered]


def _is_named(key: tuple[Scalar | None, ...], named: Sequence[tuple[Scalar | None, ...]]) -> bool:
    return all(value in values for value, values in zip(key, named, strict=True))


def _order(value: Scalar | None) -> tuple[str, float, str]:
    return str(type(value)), value if isinstance(value, int | float) else 0.0, str(value)


def _expected(arm: Arm, axis: str) -> tuple[Scalar | None, ...]:
    """The values of a condition that an arm names: one of which there is no record is a gap, not a blank."""
    wanted = arm.where.get(axis)
    return wanted if isinstance(wanted, tuple) else () if wanted is None else (wanted,)


def _rounded(value: Scalar | None) -> Scalar | None:
    """A number as it was typed: 0.1 + 0.2 is the condition 0.3."""
    return float(f"{value:.9g}") if isinstance(value, float) else value


def is_of(arm: Arm, preset: str, axes: Mapping[str, Scalar | None]) -> bool:
    """Whether axes and options are those of an arm, at a claim's scale."""
    return axes.get("preset") == preset and is_at(axes, arm.where)


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
Replicates = dict[int, list[Point]]  # by seed; several along the axis of a fit, or where a trial was run again


def _sample(part: Part, arms: Sequence[Arm], condition: dict[str, Scalar | None], sides: list[list[Point]]) -> Sample:
    may_differ, notes = _varied(part), Counter[str]()
    usable = [[point for point in side if _usable(point, part, notes)] for side in sides]
    if not any(usable):
        return Sample(condition, notes=_told(notes) or ("not measured",))
    # Within an arm nothing differs but the seed and the axis of a fit; the arms may differ in what is under test.
    within = _with_those_along({"seed", *part.along})
    by_setting = [_by_setting(side, within) for side in usable]
    candidates = [
        found
        for keys in product(*by_setting)
        if len({tuple(pair for pair in key if pair[0] not in may_differ) for key in keys}) == 1
        and _paired(found := [settings[key] for settings, key in zip(by_setting, keys, strict=True)])
    ]
    if not candidates:
        return Sample(condition, notes=_told(notes, *_refusals(arms, usable, may_differ)))
    best = max(candidates, key=lambda found: (len(_paired(found)), _latest(found)))
    kept = {id(point) for side in best for points in side.values() for point in points}
    if aside := [point for side in usable for point in side if id(point) not in kept]:
        how = _difference(_any(best), aside[-1], may_differ)
        notes[f"{len(aside)} records were measured otherwise ({how}) and are left aside"] += 1
    values: dict[int, float] = {}
    for seed in _paired(best):
        if len({point.data for side in best for point in side[seed]}) > 1:
            notes["refused, since the arms saw other data"] += 1
            continue
        value = _value(part, [side[seed] for side in best], notes)
        if value is not None:
            values[seed] = value
    seeds = {seed for side in best for seed in side}
    for arm, replicates in zip(arms, best, strict=True):
        if alone := sorted(seeds - replicates.keys()):
            notes[f"no record of {arm.name} at seed {', '.join(map(str, alone))}: left out"] += 1
    used = [point for side in best for seed in _paired(best) for point in side[seed]]
    commits = {str((point.record.environment.get("code") or {}).get("commit")) for point in used}
    if len(commits) > 1:
        notes[f"from {len(commits)} commits of the code"] += 1
    ids = dict.fromkeys(point.record.id for point in sorted(used, key=lambda p: (p.seed, p.record.id)))
    return Sample(condition, values, tuple(ids), _told(notes))


def _by_setting(side: Sequence[Point], within: frozenset[str]) -> dict[Setting, Replicates]:
    found: dict[Setting, Replicates] = {}
    for point in side:
        key = tuple((name, value) for name, value in sorted(point.setting.items()) if name not in within)
        found.setdefault(key, {}).setdefault(point.seed, []).append(point)
    return found


def _usable(point: Point, part: Part, notes: Counter[str]) -> bool:
    if not point.is_outcome:
        notes[f"left out, since its end tells nothing of the method: {point.record.status}"] += 1
        return False
    if reason := unreliable(point.record, part.reading.timed):
        notes[f"left out, since {reason}"] += 1
        return False
    return True


def _paired(found: list[dict[int, list[Point]]]) -> list[int]:
    """Seeds of which every arm has a record."""
    return sorted(set.intersection(*(set(side) for side in found)))


def _latest(found: list[dict[int, list[Point]]]) -> str:
    return max(point.record.started for side in found for points in side.values() for point in points)


def _any(found: list[dict[int, list[Point]]]) -> Point:
    return next(points[0] for side in found for points in side.values())


def _difference(first: Point, second: Point, but: frozenset[str]) -> str:
    pairs = differing(first, second, but)
    told = [f"{name} {a or '–'} / {b or '–'}" for name, (a, b) in list(pairs.items())[:_NAMED]]
    return ", ".join(told) + (f" and {len(pairs) - _NAMED} more" if len(pairs) > _NAMED else "")


def _refusals(arms: Sequence[Arm], sides: list[list[Point]], but: frozenset[str]) -> list[str]:
    """Why arms could not be paired."""
    missing = [arm.name for arm, side in zip(arms, sides, strict=True) if not side]
    if missing:
        return [f"no record of {name}" for name in missing]
    if not {point.seed for point in sides[0]} & {point.seed for point in sides[-1]}:
        return ["refused: the arms have no seed in common"]
    first, second = min(
        ((a, b) for a in sides[0] for b in sides[-1] if a.seed == b.seed),
        key=lambda pair: len(differing(pair[0], pair[1], but)),
    )
    return [f"refused: the arms differ in {_difference(first, second, but)}"]


def _told(notes: Counter[str], *more: str) -> tuple[str, ...]:
    counted = [f"{count} × {text}" if text.startswith(_COUNTED) else text for text, count in sorted(notes.items())]
    return (*counted, *more)


def _value(part: Part, sides: list[list[Point]], notes: Counter[str]) -> float | None:
    """The number of one replicate; an infinity where one side has failed."""
    if part.match:
        return _matched(part, part.match, sides, notes)
    if part.fit:
        numbers = [_fitted(part, side) for side in _at_the_same_places(part.fit.along, sides, notes)]
        what = "too few of its records can be used for a line"
    else:
        latest = [max(side, key=lambda point: point.record.started) for side in sides]
        if any(len(side) > 1 for side in sides):
            notes["a trial is there more than once: its latest record counts"] += 1
        numbers = [_read(part, point) for point in latest]
        what = f"there is no {part.reading.label} in a record"
    if None in numbers:
        notes[f"left out, since {what}"] += 1
        return None
    first, second = numbers[0], numbers[-1]
    assert first is not None
    assert second is not None
    return _combined(part, first, second, notes) if part.against else first


def _combined(part: Part, first: float, second: float, notes: Counter[str]) -> float | None:
    if math.isinf(first) and math.isinf(second):
        notes["left out, since both arms failed"] += 1
        return None
    if part.combine == "difference":
        return first - second
    if second == 0:
        notes["left out, since it would be a ratio to 0"] += 1
        return None
    return -math.inf if math.isinf(second) else first / second


def _read(part: Part, point: Point) -> float | None:
    """A record's number; beyond all others where the trial has failed by its method, whatever it gave before."""
    return part.reading.get(point.record) if point.record.status is Status.OK else part.reading.failed


def _at_the_same_places(along: str, sides: list[list[Point]], notes: Counter[str]) -> list[list[Point]]:
    """The latest record at each place of an axis that every side has."""
    by_place = [
        {str(point.axes.get(along)): point for point in sorted(side, key=lambda point: point.record.started)}
        for side in sides
    ]
    common = set.intersection(*(set(places) for places in by_place))
    if any(places.keys() != common for places in by_place):
        notes[f"places on {along} that one arm lacks are left out of the other's line"] += 1
    return [[point for place, point in places.items() if place in common] for places in by_place]


def _matched(part: Part, match: Match, sides: list[list[Point]], notes: Counter[str]) -> float | None:
    """The ratio of two curves at equal error; a trial that failed is no point of its curve."""
    curves = []
    for side in sides:
        good = [point.record for point in side if point.record.status is Status.OK]
        if len(good) < len(side):
            notes["a trial that failed is no point of its curve"] += 1
        read = [(match.error.get(record), part.reading.get(record)) for record in good]
        curves.append([(x, y) for x, y in read if x is not None and y is not None])
    first, second = curves
    ratio = ratio_at_equal(first, second)
    if ratio is None:
        notes[f"left out, since the arms achieve no {match.error.label} in common"] += 1
    return ratio


def _fitted(part: Part, side: list[Point]) -> float | None:
    assert part.fit is not None
    if any(point.record.status is not Status.OK for point in side):
        return part.reading.failed
    read = [(part.fit.x.get(point.record), part.reading.get(point.record)) for point in side]
    known = [(x, y) for x, y in read if x is not None and y is not None]
    if part.fit.logs:
        known = [(math.log10(x), math.log10(y)) for x, y in known if x > 0 and y > 0]
    if len({x for x, _ in known}) < _FEWEST_ON_A_LINE:
        return None
    x, y = zip(*sorted(known), strict=True)
    found = line(x, y)
    if part.fit.take == "slope":
        return found.slope
    return found.r_squared if part.fit.take == "r_squared" else abs(found.intercept) * len(y) / sum(y)
