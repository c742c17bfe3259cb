"""Group records into lines of a plot or curve: records of one line differ only in the axes along the line."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from nodebench.analysis.fairness import Point
from nodebench.analysis.summary import MACHINE, factor
from nodebench.spec.axes import AXES
from nodebench.spec.calibration import machine_label
from nodebench.spec.metrics import short
from nodebench.spec.trial import Scalar

Value = Callable[[Point], Scalar | None]


@dataclass(frozen=True)
class Difference:
    """An axis on which records differ, so that they cannot share a line.

    Attributes:
        name: name of the axis or task option, or ``MACHINE``.
        value: reads the value of a record; for an axis that follows an axis along the line, the factor between both.
        label: readable text before the value.
    """

    name: str
    value: Value
    label: str

    def describe(self, point: Point) -> str:
        """Return the value of one record as readable text: ``threads 2``, ``atol 0.01 × rtol``."""
        value = self.value(point)
        if value is None and self.name in AXES and AXES[self.name].unset is not None:
            return str(AXES[self.name].unset)
        text = "none" if value is None else short(value) if isinstance(value, float) else str(value)
        return text if self.name == MACHINE else f"{self.label} {text}"


def differences(points: Sequence[Point], over: Collection[str], machines: bool) -> list[Difference]:
    """Return the axes and options on which records differ, except the seed and the axes along the line.

    A tolerance that follows an axis along the line counts as different only if both its value and its factor vary.

    Args:
        points: records that should share a line.
        over: axes and options along the line.
        machines: whether records of different machines count as different, which they do for times.
    """
    names = dict.fromkeys(name for point in points for name in point.axes if name not in {*over, "seed"})
    found = [difference for name in names if (difference := _difference(name, points, over)) is not None]
    if machines and len({_machine(point) for point in points}) > 1:
        found.append(Difference(MACHINE, _machine, ""))
    return found


def parted(points: Iterable[Point], apart: Sequence[Difference]) -> dict[str, list[Point]]:
    """Group records by their values on some axes, as text; one group with an empty name if there are no axes."""
    found: dict[str, list[Point]] = {}
    for point in points:
        found.setdefault(", ".join(one.describe(point) for one in apart), []).append(point)
    return found


def largest(points: Sequence[Point], over: Collection[str], machines: bool) -> list[Point]:
    """Return the largest group of records that can share a line; the first one if several are equally large."""
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
