"""Planned looks: critical values against published ones, and what an interval says against what a p-value says."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from nodebench.analysis.sequential import (
    EXPONENT,
    LOOKS,
    RESERVE,
    boundaries,
    look,
    look_interval,
    overall_error,
    p_inside,
)
from nodebench.analysis.statistics import ERROR, Replicates, interval

INF = math.inf


def obrien_fleming(fractions, error):
    """The spending function of Lan and DeMets (1983) that approximates O'Brien and Fleming's boundary, one-sided."""
    return [2 * special.ndtr(special.ndtri(error / 2) / math.sqrt(fraction)) for fraction in fractions]


# Each with its source; the tolerance is the number of digits published.
PUBLISHED = {
    # Reboussin, DeMets, Kim and Lan 2000, "Computations for group sequential boundaries using the Lan-DeMets spending
    # function method": O'Brien-Fleming type, five equal looks, two-sided 5 %. gsDesign's sfLDOF gives the same.
    "Lan-DeMets, five looks": (
        [0.2, 0.4, 0.6, 0.8, 1.0],
        obrien_fleming([0.2, 0.4, 0.6, 0.8, 1.0], 0.025),
        [4.8769, 3.3569, 2.6803, 2.2898, 2.0310],
        2e-4,
    ),
    # README of the Julia package SeqBounds (github.com/PharmCat/SeqBounds.jl): O'Brien-Fleming type, one-sided 5 %.
    "Lan-DeMets, four looks": (
        [0.25, 0.5, 0.75, 1.0],
        obrien_fleming([0.25, 0.5, 0.75, 1.0], 0.05),
        [3.74955, 2.53993, 2.01604, 1.72014],
        5e-5,
    ),
    # Tests of the R package rpact (github.com/rpact-com/rpact, tests/testthat/test-f_design_group_sequential.R):
    # power family of Kim and DeMets with the exponent 2.2, one-sided 3 %, information 0.3, 0.7, 1 (design x3) …
    "Kim-DeMets, unequal looks": (
        [0.3, 0.7, 1.0],
        [0.03 * fraction**2.2 for fraction in (0.3, 0.7, 1.0)],
        [2.8594012, 2.2435708, 1.9735737],
        2e-7,
    ),
    # … and O'Brien and Fleming's own design from the error that it spends, one-sided 2.5 % (design x0).
    "O'Brien-Fleming, three looks": (
        [1 / 3, 2 / 3, 1.0],
        [0.00025917372, 0.0071600594, 0.02499999],
        [3.4710914, 2.4544323, 2.0040356],
        2e-7,
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_boundaries_are_those_published(name):
    fractions, spent, expected, tolerance = PUBLISHED[name]
    assert boundaries(fractions, spent) == pytest.approx(expected, abs=tolerance)


def test_the_first_boundary_is_a_quantile_and_without_earlier_looks_so_is_the_last():
    assert boundaries([0.3], [1e-9]) == pytest.approx([-special.ndtri(1e-9)])
    assert boundaries([1e-6, 1.0], [1e-15, 0.025])[1] == pytest.approx(1.959964, abs=1e-5)


def test_simulated_normal_statistics_cross_the_boundaries_as_often_as_was_spent():
    """The planned looks at 20 % error, so that a million paths tell every look's share."""
    fractions, draws = np.array(LOOKS) / LOOKS[-1], 1_000_000
    spent = 0.2 * fractions**EXPONENT
    steps = np.random.default_rng(0).standard_normal((draws, len(LOOKS))) * np.sqrt(np.diff(fractions, prepend=0))
    crossed = np.logical_or.accumulate(
        steps.cumsum(1) / np.sqrt(fractions) > np.array(boundaries(fractions, spent)), axis=1
    )
    for count, expected in zip(crossed.sum(0), spent, strict=True):
        assert stats.binomtest(int(count), draws, expected).pvalue > 1e-3, (count / draws, expected)


def test_looks_are_at_5_10_20_and_40_and_extra_replicates_wait_for_the_next():
    numbers = {n: (reached.number, reached.n) if (reached := look(n)) else None for n in (0, 4, 5, 9, 10, 19, 20, 39)}
    assert numbers == {0: None, 4: None, 5: (1, 5), 9: (1, 5), 10: (2, 10), 19: (2, 10), 20: (3, 20), 39: (3, 20)}
    assert [look(n).n for n in (40, 41, 1000)] == [40, 40, 40]


@pytest.mark.parametrize("error", [ERROR, 0.01, 1e-6])
def test_the_errors_of_the_looks_rise_and_stay_within_what_is_spent(error):
    errors = [look(n, error).error for n in LOOKS]
    assert all(first < second for first, second in pairwise(errors))
    assert errors[0] == pytest.approx((1 - RESERVE) * error * (5 / 40) ** EXPONENT)
    increments = np.diff((np.array(LOOKS) / 40) ** EXPONENT, prepend=0) * (1 - RESERVE) * error
    assert all(one >= least for one, least in zip(errors, increments * (1 - 1e-9), strict=True))  # Bonferroni's split
    assert errors[-1] < (1 - RESERVE) * error


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_the_overall_error_is_the_inverse_of_the_error_of_a_look(number):
    for error in (1e-12, 1e-6, 0.001, 0.0371, 0.05, 0.3, 0.9):
        assert overall_error(number, look(LOOKS[number - 1], error).error) == pytest.approx(error, rel=1e-3)
    assert (overall_error(number, 0.0), overall_error(number, 1.0)) == (0.0, 1.0)
    assert 0 < overall_error(number, 1e-30) < 1e-25


def test_the_interval_of_a_look_is_students_at_its_error_of_its_own_replicates():
    values = tuple(np.random.default_rng(0).normal(1.0, 0.1, 13))
    found = look_interval(Replicates(values))
    expected = stats.ttest_1samp(values[:10], 0).confidence_interval(1 - look(10).error)
    assert (found.n, found.low, found.high) == (10, pytest.approx(expected.low), pytest.approx(expected.high))
    assert look_interval(Replicates((*values[:10], 99.0, -99.0, 5.0))) == found
    assert look_interval(Replicates(values[:4])) is None
    wider = look_interval(Replicates(values), ERROR / 6)
    assert wider.low < found.low < found.high < wider.high


def test_an_exact_metric_needs_no_look():
    one = Replicates((3.0,), exact=True)
    assert look_interval(one) == interval(one)
    assert (p_inside(one, [(2.0, 4.0)]), p_inside(one, [(4.0, 5.0)]), p_inside(one, [])) == (0.0, 1.0, 1.0)


def test_before_the_first_look_nothing_is_decided():
    assert p_inside(Replicates((1.0, 1.0, 1.0, 1.0001)), [(0.0, 2.0)]) == 1.0
    assert p_inside(Replicates((1.0, 1.0, 1.0, 1.0001, 1.0)), [(0.0, 2.0)]) < 1e-6
    assert p_inside(Replicates((1.0,) * 5), [(-INF, INF)]) == 0.0


@st.composite
def measured(draw):
    n, random = draw(st.integers(5, 45)), np.random.default_rng(draw(st.integers(0, 10**6)))
    scale = draw(st.sampled_from(["linear", "log", "share", "censored"]))
    if scale == "share":
        return Replicates(tuple((random.random(n) < random.random()).astype(float)), "share")
    values = random.lognormal(0.0, 0.3, n)
    return Replicates((INF, *values)) if scale == "censored" else Replicates(tuple(values), scale, shared_error=0.01)


@given(measured(), st.floats(1e-4, 0.5), st.floats(0.1, 1.5), st.floats(0.1, 1.5))
def test_p_is_at_most_an_error_exactly_where_the_interval_of_the_look_lies_inside(sample, error, one, other):
    for region in ((min(one, other), max(one, other)), (one, INF), (-INF, one)):
        p, found = p_inside(sample, [region]), look_interval(sample, error)
        if not math.isclose(p, error, rel_tol=1e-4):
            assert (p <= error) == (region[0] <= found.low and found.high <= region[1])
