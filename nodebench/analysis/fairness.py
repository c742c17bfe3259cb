"""What the arms of a comparison may not differ in, and which results may not be compared at all.

Source: the protocol of ``pyperf``'s compare, and Ott et al. 2021 (arXiv 2008.03976) for the validity of a step.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from nodebench.analysis.surroundings import OF_BACKEND, short_identity, uses
from nodebench.spec import Record, Status
from nodebench.spec.trial import Scalar

_LIBRARIES = ("torch", "torchdiffeq", "scipy")  # what every arm uses
PLUGIN = "plug-in "  # begins the name of a setting that is the installation of a plug-in
_ABSENT = "–"

# Ends of a trial that tell of the method; any other tells of the machine or of the code.
OUTCOMES = frozenset(
    {Status.TIMEOUT, Status.NFE_BUDGET, Status.MEMORY_BUDGET, Status.DT_UNDERFLOW, Status.NON_FINITE, Status.STANDSTILL}
)

# A network trained with fixed steps whose error changes by this much under steps four times finer is no ODE.
GATE_POINTS = 1.0
GATE_REFINEMENT = 4


@dataclass(frozen=True)
class Point:
    """A record as claims see it: where it stands on each axis, and what it was measured with.

    Attributes:
        axes: the trial's axes and the options of its task, all of them, defaults too; ``points`` of the toys'
            trajectory is ``points``, whatever the preset or an override has made it.
        machine: what must be equal for figures to be compared, by the name a person knows it by.
        own: the installations that one arm may use and another not: the libraries of the solver's backend, and the
            plug-in packages that provide the task or the solver, by ``PLUGIN`` and the name of the package.
    """

    record: Record
    axes: Mapping[str, Scalar | None] = field(repr=False)
    machine: Mapping[str, str] = field(repr=False)
    own: Mapping[str, str] = field(repr=False, default_factory=dict)

    @classmethod
    def of(cls, record: Record, assumed: Mapping[str, str] | None = None) -> "Point":
        """Read a record.

        Args:
            record: any.
            assumed: identities of the packages whose own one the record does not hold; see ``points_of``.
        """
        axes = record.trial.model_dump(mode="json")
        overrides = axes.pop("overrides")
        environment = record.environment
        accelerator = environment.get("accelerator")
        identities = {**(assumed or {}), **_identities(record)}
        installations = {name: _installation(v, identities.get(name)) for name, v in _versions(record).items()}
        own = {name: v for name, v in installations.items() if name not in _LIBRARIES and uses(record.trial, name)}
        machine = {
            "machine": f"{environment.get('cpu')}, {accelerator.get('name')}"
            if accelerator
            else str(environment.get("cpu")),
            **{name: installations[name] for name in _LIBRARIES},
            "nodebench": str(environment.get("nodebench")),
        }
        if record.measured is not None:
            machine["user's code"] = record.measured.code
        return cls(record, axes | record.options | overrides, machine, own)

    @cached_property
    def setting(self) -> dict[str, str]:
        """All that must be equal in two arms, but for what is under test; an axis without a value is left out.

        A record that is older than an option does not have it, and a later one may have None.
        """
        axes = {name: str(value) for name, value in self.axes.items() if value is not None}
        return axes | dict(self.machine) | dict(self.own)

    @property
    def data(self) -> str | None:
        """Checksum of its data. Equal in the arms of a replicate; a synthetic set is another one for each seed."""
        return self.record.data.sha256 if self.record.data else None

    @property
    def seed(self) -> int:
        """The replicate."""
        return self.record.trial.seed

    @property
    def is_outcome(self) -> bool:
        """Whether its end tells something of the method: a result, or a failure that the method is to blame for."""
        return self.record.status is Status.OK or self.record.status in OUTCOMES


def points_of(records: Iterable[Record]) -> list[Point]:
    """Read records that are to be compared with each other.

    Two installations of one version that hold different code are two settings. Records of schema 3 and older know
    versions alone: they are taken for the one installation of their version that the other records know. Where
    those know several, it cannot be said which, and the older records are a setting of their own.
    """
    read = list(records)
    known: dict[tuple[str, str], set[str]] = {}
    for record in read:
        versions = _versions(record)
        for name, identity in _identities(record).items():
            known.setdefault((name, str(versions.get(name))), set()).add(identity)

    def assumed(record: Record) -> dict[str, str]:
        found = {name: known.get((name, str(version)), set()) for name, version in _versions(record).items()}
        return {name: next(iter(identities)) for name, identities in found.items() if len(identities) == 1}

    return [Point.of(record, assumed(record)) for record in read]


def by_installations(points: Iterable[Point]) -> list[list[Point]]:
    """Group points so that no group holds two installations of one package; the group of the latest point is first.

    Points with no installation of their own are in the first group: they can be compared with those that have one.
    Within a group the points keep their order.
    """
    ordered = list(points)
    installations: list[dict[str, str]] = []
    groups: dict[int, int] = {}
    for place in sorted(range(len(ordered)), key=lambda one: ordered[one].record.started, reverse=True):
        used = ordered[place].own
        fitting = (i for i, known in enumerate(installations) if all(known.get(n, v) == v for n, v in used.items()))
        groups[place] = next(fitting, len(installations))
        if groups[place] == len(installations):
            installations.append({})
        installations[groups[place]] |= used
    return [[ordered[place] for place in sorted(groups) if groups[place] == i] for i in range(len(installations))]


def _versions(record: Record) -> dict[str, object]:
    """The version of each library and of each plug-in, by the names of their settings."""
    packages: Mapping[str, Any] = record.environment.get("packages") or {}
    return {name: packages.get(name) for name in (*_LIBRARIES, *OF_BACKEND)} | {
        name: described.get("version") for name, described in _plugins(record).items()
    }


def _identities(record: Record) -> dict[str, str]:
    """The identity of each library and of each plug-in, where the record has one, by the names of their settings."""
    libraries: Mapping[str, str] = record.environment.get("identities") or {}
    plugins = {name: described.get("identity") for name, described in _plugins(record).items()}
    return {**libraries, **{name: str(identity) for name, identity in plugins.items() if identity}}


def _plugins(record: Record) -> dict[str, Mapping[str, Any]]:
    """What the record says of each plug-in; a value that is no mapping, as in an edited record, is a version."""
    plugins: Mapping[str, Any] = record.environment.get("plugins") or {}
    return {
        PLUGIN + name: described if isinstance(described, Mapping) else {"version": described}
        for name, described in plugins.items()
    }


def _installation(version: object, identity: str | None) -> str:
    """A version with what tells two installations of it apart: ``0.2.5 (git:0123abcd)``."""
    return f"{version} ({short_identity(identity)})" if identity else str(version)


def differing(first: Point, second: Point, but: frozenset[str] = frozenset()) -> dict[str, tuple[str, str]]:
    """The settings in which two records differ, and how; those named in ``but`` may."""
    return _differing(first.setting, second.setting, but)


def incomparable(
    first: Mapping[str, str], second: Mapping[str, str], but: frozenset[str] = frozenset()
) -> dict[str, tuple[str, str]]:
    """The settings for which two arms cannot be compared, and their values; those named in ``but`` may differ.

    A plug-in or a backend's library that only one arm uses is part of what is compared. Two installations are not.
    """
    pairs = _differing(first, second, but)
    return {name: pair for name, pair in pairs.items() if not (_is_of_one_arm(name) and _ABSENT in pair)}


def _is_of_one_arm(setting: str) -> bool:
    """Whether a setting is an installation that one arm may use and the other not."""
    return setting.startswith(PLUGIN) or setting in OF_BACKEND


def _differing(first: Mapping[str, str], second: Mapping[str, str], but: frozenset[str]) -> dict[str, tuple[str, str]]:
    names = dict.fromkeys([*first, *second])
    pairs = {name: (first.get(name, _ABSENT), second.get(name, _ABSENT)) for name in names if name not in but}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def is_flow(record: Record, metric: str = "test_error") -> bool | None:
    """Whether a network trained with fixed steps passes for an ODE: finer steps leave its error where it was.

    None for adaptive steps, and where the profile has no such row. Finer steps that fail leave it nowhere.
    """
    if not trained_with_fixed_steps(record):
        return None
    rows = [row for row in record.profile if row.get("step_size") is not None and metric in row]
    steps = {row["step_size"]: row[metric] for row in rows}
    if not steps:
        return None
    trained = max(step for step in steps if step is not None)
    errors = [error for step, error in steps.items() if step in (trained, trained / GATE_REFINEMENT)]
    if len(errors) != 2:
        return None
    first, second = errors
    return first is not None and second is not None and abs(first - second) < GATE_POINTS


def trained_with_fixed_steps(record: Record) -> bool:
    """Whether the profile is that of a network trained with fixed steps: its first row has a step size."""
    return bool(record.profile) and record.profile[0].get("step_size") is not None


def unreliable(record: Record, timed: bool, paired: bool = False) -> str | None:
    """Why a record's figures may not be used; None if they may.

    Args:
        record: of a trial that ended well.
        timed: whether a time is read from it.
        paired: whether all such times are ratios of arms that ran interleaved.
    """
    if record.passes_agree is False:
        return "its passes disagree"
    if timed and record.drifted and not paired:
        return "the machine's speed changed during it"
    if timed and record.place.shared:
        return "other trials ran on its cores"
    return None
