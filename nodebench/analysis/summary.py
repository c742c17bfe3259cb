"""Records of many trials in few rows: configurations over their replicates, crossovers, and which study they are of."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nodebench.analysis.claims.contract import Reading
from nodebench.analysis.fairness import Point, is_flow, unreliable
from nodebench.analysis.homes import homes
from nodebench.analysis.statistics import median
from nodebench.spec import Record, Status, shipped_studies
from nodebench.spec.trial import Scalar

_AXES = ("task", "dataset", "model", "solver", "rtol", "step_size", "gradient", "dtype", "threads", "preset", "device")


@dataclass(frozen=True)
class Configuration:
    """The replicates of one trial.

    Attributes:
        axes: where it stands, on trial axes and on every option that was overridden.
        records: one a seed, the latest.
    """

    axes: dict[str, Scalar | None]
    records: tuple[Record, ...]

    def axis(self, name: str) -> Scalar | None:
        """Where it stands on an axis, or on an option that it leaves at its preset's value."""
        return self.axes.get(name, self.records[0].options.get(name))

    def values(self, name: str) -> list[float]:
        """What its replicates gave of a figure, those that have it and may be used."""
        usable = [r for r in self.records if not unreliable(r, name.endswith("seconds"))]
        found = [r.metrics.get(name, r.costs.get(name)) for r in usable]
        return [value for value in found if value is not None]

    @property
    def failed(self) -> int:
        """How many of its replicates did not end well."""
        return sum(record.status is not Status.OK for record in self.records)

    @property
    def breaks_flow(self) -> bool:
        """Whether any replicate fails the gate of :func:`is_flow`: finer steps change its error by a point or more."""
        return any(is_flow(record) is False for record in self.records)


def configurations(records: Iterable[Record]) -> list[Configuration]:
    """Group records by all but their seed, in the order of their studies."""
    found: dict[str, dict[int, Record]] = {}
    axes: dict[str, dict[str, Scalar | None]] = {}
    ordered = sorted(records, key=lambda r: (r.place.number if r.place.number is not None else -1, r.started, r.id))
    for record in ordered:
        key = record.trial.model_copy(update={"seed": 0}).id
        kept = found.setdefault(key, {})
        if record.trial.seed not in kept or record.started > kept[record.trial.seed].started:
            kept[record.trial.seed] = record
        trial = record.trial.model_dump(mode="json")
        axes.setdefault(key, {name: trial[name] for name in _AXES} | trial["overrides"])
    return [Configuration(axes[key], tuple(kept[seed] for seed in sorted(kept))) for key, kept in found.items()]


def varying(found: Sequence[Configuration]) -> list[str]:
    """The axes on which configurations differ."""
    names = dict.fromkeys(name for one in found for name in one.axes)
    return [name for name in names if len({str(one.axis(name)) for one in found}) > 1]


@dataclass(frozen=True)
class Crossover:
    """From where on one arm needs less of a figure than another.

    Attributes:
        at: the least place on the axis from which on it holds at all greater ones; None where it never does.
        price: the ratio of another figure there.
    """

    at: float | None
    price: float | None


def crossover(
    points: Iterable[Point], axis: Reading, figure: Reading, price: Reading, arms: tuple[str, str]
) -> Crossover | None:
    """Find from which place of an axis on the gradient ``arms[0]`` needs less of a figure than ``arms[1]`` does.

    Medians over replicates; None where the arms have fewer than two places in common.
    """
    sides: dict[str, dict[float, list[Record]]] = {arm: {} for arm in arms}
    for point in points:
        place = axis.get(point.record)
        if place is not None and point.record.trial.gradient in arms and figure.get(point.record) is not None:
            sides[str(point.record.trial.gradient)].setdefault(place, []).append(point.record)
    places = sorted(sides[arms[0]].keys() & sides[arms[1]].keys())
    if len(places) < 2:
        return None

    def ratio(reading: Reading, place: float) -> float | None:
        first, second = (
            [value for record in sides[arm][place] if (value := reading.get(record)) is not None] for arm in arms
        )
        return median(first) / median(second) if first and second and median(second) else None

    cheaper = [(ratio(figure, place) or 1.0) < 1 for place in places]
    if not cheaper[-1]:
        return Crossover(None, None)
    since = max((index + 1 for index, holds in enumerate(cheaper) if not holds), default=0)
    return Crossover(places[since], ratio(price, places[since]))


def by_study(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Records by the study that they are of; those of a typed grid by the shipped study that would ask for them.

    The latest one of each trial.
    """
    found: dict[str, dict[str, Record]] = {name: {} for name in shipped_studies()}
    for record in sorted(records, key=lambda record: record.started):
        for name in homes(record)[:1] or ((record.place.study,) if record.place.study else ()):
            found.setdefault(name, {})[record.id] = record
    return {name: list(kept.values()) for name, kept in found.items() if kept}
