"""The stated probability that a planned look decides, against what happened where the truth is known."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from nodebench.analysis.forecast import decision_probabilities
from nodebench.analysis.regions import Regions
from nodebench.analysis.sequential import LOOKS, p_inside
from nodebench.analysis.statistics import Replicates

INF = math.inf
DRAWS = 500
ABOVE = Regions((0.0, INF))
BAND = Regions((-INF, 0.0), ((2.0, INF),))


def plant_means(random, pilot):
    """Truths as the prior has them: mean and logarithm of the deviation uniform over a wide range.

    Pilots near the ends of the range are left out: the truth is known to lie within, which the prior does not say.
    """
    draws = 300_000
    mean, deviation = random.uniform(-60, 60, draws), np.exp(random.uniform(-5, 4, draws))
    first = mean[:, None] + deviation[:, None] * random.standard_normal((draws, pilot))
    spread = first.std(1, ddof=1)
    low, high = (0.1, 0.2) if pilot == 2 else (0.2, 4.0)
    within = (low < spread) & (spread < high) & (np.abs(first.mean(1)) < 8 * spread)
    for truth, scale, values in zip(mean[within], deviation[within], first[within], strict=True):
        yield np.concatenate([values, truth + scale * random.standard_normal(LOOKS[-1] - pilot)])


def plant_shares(random, pilot):
    while True:
        yield (random.random(LOOKS[-1]) < random.beta(0.5, 0.5)).astype(float)


def plant_failures(random, pilot):
    """A replicate lies below 0 or above it; of those above most have failed, one of the pilot at least."""
    while True:
        below = random.random(LOOKS[-1]) < random.beta(0.5, 0.5)
        values = np.where(below, random.uniform(-1, 0, LOOKS[-1]), np.where(random.random(LOOKS[-1]) < 0.7, INF, 0.5))
        if np.isinf(values[:pilot]).any():
            yield values


@dataclass(frozen=True)
class Planted:
    """How cases are drawn, and what is asked of them."""

    plant: Callable[..., Any] = plant_means
    regions: Regions = ABOVE
    required: float = 0.05
    pilot: int = 5
    known: tuple[tuple[str, Any], ...] = ()


PLANTED = {
    "one edge": Planted(),
    "a band": Planted(regions=BAND),
    "after correction": Planted(required=0.05 / 8),
    "between looks": Planted(pilot=7),
    "ten replicates": Planted(pilot=10),
    "two replicates": Planted(pilot=2),
    "one test set": Planted(regions=Regions((-1.0, 1.0)), known=(("shared_error", 0.3),)),
    "ratios": Planted(regions=Regions((1.0, INF)), known=(("scale", "log"),)),
    "shares": Planted(plant_shares, Regions((0.5, INF)), known=(("scale", "share"),)),
    "failures": Planted(plant_failures),
}


def cases(one: Planted, count: int):
    """Pairs of what was stated and what happened, for each look after the pilot."""
    random, found, known = np.random.default_rng(0), [], dict(one.known)
    for values in one.plant(random, one.pilot):
        every = np.exp(values) if known.get("scale") == "log" else values
        pilot = Replicates(tuple(every[: one.pilot]), **known)
        if stated := decision_probabilities(pilot, one.regions, one.required, draws=DRAWS):
            found.append((stated, decided(every, one, known)))
        if len(found) == count:
            return found
    raise AssertionError(f"only {len(found)} cases")


def decided(values, one: Planted, known) -> dict[int, bool]:
    """Whether a look after the pilot gave an outcome, by each number of replicates: the procedure itself."""
    found, any_yet = {}, False
    for n in LOOKS:
        if n > one.pilot:
            sample = Replicates(tuple(values[:n]), **known)
            any_yet |= any(p_inside(sample, ranges) <= one.required for ranges in one.regions.ranges.values())
            found[n] = any_yet
    return found


def is_right(found) -> None:
    """Of all cases, and of those where it is low and high apart, the stated share is decided, within 3.3 deviations."""
    for n in found[0][0]:
        stated, happened = (np.array([one[n] for one in side], dtype=float) for side in zip(*found, strict=True))
        for some in (stated >= 0, stated < 0.5, stated >= 0.5):
            variance = np.sum((stated * (1 - stated))[some]) + np.sum(some) / (4 * DRAWS) + 1
            difference = np.sum((stated - happened)[some])
            expected, seen = stated[some].sum(), happened[some].sum()
            told = f"n = {n}: {expected:.1f} of {some.sum()} were expected to be decided, {seen:.0f} were"
            assert abs(difference) < 3.3 * math.sqrt(variance), told


@pytest.mark.parametrize("name", PLANTED)
def test_the_stated_probability_is_right(name):
    is_right(cases(PLANTED[name], 200))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in PLANTED if name != "two replicates"])
def test_the_stated_probability_is_right_in_many_cases(name):
    is_right(cases(PLANTED[name], 2_000))


def test_a_probability_that_forgets_the_uncertainty_of_the_pilot_is_found_out():
    """The plug-in rule of version 1: the estimate and the spread of five replicates taken for the truth."""
    plugged = [
        ({n: float(p >= 0.5) for n, p in stated.items()}, happened) for stated, happened in cases(Planted(), 200)
    ]
    with pytest.raises(AssertionError):
        is_right(plugged)


PILOT = Replicates((0.7, -0.2, 0.9, -0.1, 0.4))


def test_the_probability_grows_with_replicates_and_with_the_error_allowed():
    plain = decision_probabilities(PILOT, ABOVE)
    assert list(plain) == [10, 20, 40]
    assert plain[10] < plain[20] < plain[40]
    corrected = decision_probabilities(PILOT, ABOVE, 0.05 / 10)
    assert all(corrected[n] < plain[n] for n in (20, 40))
    assert decision_probabilities(PILOT, ABOVE) == plain  # the same each time


def test_what_is_decided_or_cannot_be_told_has_no_forecast():
    assert decision_probabilities(Replicates((1.0, 1.01, 0.99, 1.0, 1.02)), ABOVE) == {}
    assert decision_probabilities(Replicates((0.5,)), ABOVE) == {}
    assert decision_probabilities(Replicates((0.5,) * 40, shared_error=9.0), ABOVE) == {}
    assert decision_probabilities(Replicates((0.0,) * 5), BAND) == {}
    assert list(decision_probabilities(Replicates((0.5,) * 20, shared_error=9.0), ABOVE)) == [40]
    assert decision_probabilities(Replicates((0.5,), exact=True), BAND) == {}


def test_no_number_of_replicates_decides_within_the_error_of_the_test_set():
    near = Replicates((0.1, 0.11, 0.09, 0.1, 0.1), shared_error=0.2)
    assert decision_probabilities(near, ABOVE)[40] < 0.01
    assert decision_probabilities(Replicates(near.values), ABOVE) == {}


def test_noise_of_the_machine_is_expected_of_later_replicates_too():
    lucky = (1.1, 1.1001, 1.0999, 1.1, 1.1)
    loud = decision_probabilities(Replicates(lucky, "log", least_error=0.05), Regions((1.0, INF)))
    assert 0.1 < loud[20] < 0.9  # a deviation of 0.11 and a distance of 0.095 from the edge
    assert decision_probabilities(Replicates(lucky, "log"), Regions((1.0, INF))) == {}
