"""Records of many trials in few rows: configurations over their replicates, and which study they are of."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nodebench.analysis.fairness import is_flow, unreliable
from nodebench.analysis.homes import homes
from nodebench.spec import Record, Status, shipped_studies
from nodebench.spec.axes import AXES, axis_names
from nodebench.spec.calibration import machine_label
from nodebench.spec.figures import figure, short
from nodebench.spec.trial import Scalar

# Stands beside the trial's own axes: records of one trial on two machines are two configurations.
MACHINE = "machine"
NOT_AS_SHIPPED = " (not as shipped)"  # ends the name of a shipped study for records that it would not ask for
CODE = "code"  # what identifies the user's code


@dataclass(frozen=True)
class Configuration:
    """The replicates of one trial on one machine.

    Attributes:
        axes: its value on each axis of a trial but the seed, on ``MACHINE`` and ``CODE``, and on every option that was
            overridden.
        records: one a seed, the latest.
    """

    axes: dict[str, Scalar | None]
    records: tuple[Record, ...]

    def axis(self, name: str) -> Scalar | None:
        """Where it stands on an axis, or on an option that it leaves at its preset's value."""
        return self.axes.get(name, self.records[0].options.get(name))

    def by_seed(self, name: str) -> dict[int, float]:
        """What its replicates gave of a figure, those that have it and may be used."""
        usable = [r for r in self.records if not unreliable(r, figure(name).is_time)]
        found = {r.trial.seed: r.metrics.get(name, r.costs.get(name)) for r in usable}
        return {seed: value for seed, value in found.items() if value is not None}

    def values(self, name: str) -> list[float]:
        """The same, without the seeds."""
        return list(self.by_seed(name).values())

    @property
    def failed(self) -> int:
        """How many of its replicates did not end well."""
        return sum(record.status is not Status.OK for record in self.records)

    @property
    def breaks_flow(self) -> bool:
        """Whether any replicate fails the gate of ``is_flow``: finer steps change its error by a point or more."""
        return any(is_flow(record) is False for record in self.records)


def configurations(records: Iterable[Record]) -> list[Configuration]:
    """Group records by machine and by every axis but the seed, in the order of their studies."""
    found: dict[tuple[str, str, str | None], dict[int, Record]] = {}
    axes: dict[tuple[str, str, str | None], dict[str, Scalar | None]] = {}
    ordered = sorted(records, key=lambda r: (r.place.number if r.place.number is not None else -1, r.started, r.id))
    for record in ordered:
        machine = machine_label(record.environment)
        # What the user's code gave before and after an edit is not one configuration.
        code = record.measured.code if record.measured else None
        key = record.trial.configuration, machine, code
        kept = found.setdefault(key, {})
        if record.trial.seed not in kept or record.started > kept[record.trial.seed].started:
            kept[record.trial.seed] = record
        trial = record.trial.model_dump(mode="json")
        plain = {name: trial[name] for name in axis_names(without=("overrides", "seed"))}
        axes.setdefault(key, plain | {MACHINE: machine} | trial["overrides"] | {CODE: code})
    return [Configuration(axes[key], tuple(kept[seed] for seed in sorted(kept))) for key, kept in found.items()]


def varying(found: Sequence[Configuration]) -> list[str]:
    """The axes on which configurations differ, as many of them as tell any two apart.

    A tolerance that is the same multiple of another one everywhere is left out, if the other axes tell all apart.
    """
    names = dict.fromkeys(name for one in found for name in one.axes)
    differing = [name for name in names if len({str(one.axis(name)) for one in found}) > 1]
    lean = [name for name in differing if not _follows(name, differing, found)]
    return lean if _told_apart(lean, found) == _told_apart(differing, found) else differing


def _follows(name: str, differing: Sequence[str], found: Sequence[Configuration]) -> bool:
    """Whether an axis is the same multiple of the one that it follows, wherever a configuration has both."""
    leader = AXES[name].follows if name in AXES else ""
    factors = {factor(one.axis(name), one.axis(leader)) for one in found} if leader in differing else set()
    return len(factors - {None}) == 1


def factor(value: Scalar | None, leader: Scalar | None) -> str | None:
    """A tolerance over the one that it follows, to six digits; None where one of them is no number."""
    both = isinstance(value, int | float) and isinstance(leader, int | float)
    return short(value / leader) if both else None  # type: ignore[operator]


def _told_apart(names: Sequence[str], found: Sequence[Configuration]) -> int:
    """How many configurations can be told apart by some axes."""
    return len({tuple(str(one.axis(name)) for name in names) for one in found})


def by_study(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Records by the study that they are of; those of another grid by each shipped study that would ask for them.

    Records that have the name of a shipped study which would not ask for them, since one of the two was changed, are
    kept apart under that name with ``NOT_AS_SHIPPED``.

    The latest one of each trial on each machine.
    """
    shipped = shipped_studies()
    found: dict[str, dict[tuple[str, str], Record]] = {name: {} for name in shipped}
    for record in sorted(records, key=lambda record: record.started):
        own = record.place.study
        other = f"{own}{NOT_AS_SHIPPED}" if own in shipped else own
        for name in homes(record) or filter(None, (other,)):
            found.setdefault(name, {})[record.id, machine_label(record.environment)] = record
    return {name: list(kept.values()) for name, kept in found.items() if kept}
