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


@cache
def all_claims() -> tuple[Claim, ...]:
    """The claims of nodebench and of installed packages.

    An entry point of the group ``nodebench.claims`` names a class with an attribute ``claims``, a tuple of ``Claim``.
    The studies that a claim names are shipped ones, or paths of ``.toml`` files. A package cannot replace a claim of
    nodebench.
    """
    names = {claim.name for claim in CLAIMS}
    found = list(CLAIMS)
    for plugin in load_plugins("nodebench.claims"):
        found += [claim for claim in plugin.claims if claim.name not in names]
        names |= {claim.name for claim in plugin.claims}
    return tuple(found)
