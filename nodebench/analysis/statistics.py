"""Intervals, p-values and their correction: scipy's methods, and the rule of which one applies.

A replicate is a fresh process with its own seed; each function takes one value a replicate. A replicate that
failed in a way the method is to blame for is censored: it enters as an infinity on the side where it lies.

==================== ======================================================================================
values               95 % interval
==================== ======================================================================================
shares (0 or 1)      exact binomial (Clopper and Pearson 1934)
some are infinite    order statistics of the median, distribution-free; unbounded below 6 replicates
fewer than 10        Student's t about the mean, on logarithms where the scale is ``log``
10 or more           BCa bootstrap of the median (Efron 1987), 5,000 resamples drawn from a fixed seed;
                     order statistics of the median where it has no answer, as for values on a coarse grid
declared exact       if they are all equal, that value
==================== ======================================================================================
"""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from scipy import special, stats

Scale = Literal["linear", "log", "share"]
Range = tuple[float, float]

EVERYTHING: Range = (-math.inf, math.inf)
LEVEL = 0.95
BOOTSTRAP_FROM = 10  # replicates
FEWEST_BY_ORDER = 6  # replicates, for an interval by order statistics
RESAMPLES = 5_000
MOST_REPLICATES = 1_000  # more than these are not worth naming


@dataclass(frozen=True)
class Estimate:
    """A figure over replicates, and the interval at ``LEVEL``.

    The value is what the interval is of: the mean below ten replicates (on a ``log`` scale the geometric one),
    the median from ten on and where a replicate has failed, the share of a ``share``.
    """

    value: float
    low: float
    high: float
    n: int


def estimate(values: Sequence[float], scale: Scale, exact: bool = False, least_error: float = 0.0) -> Estimate:
    """Estimate a figure from one value a replicate.

    Args:
        values: one a replicate.
        scale: on which they are averaged.
        exact: whether the figure has no noise, as a count of bytes: equal values are then its value.
        least_error: the standard error, on the scale, that the mean of fewer than ten replicates has at least.

    Raises:
        ValueError: there is none, or one is not positive on a ``log`` scale.
    """
    low, high = _bounds(tuple(values), scale, exact, least_error)(LEVEL)
    return Estimate(_centre(values, scale), low, high, len(values))


def _centre(values: Sequence[float], scale: Scale) -> float:
    if scale == "share":
        return float(np.mean(values))
    if len(values) >= BOOTSTRAP_FROM or not all(map(math.isfinite, values)):
        return median(values, scale)
    return float(stats.gmean(values)) if scale == "log" else float(np.mean(values))


def median(values: Sequence[float], scale: Scale = "linear") -> float:
    """The median; between two values the geometric mean on a ``log`` scale."""
    ordered = sorted(values)
    lower, upper = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    if lower == upper or not (math.isfinite(lower) and math.isfinite(upper)):
        return lower
    return math.sqrt(lower * upper) if scale == "log" else (lower + upper) / 2


def p_outside(
    values: Sequence[float], scale: Scale, regions: Sequence[Range], exact: bool = False, least_error: float = 0.0
) -> float:
    """The least level of error at which the interval lies wholly inside one of ``regions``; 1 if it never does.

    Two-sided: below ``1 - LEVEL`` exactly where the interval of ``estimate`` lies inside.
    """
    bounds = _bounds(tuple(values), scale, exact, least_error)

    def inside(error: float) -> bool:
        low, high = bounds(1 - error)
        return any(first <= low and high <= last for first, last in regions)

    if not inside(0.999):
        return 1.0
    if inside(_TINY):
        return 0.0
    low, high = (_TINY, 0.05) if inside(0.05) else (0.05, 1.0)
    while high / low > 1.05:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if inside(middle) else (middle, high)
    return high


_TINY = 1e-12


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values of one family, in the order given (Holm 1979)."""
    adjusted, worst = [1.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = worst
    return adjusted


def replicates_to_decide(
    values: Sequence[float], scale: Scale, regions: Sequence[Range], least_error: float = 0.0
) -> int | None:
    """Replicates after which the interval would lie inside a region, eight times in ten, if the estimate is right.

    None where the estimate lies in no region, or on an edge: more of the same would not decide.
    """
    transform = math.log if scale == "log" else float
    centre = _centre(values, scale)
    home = next(((low, high) for low, high in regions if low < centre < high), None)
    if home is None or len(values) < 2 or not all(map(math.isfinite, values)):
        return None
    numbers = [transform(value) for value in values]
    edges = [transform(edge) for edge in home if math.isfinite(edge) and not (scale == "log" and edge <= 0)]
    margin = min((abs(transform(centre) - edge) for edge in edges), default=math.inf)
    spread = max(float(np.std(numbers, ddof=1)), least_error * math.sqrt(len(numbers)))
    if spread == 0:
        return max(len(values) + 1, FEWEST_BY_ORDER)
    for n in range(2, MOST_REPLICATES + 1):
        if (stats.t.ppf((1 + LEVEL) / 2, n - 1) + stats.t.ppf(0.8, n - 1)) * spread / math.sqrt(n) <= margin:
            return max(n, len(values) + 1)
    return None


@dataclass(frozen=True)
class Line:
    """A least-squares line through the points of one replicate."""

    slope: float
    intercept: float
    r_squared: float


def line(x: Sequence[float], y: Sequence[float]) -> Line:
    """Fit ``y = intercept + slope x``."""
    found: Any = stats.linregress(x, y)
    return Line(float(found.slope), float(found.intercept), float(found.rvalue**2))


Curve = Sequence[tuple[float, float]]
_LEVELS = 9  # places at which two curves are compared


def ratio_at_equal(first: Curve, second: Curve) -> float | None:
    """The ratio of two curves ``y(x)`` at equal ``x``: the geometric mean over the range that both have in common.

    Between points a curve is straight on logarithms of both axes. None where there is no range in common.
    """
    curves = []
    for curve in (first, second):
        known = sorted((x, y) for x, y in curve if 0 < x < math.inf and 0 < y < math.inf)
        if len(known) < 2:
            return None
        curves.append(np.log(known).T)
    low, high = max(x[0] for x, _ in curves), min(x[-1] for x, _ in curves)
    if low >= high:
        return None
    places = np.linspace(low, high, _LEVELS)
    above, below = (np.interp(places, x, y) for x, y in curves)
    return float(np.exp(np.mean(above - below)))


def crossing(ratios: Curve) -> float:
    """From which ``x`` on a ratio lies below one: where it last comes down through it, on logarithms of both axes.

    Args:
        ratios: places and the ratio there, at least one; 0 or infinite where one side has failed.

    Returns:
        float: minus infinity where it lies below one everywhere, infinity where it does not at the last place.
    """
    known = sorted(ratios)
    if known[-1][1] >= 1:
        return math.inf
    above = [index for index, (_, ratio) in enumerate(known) if ratio >= 1]
    if not above:
        return -math.inf
    (x0, r0), (x1, r1) = known[above[-1]], known[above[-1] + 1]
    if math.isinf(r0) or r1 == 0:
        return x1  # a failure lies nowhere between
    share = math.log(r0) / (math.log(r0) - math.log(r1))
    return math.exp(math.log(x0) + share * (math.log(x1) - math.log(x0)))


@lru_cache(maxsize=256)
def _bounds(values: tuple[float, ...], scale: Scale, exact: bool, least_error: float) -> Callable[[float], Range]:
    """The interval of the values as a function of its level."""
    if not values:
        raise ValueError("an interval of no values")
    if any(math.isnan(value) for value in values):
        raise ValueError("a value that is not a number")
    if scale == "share":
        test = stats.binomtest(round(sum(values)), len(values))
        return lambda level: _pair(test.proportion_ci(level, "exact"))
    if len(values) == 1:
        return lambda _: EVERYTHING
    if exact and len(set(values)) == 1 and math.isfinite(values[0]):
        return lambda _: (values[0], values[0])
    if len(set(values)) == 1 or not all(map(math.isfinite, values)):
        return _by_order(values)
    if scale == "log" and min(values) <= 0:
        raise ValueError(f"a logarithm of {min(values):g}")
    numbers = np.log(values) if scale == "log" else np.asarray(values)
    back: Callable[[float], float] = exp if scale == "log" else float
    inner = _student(numbers, least_error) if len(values) < BOOTSTRAP_FROM else _bootstrap(numbers)
    if inner is None:
        return _by_order(values)
    return lambda level: (back(inner(level)[0]), back(inner(level)[1]))


def _student(numbers: Any, least_error: float) -> Callable[[float], Range]:
    centre, error = float(np.mean(numbers)), max(float(stats.sem(numbers)), least_error)

    def at(level: float) -> Range:
        width = error * float(special.stdtrit(len(numbers) - 1, (1 + level) / 2))
        return centre - width, centre + width

    return at


def _by_order(values: tuple[float, ...]) -> Callable[[float], Range]:
    ranks = stats.quantile_test(np.asarray(values), p=0.5)
    return lambda level: _known(_pair(ranks.confidence_interval(level)))


def _bootstrap(numbers: Any) -> Callable[[float], Range] | None:
    """The BCa interval; None where it has none, since leaving a value out never moves the median."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a degenerate distribution, which is caught below
        arguments: dict[str, Any] = {"method": "BCa", "rng": np.random.default_rng(0)}
        first: Any = stats.bootstrap((numbers,), np.median, n_resamples=RESAMPLES, **arguments)
    if math.isnan(first.confidence_interval.low) or math.isnan(first.confidence_interval.high):
        return None

    def at(level: float) -> Range:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            again: Any = stats.bootstrap(
                (numbers,), np.median, n_resamples=0, bootstrap_result=first, confidence_level=level, **arguments
            )
        return _known(_pair(again.confidence_interval))

    return at


def _pair(interval: Any) -> Range:
    low, high = interval
    return float(low), float(high)


def _known(interval: Range) -> Range:
    """An end that could not be found is no bound."""
    low, high = interval
    return (-math.inf if math.isnan(low) else low), (math.inf if math.isnan(high) else high)


def exp(number: float) -> float:
    """The exponential; infinite where it is beyond every number."""
    return math.exp(number) if number < 700 else math.inf
