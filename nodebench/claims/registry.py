"""Every claim: the ones that come with nodebench, and those of installed packages."""

from functools import cache

from nodebench.claims.contract import Claim
from nodebench.claims.papers import (
    breakdown,
    chen2018_accuracy,
    chen2018_costs,
    chen2018_solving,
    later,
    libraries,
)
from nodebench.plugins import load_plugins

CLAIMS: tuple[Claim, ...] = (
    *chen2018_accuracy.CLAIMS,
    *chen2018_costs.CLAIMS,
    *chen2018_solving.CLAIMS,
    *breakdown.CLAIMS,
    *later.CLAIMS,
    *libraries.CLAIMS,
)


class ClaimPlugin:
    """What an entry point of the group ``nodebench.claims`` names: a class with claims, and the studies that feed them.

    Attributes:
        claims: the declarations.
        studies: paths of the ``.toml`` files of their studies; a claim names them by the file's name.
    """

    claims: tuple[Claim, ...] = ()
    studies: tuple[str, ...] = ()


@cache
def all_claims() -> tuple[Claim, ...]:
    """The claims of nodebench and of installed packages; a package cannot replace a claim of nodebench."""
    names = {claim.name for claim in CLAIMS}
    found = list(CLAIMS)
    for plugin in load_plugins("nodebench.claims"):
        found += [claim for claim in plugin.claims if claim.name not in names]
        names |= {claim.name for claim in plugin.claims}
    return tuple(found)
