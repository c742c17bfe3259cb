"""Settings that must be equal in the arms of a comparison, and results that must not be compared at all.

Source: the protocol of ``pyperf``'s compare, and Ott et al. 2021 (arXiv 2008.03976) for the validity of a step.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from nodebench.analysis.environment_diff import OF_BACKEND, short_identity, uses
from nodebench.spec import Record, Status
from nodebench.spec.trial import Scalar

_LIBRARIES = ("torch", "torchdiffeq", "scipy")  # what every arm uses
PLUGIN = "plug-in "  # prefix of settings that identify a plug-in's installation
_ABSENT = "–"

# Failure statuses that are caused by the method. All others are caused by the machine or by the code.
OUTCOMES = frozenset(
    {Status.TIMEOUT, Status.NFE_BUDGET, Status.MEMORY_BUDGET, Status.DT_UNDERFLOW, Status.NON_FINITE, Status.STANDSTILL}
)

# A network trained with fixed steps is not an ODE if steps four times finer change its error by this many points.
GATE_POINTS = 1.0
GATE_REFINEMENT = 4


@dataclass(frozen=True)
class Point:
    """A record with its settings: its value on each axis, and the machine and software it was measured with.

    Attributes:
        record: the record.
        axes: the trial's axes and all options of its task, including defaults. An option has the same key, for
            example ``points``, whether the preset or an override sets it.
        machine: machine and software that must be equal in a comparison, by readable name.
        own: installations that one arm may use and another not: the libraries of the solver's backend, and the
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
            assumed: identities of packages for which the record has none; see ``points_of``.
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
        """All settings that must be equal in two arms, except those under test; an axis without a value is left out.

        Therefore a record without a newer option equals a record in which this option is None.
        """
        axes = {name: str(value) for name, value in self.axes.items() if value is not None}
        return axes | dict(self.machine) | dict(self.own)

    @property
    def data(self) -> str | None:
        """Checksum of the data. It is equal in the arms of a replicate; synthetic data differ for each seed."""
        return self.record.data.sha256 if self.record.data else None

    @property
    def seed(self) -> int:
        """The seed, which identifies the replicate."""
        return self.record.trial.seed

    @property
    def is_outcome(self) -> bool:
        """Whether the trial succeeded, or failed because of the method."""
        return self.record.status is Status.OK or self.record.status in OUTCOMES


def points_of(records: Iterable[Record]) -> list[Point]:
    """Read records that will be compared with each other.

    Two installations of one version with different code are different settings. Records of schema 3 and older store
    only versions. If the other records contain exactly one installation of that version, the older records are
    assigned to it; otherwise the older records are a separate setting.
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

    Points with an empty ``own`` are in the first group, because they can be compared with any installation.
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
    """Return the record's entry for each plug-in; a value that is not a mapping (edited record) is a version."""
    plugins: Mapping[str, Any] = record.environment.get("plugins") or {}
    return {
        PLUGIN + name: described if isinstance(described, Mapping) else {"version": described}
        for name, described in plugins.items()
    }


def _installation(version: object, identity: str | None) -> str:
    """Return a version with the identity of its installation: ``0.2.5 (git:0123abcd)``."""
    return f"{version} ({short_identity(identity)})" if identity else str(version)


def differing(
    first: Mapping[str, str], second: Mapping[str, str], but: Collection[str] = ()
) -> dict[str, tuple[str, str]]:
    """Return the settings that differ, with both values; settings in ``but`` are ignored."""
    names = dict.fromkeys([*first, *second])
    pairs = {name: (first.get(name, _ABSENT), second.get(name, _ABSENT)) for name in names if name not in but}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def incomparable(
    first: Mapping[str, str], second: Mapping[str, str], but: Collection[str]
) -> dict[str, tuple[str, str]]:
    """Return the settings that make two arms incomparable, with both values; settings in ``but`` may differ.

    A plug-in or a backend's library that only one arm uses may differ. Two installations of one package may not.
    """
    pairs = differing(first, second, but)
    return {name: pair for name, pair in pairs.items() if not (_is_of_one_arm(name) and _ABSENT in pair)}


def _is_of_one_arm(setting: str) -> bool:
    """Whether a setting is an installation that one arm may use and the other not."""
    return setting.startswith(PLUGIN) or setting in OF_BACKEND


def is_flow(record: Record) -> bool | None:
    """Whether a network trained with fixed steps behaves as an ODE: finer steps do not change its error.

    None for adaptive steps, or if the profile lacks these rows. False if the solve with finer steps failed.
    """
    if not trained_with_fixed_steps(record):
        return None
    rows = [row for row in record.profile if row.get("step_size") is not None and "test_error" in row]
    steps = {row["step_size"]: row["test_error"] for row in rows}
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
    """Return why a record's metrics are unreliable; None if they are reliable.

    Args:
        record: record of a successful trial.
        timed: whether a time is read from the record.
        paired: whether all times read are ratios of arms that ran interleaved.
    """
    if record.passes_agree is False:
        return "its passes disagree"
    if timed and record.drifted and not paired:
        return "the machine's speed changed during the trial"
    if timed and record.place.shared:
        return "other trials ran on its cores"
    return None
