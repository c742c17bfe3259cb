"""Estimates with their intervals, p-values and corrections. ``nodebench.analysis.sequential`` plans the looks.

A replicate is a fresh process with its own seed and gives one value. A replicate that failed because of the method
under test is censored: its value is plus or minus infinity. The same estimator applies at every number of replicates:

==================== ======================================================================================
values               estimate and interval
==================== ======================================================================================
scale ``linear``     mean with Student's interval
scale ``log``        the same on logarithms: the geometric mean
scale ``share``      share of ones with the exact binomial interval (Clopper and Pearson 1934)
some are infinite    median with the interval by order statistics, which assumes no distribution
exact and all equal  that value, with an interval of width zero: one value is enough
==================== ======================================================================================

Every interval is described by its two-sided *error*, which is 1 minus its confidence level.

Student's interval assumes that means are nearly normal. On skewed data on a linear scale it misses the truth more often
than its error says: of verdicts with an error of 5 %, 7 % are false for lognormal values of sigma 0.5, and 16 % for
sigma 1. Such a metric needs a logarithmic scale or a share. ``docs/statistics.md`` has the measured rates.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from scipy import special  # scipy.stats takes more than half a second to import

Scale = Literal["linear", "log", "share"]
Range = tuple[float, float]

EVERYTHING: Range = (-math.inf, math.inf)
LEVEL = 0.95
ERROR = 0.05  # 1 - LEVEL
KNOWN_TO = 0.01  # assumed relative resolution of a sampled metric if all values are equal


@dataclass(frozen=True)
class Estimate:
    """An estimate with its interval, in the unit of the values.

    Attributes:
        value: the estimate.
        low: the lower end of the interval.
        high: the upper end of the interval.
        n: the number of replicates.
    """

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Replicates:
    """One value per replicate, in the order in which they count (by seed), and what is known of their error.

    Attributes:
        values: at least one; an infinity where a trial failed; 0 or 1 on the scale ``share``.
        scale: on which the values are averaged: ``log`` for ratios, ``share`` for zeros and ones, else ``linear``.
        exact: whether the metric has no sampling error, such as a number of bytes.
        least_error: lower bound of the standard error of the mean, on the scale. It is set by the noise of the machine
            and shrinks with the square root of the number of replicates.
        shared_error: a standard error, on the scale, that all replicates have in common, such as the sampling error of
            one test set. It does not shrink with the number of replicates, and its variance is added.
        resolution: the smallest step between two possible values, on the scale: 1 for a count, 100 / (size of the test
            set) for an error in per cent. The standard deviation counts as at least half of it, its maximum for values
            on two neighbouring steps. None if unknown: equal values then have a resolution of ``KNOWN_TO`` of their
            size, and the interval of zeros is unbounded.

    Raises:
        ValueError: there is no value, one is NaN, a finite one is not positive on the scale ``log``, or one is neither
            0 nor 1 on the scale ``share``.
    """

    values: tuple[float, ...]
    scale: Scale = "linear"
    exact: bool = False
    least_error: float = 0.0
    shared_error: float = 0.0
    resolution: float | None = None

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError("no values")
        if any(math.isnan(value) for value in self.values):
            raise ValueError("a value that is not a number")
        if self.scale == "log" and (wrong := [v for v in self.values if v <= 0 and math.isfinite(v)]):
            raise ValueError(f"the scale 'log' needs positive values, not {min(wrong):g}")
        if self.scale == "share" and not set(self.values) <= {0, 1}:
            raise ValueError("a share is estimated from zeros and ones")

    @property
    def n(self) -> int:
        """The number of replicates."""
        return len(self.values)

    @property
    def are_equal(self) -> bool:
        """Whether all values are equal on their scale; close values may have the same logarithm after rounding."""
        logs = self.scale == "log" and all(value > 0 for value in self.values)
        return len(set(map(math.log, self.values) if logs else self.values)) == 1

    @property
    def is_exact(self) -> bool:
        """Whether the value is known without error: declared so, finite and the same in every replicate."""
        return self.exact and self.are_equal and not self.is_censored

    @property
    def is_censored(self) -> bool:
        """Whether a replicate has failed."""
        return not all(map(math.isfinite, self.values))

    @property
    def numbers(self) -> Any:
        """The values on their scale, an array of shape (n,)."""
        return np.log(self.values) if self.scale == "log" else np.asarray(self.values, dtype=float)

    @property
    def least_deviation(self) -> float:
        """Lower bound of the standard deviation of the values, on the scale; infinite if it is unknown."""
        resolution = self.resolution
        if not resolution and self.are_equal:
            resolution = KNOWN_TO * (1.0 if self.scale == "log" else abs(self.values[0])) or math.inf
        return max(self.least_error * math.sqrt(self.n), (resolution or 0.0) / 2)

    def first(self, n: int) -> "Replicates":
        """The first ``n`` replicates, with ``least_error`` scaled to their number."""
        if n >= self.n:
            return self
        return replace(self, values=self.values[:n], least_error=self.least_error * math.sqrt(self.n / n))

    def error_of_mean(self, deviation: Any, n: int) -> tuple[Any, Any]:
        """The standard error of the mean of ``n`` such values and its degrees of freedom, both on the scale.

        Args:
            deviation: the standard deviation of the values; a number, or an array with one for each simulated sample.
            n: the number of values, at least 2.

        Returns:
            tuple: the error, infinite if it is unknown, and its degrees of freedom (Satterthwaite 1946;
            ``shared_error`` counts as known without error).
        """
        own = np.maximum(deviation, self.least_deviation) / math.sqrt(n)
        if not self.shared_error:
            return own, n - 1
        return np.hypot(own, self.shared_error), (n - 1) * (1 + (self.shared_error / own) ** 2) ** 2


def interval(replicates: Replicates, error: float = ERROR) -> Estimate:
    """The estimate and its interval; see the table at the top of the module for the method.

    Args:
        replicates: the values. One value of a metric that is not exact has an unbounded interval.
        error: the two-sided error of the interval.
    """
    method = _method(replicates)
    low, high = method.bounds(error)
    return Estimate(method.value, low, high, replicates.n)


def nominal_p(replicates: Replicates, region: Range) -> float:
    """The least error at which ``interval`` lies inside a closed region; 1 if it never does.

    It is the two-sided p-value of the nearer edge for values that are tested once. For an exact value it is 0 inside
    the region and 1 outside, which is not a p-value.
    """
    return min(1.0, _method(replicates).p(region))


def _method(replicates: Replicates) -> "_Binomial | _Exact | _Order | _Student":
    if replicates.scale == "share":
        return _Binomial(int(sum(replicates.values)), replicates.n)
    if replicates.is_exact:
        return _Exact(replicates.values[0])
    if replicates.is_censored:
        return _Order(replicates)
    return _Student(replicates)


@dataclass(frozen=True)
class _Exact:
    value: float

    def bounds(self, error: float) -> Range:
        return self.value, self.value

    def p(self, region: Range) -> float:
        return 0.0 if region[0] <= self.value <= region[1] else 1.0


@dataclass(frozen=True)
class _Binomial:
    ones: int
    n: int

    @property
    def value(self) -> float:
        return self.ones / self.n

    def bounds(self, error: float) -> Range:
        low = special.betaincinv(self.ones, self.n - self.ones + 1, error / 2) if self.ones else 0.0
        high = special.betainccinv(self.ones + 1, self.n - self.ones, error / 2) if self.ones < self.n else 1.0
        return float(low), float(high)

    def p(self, region: Range) -> float:
        return float(share_p(self.ones, self.n, region))


@dataclass(frozen=True)
class _Order:
    """The median. The number of values below it is binomial, which gives the ranks of its bounds."""

    replicates: Replicates

    @property
    def value(self) -> float:
        return median(self.replicates.values, self.replicates.scale)

    def bounds(self, error: float) -> Range:
        ordered, n = sorted(self.replicates.values), self.replicates.n
        outside = int(np.searchsorted(special.bdtr(np.arange(n // 2), n, 0.5), error / 2, side="right"))
        if not outside:
            return EVERYTHING
        return ordered[outside - 1], ordered[n - outside]

    def p(self, region: Range) -> float:
        low, high = region
        values = self.replicates.values
        below = None if low == -math.inf else sum(value < low for value in values)
        above = None if high == math.inf else sum(value > high for value in values)
        return float(median_p(below, above, len(values)))


@dataclass(frozen=True)
class _Student:
    replicates: Replicates

    @cached_property
    def _mean(self) -> float:
        with np.errstate(over="ignore"):
            return float(np.mean(self.replicates.numbers))

    @cached_property
    def _error(self) -> tuple[float, float]:
        if self.replicates.n == 1:
            return math.inf, 1.0
        # The deviation of equal values is set to zero, to avoid the rounding error of their mean.
        with np.errstate(over="ignore", invalid="ignore"):
            deviation = 0.0 if self.replicates.are_equal else float(np.std(self.replicates.numbers, ddof=1))
        if not math.isfinite(deviation):  # the squares of the values overflow
            return math.inf, 1.0
        error, freedom = self.replicates.error_of_mean(deviation, self.replicates.n)
        return float(error), float(freedom)

    @property
    def value(self) -> float:
        if self.replicates.are_equal:
            return self.replicates.values[0]
        return exp(self._mean) if self.replicates.scale == "log" else self._mean

    def bounds(self, error: float) -> Range:
        standard, freedom = self._error
        if math.isinf(standard):
            return EVERYTHING
        width = -standard * float(special.stdtrit(freedom, error / 2))
        back: Callable[[float], float] = exp if self.replicates.scale == "log" else float
        return back(self._mean - width), back(self._mean + width)

    def p(self, region: Range) -> float:
        standard, freedom = self._error
        if math.isinf(standard):
            return 1.0
        low, high = (to_scale(edge, self.replicates.scale) for edge in region)
        below = special.stdtr(freedom, (low - self._mean) / standard) if low > -math.inf else 0.0
        above = special.stdtr(freedom, (self._mean - high) / standard) if high < math.inf else 0.0
        return 2 * float(max(below, above))


def share_p(ones: Any, n: int, region: Range) -> Any:
    """The p-value that a share lies outside a region: twice the binomial tail at the nearer edge.

    Args:
        ones: how many of the ``n`` replicates are ones; a number or an array.
        region: a closed region; an edge at or beyond 0 or 1 is ignored.
    """
    low, high = region
    below = special.bdtrc(np.asarray(ones) - 1, n, min(low, 1.0)) if low > 0 else 0.0
    above = special.bdtr(ones, n, max(high, 0.0)) if high < 1 else 0.0
    return 2 * np.maximum(below, above)


def median_p(below: Any, above: Any, n: int) -> Any:
    """The p-value that a median lies outside a region, by the sign test at the nearer edge.

    Args:
        below: how many of the ``n`` replicates lie below the region; a number or an array. None without a lower edge.
        above: how many lie above it.
    """
    first, second = (0.0 if count is None else special.bdtr(count, n, 0.5) for count in (below, above))
    return 2 * np.maximum(first, second)


def to_scale(edge: float, scale: Scale) -> float:
    """Return an edge of a region on a scale; the logarithm of a non-positive edge is minus infinity."""
    if scale != "log" or math.isinf(edge):
        return edge
    return math.log(edge) if edge > 0 else -math.inf


def estimate(values: Sequence[float], scale: Scale, exact: bool = False) -> Estimate:
    """The estimate from one value per replicate with its interval at ``LEVEL``; see ``Replicates``.

    Raises:
        ValueError: as ``Replicates``.
    """
    return interval(Replicates(tuple(values), scale, exact))


def median(values: Sequence[float], scale: Scale = "linear") -> float:
    """The median; between two values the geometric mean on a ``log`` scale."""
    ordered = sorted(values)
    lower, upper = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    if lower == upper or not (math.isfinite(lower) and math.isfinite(upper)):
        return lower
    return math.sqrt(lower * upper) if scale == "log" else (lower + upper) / 2


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values of one family, in the order given (Holm 1979)."""
    adjusted, worst = [1.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = worst
    return adjusted


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values of one report, in the order given (Benjamini and Hochberg 1995).

    If adjusted p-values of at most 0.05 are called discoveries, the expected share of false discoveries is at most 5 %.
    The p-values must be independent or positively dependent, as those of claims that read the same records are.
    """
    sizes = np.asarray(p_values, dtype=float)
    falling = np.argsort(-sizes, kind="stable")
    scaled = sizes[falling] * len(sizes) / np.arange(len(sizes), 0, -1)
    corrected = np.empty_like(sizes)
    corrected[falling] = np.minimum.accumulate(scaled)
    return [float(p) for p in corrected]


def exp(number: float) -> float:
    """Return the exponential; infinity if it overflows."""
    return math.exp(number) if number < 700 else math.inf


def finite(value: float | None) -> float | None:
    """Return the number, or None for an infinity, which JSON cannot represent."""
    return None if value in (float("inf"), float("-inf")) else value
