"""Simulate verdicts on data with a known truth: false verdicts, coverage and power of the planned looks.

``python tests/verdict_rates.py`` prints the tables of ``docs/statistics.md``; ``--draws`` sets the number of
samples per rate. Each sample passes through all four looks; a false verdict at any look counts.
``tests/analysis/test_verdict_rates.py`` tests the same functions.
"""

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special, stats

from nodebench.analysis.sequential import LOOKS, look
from nodebench.analysis.statistics import ERROR, Range, Replicates, median_p, share_p

INF = math.inf
UNKNOWN = Replicates((1.0, 2.0))  # nothing is known except the spread of the values
CONDITIONS = 6  # of the universal claim
Draw = Callable[[np.random.Generator, tuple[int, ...]], Any]


@dataclass(frozen=True)
class Data:
    """A distribution of replicates, on the scale on which they are averaged.

    Attributes:
        draw: function that draws values of a shape; the last axis holds the replicates of one sample.
        mean, deviation: true mean and standard deviation, on the scale.
        known: ``Replicates`` with the properties that an analysis knows; its values are placeholders.
        stated: rate of false verdicts in ``docs/statistics.md``, if it exceeds 5 %.
    """

    name: str
    draw: Draw
    mean: float
    deviation: float
    known: Replicates = UNKNOWN
    stated: float | None = None

    def sample(self, draws: int, *conditions: int, shift: float = 0.0) -> Any:
        """Return values of shape (draws, *conditions, 40), shifted by ``shift`` standard deviations."""
        return self.draw(np.random.default_rng(0), (draws, *conditions, LOOKS[-1])) + shift * self.deviation


def _rounded(name: str, step: float) -> Data:
    """Normal values with mean 0.3, rounded to multiples of a step."""
    places = np.arange(-20, 21) * step
    weights = stats.norm.cdf(places + step / 2, 0.3) - stats.norm.cdf(places - step / 2, 0.3)
    mean = float(weights @ places)
    deviation = math.sqrt(float(weights @ (places - mean) ** 2))
    known = Replicates((1.0, 2.0), resolution=step)
    return Data(
        name, lambda random, shape: np.round(random.normal(0.3, 1, shape) / step) * step, mean, deviation, known
    )


def _counts(mean: float, stated: float | None = None) -> Data:
    known = Replicates((1.0, 2.0), resolution=1.0)
    name = f"counts (Poisson, mean {mean:g})"
    return Data(name, lambda random, shape: random.poisson(mean, shape), mean, math.sqrt(mean), known, stated)


def _skewed(sigma: float, stated: float) -> Data:
    mean = math.exp(sigma**2 / 2)
    deviation = mean * math.sqrt(math.exp(sigma**2) - 1)
    name = f"lognormal, sigma {sigma:g}, linear scale"
    return Data(name, lambda random, shape: random.lognormal(0.0, sigma, shape), mean, deviation, stated=stated)


def _one_test_set(random: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Replicates that share an error of half their standard deviation."""
    return random.normal(0, 1, shape) + random.normal(0, 0.5, (*shape[:-1], 1))


def _ratios_of_counts(random: np.random.Generator, shape: tuple[int, ...]) -> Any:
    first, second = (np.maximum(random.poisson(30, shape), 1) for _ in range(2))
    return np.log(first / second)


DATA = [
    Data("normal", lambda random, shape: random.normal(0, 1, shape), 0.0, 1.0),
    Data("lognormal ratios, log scale", lambda random, shape: np.log(random.lognormal(0, 0.5, shape)), 0.0, 0.5),
    Data("ratios of counts (Poisson, mean 30), log scale", _ratios_of_counts, 0.0, 0.263),
    _rounded("normal, rounded to half a standard deviation", 0.5),
    _rounded("normal, rounded to two standard deviations", 2.0),
    Data("normal, one test set for all replicates", _one_test_set, 0.0, 1.0, Replicates((1.0, 2.0), shared_error=0.5)),
    _counts(0.1),
    _counts(3.0, stated=0.052),
    _skewed(0.2, stated=0.053),
    _skewed(0.5, stated=0.071),
    _skewed(1.0, stated=0.157),
]
SYMMETRIC = [data for data in DATA if data.stated is None]
SKEWED = [data for data in DATA if data.stated is not None]

Bounds = list[tuple[Any, Any]]  # the lower and the upper bound at each look, arrays over samples


def bounds(data: Data, values: Any, error: float = ERROR) -> Bounds:
    """The interval of each look, on the scale, for values of shape (..., 40)."""
    found = []
    for n in LOOKS:
        used = values[..., :n]
        standard, freedom = data.known.error_of_mean(used.std(-1, ddof=1), n)
        width = -standard * special.stdtrit(freedom, look(n, error).error / 2)
        found.append((used.mean(-1) - width, used.mean(-1) + width))
    return found


def inside(found: Bounds, ranges: Sequence[Range]) -> Any:
    """Whether the interval of each look lies inside one of the ranges, an array of shape (looks, samples)."""
    return np.array([np.any([(a <= low) & (high <= b) for a, b in ranges], axis=0) for low, high in found])


# The outcome ranges of each shape of claim, for a truth of 0, on an edge, and a standard deviation of 1.
SHAPES: dict[str, list[Range]] = {
    "one edge": [(-INF, 0.0), (0.0, INF)],
    "equivalence": [(0.0, 2.0), (-INF, 0.0), (2.0, INF)],
    "with a band": [(-INF, 0.0), (0.0, 1.0), (1.0, INF)],
}


def false_verdicts(data: Data, shape: str, found: Bounds) -> Any:
    """Return for each sample whether any look gives an outcome. The truth is on the edge: every outcome is false."""
    ranges = [(data.mean + low * data.deviation, data.mean + high * data.deviation) for low, high in SHAPES[shape]]
    return inside(found, ranges).any(0)


def false_universal(data: Data, draws: int) -> Any:
    """Return for each sample whether the verdict on a universal claim is false; all conditions are on the edge.

    The claim is supported by all conditions, or refuted by one of them after Holm's correction. Of the two directions,
    the one with more false verdicts is returned.
    """
    values = data.sample(draws, CONDITIONS)
    each, corrected = bounds(data, values), bounds(data, values, ERROR / CONDITIONS)
    below, above = (-INF, data.mean), (data.mean, INF)
    hits = [
        (inside(each, [holds]).all(-1) | inside(corrected, [fails]).any(-1)).any(0)
        for holds, fails in ((below, above), (above, below))
    ]
    return max(hits, key=np.mean)


def false_shares(truth: float, draws: int) -> Any:
    """Return for each sample whether the verdict on a share on the edge of its region is false."""
    ones = (np.random.default_rng(0).random((draws, LOOKS[-1])) < truth).cumsum(-1)
    return _any_look(lambda n, region: share_p(ones[:, n - 1], n, region), truth)


def false_medians(draws: int) -> Any:
    """Return for each sample whether the verdict on a median on the edge is false; failures lie above all values."""
    above = (np.random.default_rng(0).random((draws, LOOKS[-1])) < 0.5).cumsum(-1)

    def p(n: int, region: Range) -> Any:
        return median_p(n - above[:, n - 1], None, n) if region[1] == INF else median_p(None, above[:, n - 1], n)

    return _any_look(p, 0.0)


def _any_look(p: Callable[[int, Range], Any], edge: float) -> Any:
    ranges: list[Range] = [(-INF, edge), (edge, INF)]
    return np.any([p(n, one) <= look(n).error for n in LOOKS for one in ranges], axis=0)


def rate(hits: Any) -> tuple[float, float, float]:
    """A rate and its exact binomial interval at 99 %."""
    found = stats.binomtest(int(hits.sum()), len(hits)).proportion_ci(0.99, "exact")
    return float(hits.mean()), float(found.low), float(found.high)


def share_text(hits: Any) -> str:
    """A rate in per cent with its interval."""
    return "{:.2f} [{:.2f}, {:.2f}]".format(*(100 * share for share in rate(hits)))


def _print_false(draws: int) -> None:
    print(f"\nFalse verdicts, in per cent, of {draws:,} samples with the truth on an edge (99 % interval)\n")
    print("| data | " + " | ".join(SHAPES) + f" | {CONDITIONS} conditions, Holm | coverage of all looks |")
    print("|" + " --- |" * (len(SHAPES) + 3))
    for data in DATA:
        found = bounds(data, data.sample(draws))
        cells = [share_text(false_verdicts(data, shape, found)) for shape in SHAPES]
        covered = np.all([(low <= data.mean) & (data.mean <= high) for low, high in found], axis=0)
        cells += [share_text(false_universal(data, draws // CONDITIONS)), share_text(covered)]
        print(f"| {data.name} | " + " | ".join(cells) + " |")
    for truth in (0.5, 0.8, 0.95):
        print(f"| share of {truth:g}, exact binomial | {share_text(false_shares(truth, draws))} | | | | |")
    print(f"| median with failed replicates, order statistics | {share_text(false_medians(draws))} | | | | |")


def _print_power(draws: int) -> None:
    print(f"\nProbability in per cent that a one-edge claim is supported at or before each look ({draws:,} samples)\n")
    print("| distance from the edge, in standard deviations | " + " | ".join(f"n = {n}" for n in LOOKS) + " |")
    print("|" + " --- |" * (len(LOOKS) + 1))
    for shift in (0.25, 0.5, 0.75, 1.0, 2.0, 4.0, 8.0, 16.0):
        values = DATA[0].sample(draws, shift=shift)
        seen = np.logical_or.accumulate(inside(bounds(DATA[0], values), [(0.0, INF)]))
        print(f"| {shift:g} | " + " | ".join(f"{100 * one.mean():.0f}" for one in seen) + " |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=200_000, help="number of samples per rate")
    asked = parser.parse_args().draws
    _print_false(asked)
    _print_power(asked)
