"""Compare the environments of two records: what differs, and which metrics the differences could change."""

from collections.abc import Iterator, Mapping
from typing import Any

from nodebench.spec import Record, Trial
from nodebench.spec.metrics import Kind

Changes = dict[str, tuple[str, str]]

# What affects arithmetic besides the code: the available instructions and the order of summation.
_ARITHMETIC = ("cpu", "microarchitecture", "blas", "threads", "accelerator", "platform")
USER_CODE = "user's code"  # prefix of the hashes of a user's field
_PROGRAM = ("nodebench", "code", "packages", "identities", "plugins", "python", "data", USER_CODE)
# Missing in older records: if one of two records lacks it, it does not count as different.
_LATER = ("identities", "blas")
# Maps each library that only one backend's solvers use to that backend.
OF_BACKEND = {"torchode": "torchode", "torchdyn": "torchdyn", "diffrax": "diffrax", "jax": "diffrax"}


def flat_environment(record: Record) -> dict[str, str]:
    """A record's environment as a flat mapping: ``packages.torch``, ``cores.usable``; unknown values are left out."""
    known = dict(_flat(record.environment))
    if record.data:
        known["data"] = record.data.sha256[:12]
    if record.measured:
        modules = {f"{USER_CODE}.{name}": digest for name, digest in record.measured.modules.items()}
        packages = {f"{USER_CODE}.packages.{name}": version for name, version in record.measured.packages.items()}
        known |= {**modules, **packages, f"{USER_CODE}.initial state": record.measured.state}
    return known


def changes(first: Record, second: Record) -> Changes:
    """Return what differs between the environments of two records: before and after, with a dash if it is missing."""
    before, after = flat_environment(first), flat_environment(second)
    names = [
        n for n in dict.fromkeys([*before, *after]) if n.partition(".")[0] not in _LATER or (n in before and n in after)
    ]
    return {name: (a, b) for name in names if (a := before.get(name, "–")) != (b := after.get(name, "–"))}


def reaching(found: Changes, kind: Kind, trial: Trial) -> Changes:
    """Return the changes that could affect a metric of a kind in a trial; the whole machine affects a sampled one."""

    def reaches(name: str) -> bool:
        root, _, package = name.partition(".")
        if root in ("packages", "identities") and package in OF_BACKEND:
            return uses(trial, package)
        return kind is Kind.SAMPLED or root in (*_PROGRAM, *_ARITHMETIC)

    return {name: pair for name, pair in found.items() if reaches(name)}


def uses(trial: Trial, package: str) -> bool:
    """Whether a library can affect a trial's results; a library of another backend cannot."""
    return OF_BACKEND.get(package) in (None, (trial.solver or "").partition(":")[0])


def describe_changes(found: Changes) -> str:
    """Describe changes in one line: ``packages.torch 2.4 → 2.5``; commits and hashes are cut to eight digits."""
    return ", ".join(f"{name} {_short(name, a)} → {_short(name, b)}" for name, (a, b) in found.items())


def _short(name: str, value: str) -> str:
    if name.endswith(".commit"):
        return value[:8]
    return short_identity(value) if name.startswith("identities.") or name.endswith(".identity") else value


def short_identity(identity: str) -> str:
    """An identity with eight digits of its hash: ``git:0123abcd``."""
    kind, _, digits = identity.partition(":")
    return f"{kind}:{digits[:8]}"


def _flat(tree: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        elif value is not None:
            yield f"{before}{name}", str(value)
