"""Amendments: what changed in a declaration after it was written, when, and why."""

import tomllib
from collections.abc import Iterable
from pathlib import Path

from pydantic import Field, ValidationError

from nodebench.errors import BadInput, choose
from nodebench.spec.frozen import Frozen

PATH = Path(__file__).with_name("amendments.toml")


class Amendment(Frozen):
    """One change of a declaration.

    Attributes:
        claim: the name of the claim, or ``all`` for a change of the rules.
        date: ISO 8601.
        commit: the abbreviated hash of the commit that made the change; empty if it is part of the current commit.
        what: which part of the declaration changed.
        old: the declaration before.
        new: the declaration after.
        reason: why.
        after_first_results: whether records that test the claim existed by then.
        verdict_old: the verdict under the old declaration, or "not known".
        verdict_new: the verdict under the new one on the same records, or "not known".
        to: the hash of the new declaration, if it was frozen.
    """

    claim: str
    date: str
    commit: str = ""
    what: str
    old: str
    new: str
    reason: str
    after_first_results: bool
    verdict_old: str = "not known"
    verdict_new: str = "not known"
    to: str = ""


class _File(Frozen):
    amendment: list[Amendment] = Field(default_factory=list)


def amendments() -> list[Amendment]:
    """Every amendment, oldest first.

    Raises:
        BadInput: the file cannot be read.
    """
    try:
        return _File.model_validate(tomllib.loads(PATH.read_text())).amendment
    except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise BadInput(f"{PATH}: {str(error).splitlines()[0]}") from error


def new_name(name: str) -> str | None:
    """Return the current name of a renamed claim; None if no claim had this name before."""
    id, space, scope = name.partition(" ")
    renamed = {one.old: one.new for one in amendments() if one.what == "name"}
    return f"{renamed[id]}{space}{scope}" if id in renamed else None


def choose_claim(name: str, allowed: Iterable[str]) -> str:
    """Return the name of a claim if it is allowed.

    Raises:
        BadInput: the name is not allowed. The message gives the new name of a renamed claim, else the nearest match.
    """
    names = list(allowed)
    if name not in names and (new := new_name(name)):
        raise BadInput(f"the claim '{name}' is now named '{new}'")
    return choose("claim", name, names)
