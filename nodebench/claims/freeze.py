"""Freeze the declarations of claims, with a date; the records that test one should be made after it.

``frozen.json`` holds, for each claim, the hashes of all versions of its declaration with their dates, and the content
of the trials that its studies ask for. A declaration whose hash differs from the last one is not frozen; freezing it
again needs an entry in ``amendments.toml`` that says what changed and why. A test compares both files with the
declarations.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from nodebench.analysis.readings import Reading
from nodebench.claims.amendments import Amendment
from nodebench.claims.content import Content
from nodebench.claims.contract import Claim, Part
from nodebench.errors import BadInput
from nodebench.spec import frozen as models
from nodebench.spec.trial import Scalar

PATH = Path(__file__).with_name("frozen.json")
# Increase this when the rules of judging change: every hash then changes, and every claim needs an amendment.
PROTOCOL = 2


class Hash(models.Frozen):
    """The hash of a frozen declaration and the date (ISO 8601) on which it was frozen."""

    hash: str
    date: str


class FrozenClaim(models.Frozen):
    """The frozen data of one claim.

    Attributes:
        history: the hashes of its declarations, oldest first; the last one is in force.
        contents: the trials that its studies ask for, one entry per group.
    """

    history: tuple[Hash, ...] = Field(min_length=1)
    contents: tuple[Content, ...] = ()


class Frozen(models.Frozen):
    """The frozen declarations of all claims, by the name of the claim."""

    protocol: int = PROTOCOL
    claims: dict[str, FrozenClaim] = Field(default_factory=dict)

    @cached_property
    def contents(self) -> dict[str, Sequence[Content]]:
        """The trials that each claim reads, by the name of the claim."""
        return {name: claim.contents for name, claim in self.claims.items()}

    @cached_property
    def neutral(self) -> dict[str, dict[str, Scalar | None]]:
        """The neutral values of the options that older records do not have, by the name of the task."""
        found: dict[str, dict[str, Scalar | None]] = {}
        for content in (one for contents in self.contents.values() for one in contents):
            task = content.fixed.get("task")
            if isinstance(task, str):
                found[task] = found.get(task, {}) | content.filled({})
        return found

    def date(self, claim: Claim) -> str | None:
        """Return the date on which a claim was frozen; None if it is not frozen or has changed since."""
        known = self.claims.get(claim.name)
        last = known.history[-1] if known else None
        return last.date if last and last.hash == declaration_hash(claim) else None


def frozen_declarations() -> Frozen:
    """The frozen declarations that come with nodebench.

    Raises:
        BadInput: the file cannot be read.
    """
    try:
        return Frozen.model_validate_json(PATH.read_text())
    except (OSError, ValidationError) as error:
        raise BadInput(f"{PATH}: {str(error).splitlines()[0]}") from error


def declaration_hash(claim: Claim) -> str:
    """The hash of a declaration: equal as long as nothing that it declares changes."""
    declared = {"protocol": PROTOCOL, **_plain(claim)}
    canonical = json.dumps(declared, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


_STORED_AS = {"metric": "figure"}  # fields of a reading that had another name when declarations were first frozen


def _plain(value: Any) -> Any:
    if isinstance(value, Reading):  # its function is described by its other fields
        # Declarations from before the field "paired" keep their hashes.
        left_out = ("get",) if value.paired else ("get", "paired")
        names = [f.name for f in fields(value) if f.name not in left_out]
        return {_STORED_AS.get(name, name): _plain(getattr(value, name)) for name in names}
    if is_dataclass(value) and not isinstance(value, type):
        plain = {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
        if isinstance(value, Part):
            plain["pool"] = None  # a field that was removed: frozen declarations have its default
        # Declarations from before the field "any_device" keep their hashes.
        return {name: item for name, item in plain.items() if item or name != "any_device"}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return value


def changed(claims: Iterable[Claim], contents: Mapping[str, Sequence[Content]], frozen: Frozen) -> list[Claim]:
    """Return the claims whose declaration or trials differ from the frozen ones.

    Args:
        claims: all claims.
        contents: the trials that the studies of each claim ask for now, by the name of the claim.
        frozen: the frozen declarations.
    """
    return [
        claim
        for claim in claims
        if frozen.date(claim) is None or not extends(frozen.claims[claim.name].contents, contents[claim.name])
    ]


def frozen_again(
    claims: Sequence[Claim],
    contents: Mapping[str, Sequence[Content]],
    frozen: Frozen,
    amended: Iterable[Amendment],
    date: str,
) -> Frozen:
    """Return the frozen declarations with the changed claims frozen on a date.

    Args:
        claims: all claims.
        contents: the trials that the studies of each claim ask for now, by the name of the claim.
        frozen: the declarations frozen so far.
        amended: all amendments; only those that are newer than the last frozen declaration count.
        date: ISO 8601.

    Raises:
        BadInput: a declaration, or the trials that it asks for, changed without an amendment.
    """
    found: dict[str, FrozenClaim] = {}
    described = list(amended)
    stale = changed(claims, contents, frozen)
    for claim in claims:
        known, now = frozen.claims.get(claim.name), declaration_hash(claim)
        history = known.history if known else ()
        if claim in stale:
            if history and not _has_amendment(claim.name, now, history[-1].date, described):
                raise BadInput(
                    f"the declaration of {claim.name} changed: describe the change in amendments.toml with to = "
                    f"'{now}', "
                    "then freeze again"
                )
            history = (*history, Hash(hash=now, date=date))
        found[claim.name] = FrozenClaim(history=history, contents=tuple(contents[claim.name]))
    gone = {name: claim for name, claim in frozen.claims.items() if name not in found}
    return Frozen(claims=found | gone)


def _has_amendment(name: str, now: str, since: str, amended: Iterable[Amendment]) -> bool:
    return any(one.claim == name and one.to == now and one.date > since for one in amended)


def extends(old: Sequence[Content], new: Sequence[Content]) -> bool:
    """Return whether new contents equal old ones, except for later options of the task at their neutral values."""
    if len(old) != len(new):
        return False
    return all(
        before.varied == {name: value for name, value in after.varied.items() if name in _names(before)}
        and before.fixed == {name: value for name, value in after.fixed.items() if name in _names(before)}
        and all(after.neutral.get(name) == value for name, value in after.fixed.items() if name not in _names(before))
        for before, after in zip(old, new, strict=True)
    )


def _names(content: Content) -> set[str]:
    return {*content.fixed, *content.varied}


def write(frozen: Frozen) -> Path:
    """Write the frozen declarations into this checkout."""
    PATH.write_text(json.dumps(frozen.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n")
    return PATH
