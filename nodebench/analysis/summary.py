"""Records of many trials in few rows: configurations over their replicates, and which study they are of."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nodebench.analysis.fairness import is_flow, unreliable
from nodebench.analysis.homes import homes
from nodebench.spec import Record, Status, shipped_studies
from nodebench.spec.figures import figure
from nodebench.spec.trial import Scalar

_AXES = (
    "task",
    "dataset",
    "model",
    "solver",
    "batching",
    "compile",
    "rtol",
    "step_size",
    "gradient",
    "segments",
    "dtype",
    "threads",
    "preset",
    "device",
)


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
    """Group records by all but their seed, in the order of their studies."""
    found: dict[str, dict[int, Record]] = {}
    axes: dict[str, dict[str, Scalar | None]] = {}
    ordered = sorted(records, key=lambda r: (r.place.number if r.place.number is not None else -1, r.started, r.id))
    for record in ordered:
        # What the user's code gave before and after an edit is not one configuration.
        code = record.measured.code if record.measured else None
        key = f"{record.trial.configuration} {code}"
        kept = found.setdefault(key, {})
        if record.trial.seed not in kept or record.started > kept[record.trial.seed].started:
            kept[record.trial.seed] = record
        trial = record.trial.model_dump(mode="json")
        axes.setdefault(key, {name: trial[name] for name in _AXES} | trial["overrides"] | {"code": code})
    return [Configuration(axes[key], tuple(kept[seed] for seed in sorted(kept))) for key, kept in found.items()]


def varying(found: Sequence[Configuration]) -> list[str]:
    """The axes on which configurations differ."""
    names = dict.fromkeys(name for one in found for name in one.axes)
    return [name for name in names if len({str(one.axis(name)) for one in found}) > 1]


def by_study(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Records by the study that they are of; those of a typed grid by the shipped study that would ask for them.

    The latest one of each trial.
    """
    found: dict[str, dict[str, Record]] = {name: {} for name in shipped_studies()}
    for record in sorted(records, key=lambda record: record.started):
        for name in homes(record)[:1] or ((record.place.study,) if record.place.study else ()):
            found.setdefault(name, {})[record.id] = record
    return {name: list(kept.values()) for name, kept in found.items() if kept}
