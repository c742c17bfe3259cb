"""Summarise the records of many trials: group replicates into configurations, and records by study."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nodebench.analysis.fairness import is_flow, unreliable
from nodebench.analysis.study_membership import studies_of_record
from nodebench.spec import Record, Status, shipped_studies
from nodebench.spec.axes import AXES, axis_names
from nodebench.spec.calibration import machine_label
from nodebench.spec.metrics import metric, short
from nodebench.spec.trial import Scalar

# An additional axis: records of one trial on two machines are two configurations.
MACHINE = "machine"
NOT_AS_SHIPPED = " (not as shipped)"  # suffix for records that are not in the shipped study's grid
CODE = "code"  # what identifies the user's code


@dataclass(frozen=True)
class Configuration:
    """The replicates of one trial on one machine.

    Attributes:
        axes: value of each trial axis except the seed, of ``MACHINE`` and ``CODE``, and of every overridden option.
        records: the latest record of each seed.
    """

    axes: dict[str, Scalar | None]
    records: tuple[Record, ...]

    def axis(self, name: str) -> Scalar | None:
        """Return the value of an axis or option; for an option that is not overridden, the preset's value."""
        return self.axes.get(name, self.records[0].options.get(name))

    def by_seed(self, name: str) -> dict[int, float]:
        """Return the value of a metric by seed, for the reliable replicates that have it."""
        usable = [r for r in self.records if not unreliable(r, metric(name).is_time)]
        found = {r.trial.seed: r.metrics.get(name, r.costs.get(name)) for r in usable}
        return {seed: value for seed, value in found.items() if value is not None}

    def values(self, name: str) -> list[float]:
        """Return the values of ``by_seed`` without the seeds."""
        return list(self.by_seed(name).values())

    @property
    def failed(self) -> int:
        """Number of failed replicates."""
        return sum(record.status is not Status.OK for record in self.records)

    @property
    def breaks_flow(self) -> bool:
        """Whether any replicate fails the gate of ``is_flow``: finer steps change its error by a point or more."""
        return any(is_flow(record) is False for record in self.records)


def configurations(records: Iterable[Record]) -> list[Configuration]:
    """Group records by machine and by every axis but the seed, in the order of their studies."""
    found: dict[tuple[str, str, str | None], dict[int, Record]] = {}
    axes: dict[tuple[str, str, str | None], dict[str, Scalar | None]] = {}
    names = axis_names(without=("overrides", "seed"))
    ordered = sorted(records, key=lambda r: (r.place.number if r.place.number is not None else -1, r.started, r.id))
    for record in ordered:
        machine = machine_label(record.environment)
        # Records from before and after an edit of the user's code are different configurations.
        code = record.measured.code if record.measured else None
        key = record.trial.configuration, machine, code
        kept = found.setdefault(key, {})
        if record.trial.seed not in kept or record.started > kept[record.trial.seed].started:
            kept[record.trial.seed] = record
        if key not in axes:
            trial = record.trial.model_dump(mode="json")
            axes[key] = {name: trial[name] for name in names} | {MACHINE: machine} | trial["overrides"] | {CODE: code}
    return [Configuration(axes[key], tuple(kept[seed] for seed in sorted(kept))) for key, kept in found.items()]


def varying(found: Sequence[Configuration]) -> list[str]:
    """Return the axes that are needed to distinguish the configurations.

    A tolerance that is everywhere the same multiple of another one is left out, if the other axes are sufficient.
    """
    names = dict.fromkeys(name for one in found for name in one.axes)
    differing = [name for name in names if len({str(one.axis(name)) for one in found}) > 1]
    lean = [name for name in differing if not _follows(name, differing, found)]
    return lean if _told_apart(lean, found) == _told_apart(differing, found) else differing


def _follows(name: str, differing: Sequence[str], found: Sequence[Configuration]) -> bool:
    """Whether an axis is the same multiple of the axis it follows, in all configurations that have both."""
    leader = AXES[name].follows if name in AXES else ""
    factors = {factor(one.axis(name), one.axis(leader)) for one in found} if leader in differing else set()
    return len(factors - {None}) == 1


def factor(value: Scalar | None, leader: Scalar | None) -> str | None:
    """Return a tolerance divided by the one it follows, to six digits; None if one of them is not a number."""
    both = isinstance(value, int | float) and isinstance(leader, int | float)
    return short(value / leader) if both else None  # type: ignore[operator]


def _told_apart(names: Sequence[str], found: Sequence[Configuration]) -> int:
    """Return how many configurations can be distinguished by some axes."""
    return len({tuple(str(one.axis(name)) for name in names) for one in found})


def by_study(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Group records by study; a record of another grid belongs to each shipped study whose grid contains its trial.

    Records that name a shipped study but are not in its grid, because one of the two was changed, are grouped under
    that name with the suffix ``NOT_AS_SHIPPED``.

    Only the latest record of each trial on each machine is used.
    """
    shipped = shipped_studies()
    found: dict[str, dict[tuple[str, str], Record]] = {name: {} for name in shipped}
    for record in sorted(records, key=lambda record: record.started):
        own = record.place.study
        other = f"{own}{NOT_AS_SHIPPED}" if own in shipped else own
        for name in studies_of_record(record) or filter(None, (other,)):
            found.setdefault(name, {})[record.id, machine_label(record.environment)] = record
    return {name: list(kept.values()) for name, kept in found.items() if kept}
