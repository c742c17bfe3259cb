"""Lines and curves through the points of one replicate: slope, ratio at equal x, crossing."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Line:
    """A least-squares line through the points of one replicate.

    Attributes:
        slope: of the line.
        intercept: its value at 0.
        r_squared: share of the variance that it explains; 0 if there is none.
    """

    slope: float
    intercept: float
    r_squared: float


def line(x: Sequence[float], y: Sequence[float]) -> Line:
    """Fit ``y = intercept + slope x``."""
    slope, intercept = statistics.linear_regression(x, y)
    return Line(slope, intercept, min(1.0, statistics.correlation(x, y) ** 2) if min(y) < max(y) else 0.0)


Curve = Sequence[tuple[float, float]]
_LEVELS = 9  # places at which two curves are compared


def ratio_at_equal(first: Curve, second: Curve) -> float | None:
    """Return the ratio of two curves ``y(x)`` at equal ``x``: the geometric mean over their common range.

    The curves are interpolated linearly on log-log axes. None if they have no common range.
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
    """Return the ``x`` above which a ratio stays below one: its last downward crossing of one, on log-log axes.

    Args:
        ratios: pairs of ``x`` and ratio, at least one pair; the ratio is 0 or infinite if one side failed.

    Returns:
        float: minus infinity if the ratio is below one everywhere, infinity if it is not below one at the last ``x``.
    """
    known = sorted(ratios)
    if known[-1][1] >= 1:
        return math.inf
    above = [index for index, (_, ratio) in enumerate(known) if ratio >= 1]
    if not above:
        return -math.inf
    (x0, r0), (x1, r1) = known[above[-1]], known[above[-1] + 1]
    if math.isinf(r0) or r1 == 0:
        return x1  # no interpolation if one side failed
    share = math.log(r0) / (math.log(r0) - math.log(r1))
    return math.exp(math.log(x0) + share * (math.log(x1) - math.log(x0)))
