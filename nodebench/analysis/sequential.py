"""Planned looks: when a verdict may be read, and the interval that keeps the rate of false verdicts at 5 %.

A claim is looked at after 5, 10, 20 and 40 replicates. Going on until a verdict comes would make false verdicts more
frequent, so the error is spent over the looks (Lan and DeMets 1983). The spending function is of the O'Brien–Fleming
type: ``error * fraction ** 3``, the power family of Kim and DeMets (1987) with the exponent 3 (Jennison and Turnbull
2000, section 7.2). The function that Lan and DeMets derived from O'Brien and Fleming themselves leaves an error of
4.6e-10 to the look after 5 replicates, where Student's interval would be 151 standard deviations wide to each side:
nothing could be decided there. With the exponent 3 the errors are

========== ========== ======================================
replicates error      half width in standard deviations
========== ========== ======================================
5          9.6e-5     7.0
10         6.9e-4     1.6
20         5.6e-3     0.70
40         0.046      0.33
========== ========== ======================================

The critical values are those of a normal statistic, found by numerical integration. Student's quantiles at the same
error replace them (Jennison and Turnbull 2000, section 4.4). The statistics of Student's test at two looks are slightly
less correlated than normal ones: simulation gives a false-verdict rate that is 1.3 to 1.6 % of its nominal value too
high. ``RESERVE`` of the error is kept back for that.

The intervals are repeated confidence intervals (Jennison and Turnbull 1989): together those of all looks contain the
truth with probability 95 %, whether or not one stops at a verdict.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy import optimize, special
from scipy.interpolate import PchipInterpolator

from nodebench.analysis.statistics import ERROR, Estimate, Range, Replicates, interval, nominal_p

LOOKS = (5, 10, 20, 40)  # replicates
EXPONENT = 3  # of the spending function
RESERVE = 0.02  # share of the error that is kept back, since the boundaries are those of normal statistics


@dataclass(frozen=True)
class Look:
    """A planned look.

    Attributes:
        number: 1 for the first look.
        n: the replicates that it uses.
        error: the two-sided error of its interval.
    """

    number: int
    n: int
    error: float


def look(n: int, error: float = ERROR) -> Look | None:
    """The last planned look that ``n`` replicates reach; None before the first.

    Replicates beyond a look wait for the next one: with 7 replicates the look uses the first 5, with 50 the first 40.

    Args:
        n: the number of replicates.
        error: the two-sided error that is spent over all looks, above 0 and below 1.
    """
    number = sum(planned <= n for planned in LOOKS)
    return Look(number, LOOKS[number - 1], _errors(error)[number - 1]) if number else None


def look_interval(replicates: Replicates, error: float = ERROR) -> Estimate | None:
    """The repeated confidence interval of the last look reached; None before the first.

    An exact metric needs no look: its interval has width zero at any number of replicates.

    Args:
        replicates: in the order in which they count.
        error: total error over all looks. Pass the corrected error to get the interval of a corrected verdict.
    """
    if replicates.is_exact:
        return interval(replicates)
    reached = look(replicates.n, error)
    return interval(replicates.first(reached.n), reached.error) if reached else None


def p_inside(replicates: Replicates, ranges: Sequence[Range]) -> float:
    """Return the least total error over all looks at which the interval of the look lies inside one of the ranges.

    This is the repeated p-value of the last look reached (Jennison and Turnbull 2000, chapter 9): it is at most
    ``error`` exactly where ``look_interval(replicates, error)`` lies inside. If the true value lies outside, the
    probability that it is at most ``a`` at any look is at most ``a``. Corrections for several claims apply to it.

    Returns:
        float: 1 before the first look. 0 or 1 for an exact metric, which has no p-value.
    """
    if replicates.is_exact:
        return min((nominal_p(replicates, one) for one in ranges), default=1.0)
    reached = look(replicates.n)
    if reached is None:
        return 1.0
    used = replicates.first(reached.n)
    return overall_error(reached.number, min((nominal_p(used, one) for one in ranges), default=1.0))


def boundaries(fractions: Sequence[float], spent: Sequence[float]) -> list[float]:
    """One-sided critical values of a normal statistic at several looks (Armitage, McPherson and Rowe 1969).

    Args:
        fractions: of the information at each look, increasing.
        spent: the probability, without an effect, that a boundary was crossed by each look; increasing, below 1.

    Returns:
        list: the value that the statistic, of variance 1, must exceed at each look.
    """
    found: list[float] = []
    score, done = _Score(0.0, np.zeros(1), np.ones(1)), 0.0
    for fraction, total in zip(fractions, spent, strict=True):
        found.append(score.boundary(fraction, total - done))
        score, done = score.after(fraction, found[-1]), total
    return found


@dataclass(frozen=True)
class _Score:
    """The score process, a normal statistic times the root of its information, before it crosses a boundary.

    Attributes:
        fraction: of the information.
        at, mass: the nodes of a quadrature and the probability at each.
    """

    fraction: float
    at: Any
    mass: Any

    def crosses(self, fraction: float, bound: float) -> float:
        """The probability that the statistic first exceeds ``bound`` at the next look."""
        step = math.sqrt(fraction - self.fraction)
        return float(self.mass @ special.ndtr((self.at - bound * math.sqrt(fraction)) / step))

    def boundary(self, fraction: float, probability: float) -> float:
        """The bound that the statistic first exceeds at the next look with this probability."""

        def excess(bound: float) -> float:
            return math.log(max(self.crosses(fraction, bound), _TINY)) - math.log(probability)

        return float(optimize.brentq(excess, -_FARTHEST, _FARTHEST, xtol=1e-12))

    def after(self, fraction: float, bound: float) -> "_Score":
        """The process at the next look, where the statistic did not exceed ``bound``."""
        step, scale = math.sqrt(fraction - self.fraction), math.sqrt(fraction)
        half = (bound + _FARTHEST) * scale / 2
        at = bound * scale - half * (1 - _NODES)
        density = np.exp(-(((at[:, None] - self.at) / step) ** 2) / 2) @ self.mass / (step * math.sqrt(2 * math.pi))
        return _Score(fraction, at, density * _WEIGHTS * half)


_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(120)
_FARTHEST = 10.0  # standard deviations: the statistic and its boundaries lie within
_TINY = 1e-300


@cache
def _errors(error: float) -> tuple[float, ...]:
    """The two-sided error of the interval at each look."""
    fractions = [n / LOOKS[-1] for n in LOOKS]
    one_sided = (1 - RESERVE) * error / 2
    bounds = boundaries(fractions, [one_sided * fraction**EXPONENT for fraction in fractions])
    return tuple(2 * float(special.ndtr(-bound)) for bound in bounds)


def overall_error(number: int, nominal: float) -> float:
    """Return the total error over all looks for which the look ``number`` has the error ``nominal``; at most 1."""
    if nominal <= 0:
        return 0.0
    share, spent = _spending(number)
    shares = share(min(max(math.log(nominal), spent[0]), spent[-1]))
    return min(1.0, nominal / math.exp(shares))


@cache
def _spending(number: int) -> tuple[Any, tuple[float, float]]:
    """Return the log of a look's share of the total error as a function of the log of its own error, and the range."""
    overall = np.geomspace(1e-15, 0.999, 60)
    own = np.log([_errors(float(one))[number - 1] for one in overall])
    return PchipInterpolator(own, own - np.log(overall)), (float(own[0]), float(own[-1]))
