"""Every claim: the ones that come with nodebench, and those of installed packages."""

from functools import cache
from typing import Any

from nodebench.claims.contract import Claim
from nodebench.claims.papers import (
    breakdown,
    breakdown_series,
    chen2018_accuracy,
    chen2018_costs,
    chen2018_growth,
    chen2018_memory,
    chen2018_solving,
    classical,
    densities,
    families,
    gradients,
    later,
    libraries,
    robustness,
    series,
)
from nodebench.plugins import NameTaken, load_plugins

CLAIMS: tuple[Claim, ...] = (
    *chen2018_accuracy.CLAIMS,
    *chen2018_growth.CLAIMS,
    *chen2018_memory.CLAIMS,
    *chen2018_costs.CLAIMS,
    *chen2018_solving.CLAIMS,
    *breakdown.CLAIMS,
    *breakdown_series.CLAIMS,
    *later.CLAIMS,
    *families.CLAIMS,
    *gradients.CLAIMS,
    *libraries.CLAIMS,
    *densities.CLAIMS,
    *series.CLAIMS,
    *robustness.CLAIMS,
    *classical.CLAIMS,
)


@cache
def all_claims() -> tuple[Claim, ...]:
    """The claims of nodebench and of installed packages.

    An entry point of the group ``nodebench.claims`` names a class with an attribute ``claims``, a tuple of ``Claim``.
    The studies that a claim names are shipped ones, or paths of ``.toml`` files. If a
    package has a claim with the name of another claim, the package is ignored with a ``PluginWarning``.
    """
    found = {claim.name: claim for claim in CLAIMS}

    def registered(part: Any) -> str:
        claims = getattr(part, "claims", None)
        if not (isinstance(claims, tuple) and all(isinstance(one, Claim) for one in claims)):
            raise TypeError("its attribute 'claims' is not a tuple of nodebench.claims.Claim")
        if taken := [one.name for one in claims if one.name in found]:
            raise NameTaken(f"there is another claim '{taken[0]}'")
        found.update({one.name: one for one in claims})
        return f"{type(part).__module__}.{type(part).__qualname__}"

    load_plugins("nodebench.claims", registered)
    return tuple(found.values())
