"""Probability that a claim is decided by each planned look.

The whole procedure is simulated: further replicates are drawn from the posterior predictive distribution of those that
were measured, each planned look is taken with its own interval, and a decision at any of them ends the simulation.

==================== ======================================================================================
replicates           predictive distribution, with a prior of Jeffreys' kind
==================== ======================================================================================
``linear``, ``log``  normal on the scale with unknown mean and variance, so Student's t
``share``            binomial, with a Beta(1/2, 1/2) prior of the share
some are infinite    multinomial over the intervals between edges, with a Dirichlet(1/2, …) prior of their shares
==================== ======================================================================================
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from scipy import special

from nodebench.analysis.regions import Regions
from nodebench.analysis.sequential import LOOKS, Look, look, p_inside
from nodebench.analysis.statistics import ERROR, Range, Replicates, median_p, share_p, to_scale

DRAWS = 4_000

_Decisions = Iterator[Any]  # for each look, an array of bool of shape (draws,)


def decision_probabilities(
    replicates: Replicates, regions: Regions, required: float = ERROR, draws: int = DRAWS
) -> dict[int, float]:
    """Return for each remaining planned look the probability that the outcome is decided at it or before it.

    The probability is conditional on the measured replicates, and it is calibrated: of all cases with probability p,
    the share p is decided.

    Args:
        replicates: those measured so far.
        regions: the outcomes; any of them decides.
        required: the error that ``p_inside`` must not exceed, after corrections: 0.05 / m for the hardest of the m
            conditions of a universal claim.
        draws: simulated futures. The probability has a standard error of at most ``0.5 / sqrt(draws)``.

    Returns:
        dict: for each number of replicates, the probability. Empty if the outcome is decided already, no look is left,
        or the spread of the replicates is unknown: fewer than two, or zeros of unknown resolution.
    """
    looks = [reached for n in LOOKS if n > replicates.n and (reached := look(n, required))]
    if not looks or replicates.n < 2 or math.isinf(replicates.least_deviation):
        return {}
    if any(p_inside(replicates, some) <= required for some in regions.ranges.values()):
        return {}
    ranges = [one for some in regions.ranges.values() for one in some]
    simulate = _shares if replicates.scale == "share" else _medians if replicates.is_censored else _means
    decided, found = np.zeros(draws, bool), {}
    for planned, inside in zip(looks, simulate(replicates, ranges, looks, draws), strict=True):
        decided |= inside
        found[planned.n] = float(decided.mean())
    return found


def _means(replicates: Replicates, ranges: Sequence[Range], looks: Sequence[Look], draws: int) -> _Decisions:
    """Simulate the mean and the sum of squares, which are all that Student's interval uses."""
    random, numbers, n = np.random.default_rng(0), replicates.numbers, replicates.n
    edges = [[to_scale(edge, replicates.scale) for edge in one] for one in ranges]
    mean, squares = np.full(draws, numbers.mean()), np.full(draws, np.square(numbers - numbers.mean()).sum())
    # The deviation is at least the machine's noise or the resolution, even if the values agree by chance.
    least = (n - 1) * replicates.least_deviation**2
    deviation = np.sqrt(np.maximum(squares, least) / random.chisquare(n - 1, draws))
    truth = mean + deviation * random.standard_normal(draws) / math.sqrt(n)
    for planned in looks:
        more = planned.n - n
        drawn = truth + deviation * random.standard_normal(draws) / math.sqrt(more)
        within = deviation**2 * random.chisquare(more - 1, draws) if more > 1 else 0.0
        squares = squares + within + (drawn - mean) ** 2 * n * more / planned.n
        mean = mean + (drawn - mean) * more / planned.n
        n = planned.n
        error, freedom = replicates.error_of_mean(np.sqrt(squares / (n - 1)), n)
        width = -error * special.stdtrit(freedom, planned.error / 2)
        yield np.any([(low <= mean - width) & (mean + width <= high) for low, high in edges], axis=0)


def _shares(replicates: Replicates, ranges: Sequence[Range], looks: Sequence[Look], draws: int) -> _Decisions:
    random, n = np.random.default_rng(0), replicates.n
    ones = np.full(draws, int(sum(replicates.values)))
    truth = random.beta(ones + 0.5, n - ones + 0.5)
    for planned in looks:
        ones = ones + random.binomial(planned.n - n, truth)
        n = planned.n
        yield np.any([share_p(ones, n, one) <= planned.error for one in ranges], axis=0)


def _medians(replicates: Replicates, ranges: Sequence[Range], looks: Sequence[Look], draws: int) -> _Decisions:
    """Simulate how many replicates lie below each edge, which is all that the interval by order statistics uses."""
    random, n = np.random.default_rng(0), replicates.n
    edges = sorted({edge for one in ranges for edge in one if math.isfinite(edge)})
    cells = np.bincount(np.searchsorted(edges, replicates.values, side="right"), minlength=len(edges) + 1)
    counts, truth = np.tile(cells, (draws, 1)), random.dirichlet(cells + 0.5, draws)
    for planned in looks:
        counts = counts + random.multinomial(planned.n - n, truth)
        n = planned.n
        below = {edge: counts[:, : index + 1].sum(1) for index, edge in enumerate(edges)}
        below |= {-math.inf: None, math.inf: None}
        p = [median_p(below[low], None if math.isinf(high) else n - below[high], n) for low, high in ranges]
        yield np.any([one <= planned.error for one in p], axis=0)
