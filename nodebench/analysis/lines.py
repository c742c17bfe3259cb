"""Which records may share a line of a plot or a curve: those that differ in nothing but what the line runs over."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from nodebench.analysis.fairness import Point
from nodebench.analysis.summary import MACHINE, factor
from nodebench.spec.axes import AXES
from nodebench.spec.calibration import machine_label
from nodebench.spec.figures import short
from nodebench.spec.trial import Scalar

Value = Callable[[Point], Scalar | None]


@dataclass(frozen=True)
class Difference:
    """An axis on which records differ that were to share a line.

    Attributes:
        name: of the axis, of an option of the task, or ``MACHINE``.
        value: reads it off a record; of an axis that follows another one which the line runs over, the factor.
        label: what stands before the value, for a person.
    """

    name: str
    value: Value
    label: str

    def told(self, point: Point) -> str:
        """The value of one record, for a person: ``threads 2``, ``atol 0.01 × rtol``."""
        value = self.value(point)
        if value is None and self.name in AXES and AXES[self.name].unset is not None:
            return str(AXES[self.name].unset)
        text = "none" if value is None else short(value) if isinstance(value, float) else str(value)
        return text if self.name == MACHINE else f"{self.label} {text}"


def differences(points: Sequence[Point], over: Collection[str], machines: bool) -> list[Difference]:
    """The axes and options on which records differ, beside those that a line runs over and the seed.

    A tolerance that follows an axis of the line differs only where neither its value nor its factor is the same in all
    records.

    Args:
        points: records that are to share a line.
        over: the axes and options that it runs over.
        machines: whether records of two machines differ, as those of times do.
    """
    names = dict.fromkeys(name for point in points for name in point.axes if name not in {*over, "seed"})
    found = [difference for name in names if (difference := _difference(name, points, over)) is not None]
    if machines and len({_machine(point) for point in points}) > 1:
        found.append(Difference(MACHINE, _machine, ""))
    return found


def parted(points: Iterable[Point], apart: Sequence[Difference]) -> dict[str, list[Point]]:
    """Records by their values on some axes, in words; one group of an empty name where there is no axis."""
    found: dict[str, list[Point]] = {}
    for point in points:
        found.setdefault(", ".join(one.told(point) for one in apart), []).append(point)
    return found


def largest(points: Sequence[Point], over: Collection[str], machines: bool) -> list[Point]:
    """The largest part of records that may share a line; the first one of several that are as large."""
    return max(parted(points, differences(points, over, machines)).values(), key=len, default=[])


def _difference(name: str, points: Sequence[Point], over: Collection[str]) -> Difference | None:
    label = AXES[name].label if name in AXES else name

    def value(point: Point) -> Scalar | None:
        return point.axes.get(name)

    if not _differ(value, points):
        return None
    follows = AXES[name].follows if name in AXES else ""
    if follows not in over:
        return Difference(name, value, label)

    def multiple(point: Point) -> str | None:
        times = factor(point.axes.get(name), point.axes.get(follows))
        return None if times is None else f"{times} × {follows}"

    return Difference(name, multiple, label) if _differ(multiple, points) else None


def _differ(value: Value, points: Sequence[Point]) -> bool:
    return len({str(value(point)) for point in points}) > 1


def _machine(point: Point) -> str:
    return machine_label(point.record.environment)
