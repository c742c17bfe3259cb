"""The regions of a claim: which values support it, which refute it, and which lie between."""

import math
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from itertools import pairwise

from nodebench.analysis.statistics import Range


class Outcome(StrEnum):
    """The region that an interval lies inside."""

    SUPPORTED = "supported"
    REFUTED = "refuted"
    PARTLY = "partly"


@dataclass(frozen=True)
class Regions:
    """A partition of all values into three outcomes. All values in neither of the two ranges are ``partly``.

    All ranges are closed. An exact value on a common edge has the first outcome of supported, refuted, partly.

    Attributes:
        supports: the values for which the claim holds.
        refutes: the values for which it does not; None for all others.

    Raises:
        ValueError: a range is empty, or two of them overlap.
    """

    supports: Range
    refutes: tuple[Range, ...] | None = None

    def __post_init__(self) -> None:
        ranges = sorted([self.supports, *self.refuting])
        if any(low >= high for low, high in ranges):
            raise ValueError(f"a region without values: {ranges}")
        if any(first[1] > second[0] for first, second in pairwise(ranges)):
            raise ValueError(f"regions that overlap: {ranges}")

    @cached_property
    def refuting(self) -> tuple[Range, ...]:
        """The ranges of values for which the claim does not hold."""
        return between([self.supports]) if self.refutes is None else self.refutes

    @cached_property
    def partly(self) -> tuple[Range, ...]:
        """The ranges between the others."""
        return between([self.supports, *self.refuting])

    @cached_property
    def ranges(self) -> dict[Outcome, tuple[Range, ...]]:
        """The ranges of each outcome."""
        return {Outcome.SUPPORTED: (self.supports,), Outcome.REFUTED: self.refuting, Outcome.PARTLY: self.partly}


def between(ranges: list[Range]) -> tuple[Range, ...]:
    """Return the gaps between ranges, from minus to plus infinity, as closed ranges."""
    ordered = sorted(ranges)
    lows, highs = [-math.inf, *(high for _, high in ordered)], [*(low for low, _ in ordered), math.inf]
    return tuple((low, high) for low, high in zip(lows, highs, strict=True) if low < high)
