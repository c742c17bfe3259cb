import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from nodebench.analysis.statistics import (
    KNOWN_TO,
    Replicates,
    benjamini_hochberg,
    estimate,
    holm,
    interval,
    median,
    nominal_p,
)

INF = math.inf
EVERY = (-INF, INF)


@pytest.mark.parametrize("n", [2, 5, 9, 10, 40])
def test_at_every_n_a_ratio_has_the_geometric_mean_with_students_interval(n):
    values = list(np.random.default_rng(n).lognormal(0.2, 0.5, n))
    found, logs = estimate(values, "log"), np.log(values)
    expected = stats.ttest_1samp(logs, 0).confidence_interval(0.95)
    assert found.value == pytest.approx(stats.gmean(values))
    assert (found.low, found.high) == pytest.approx((math.exp(expected.low), math.exp(expected.high)))


@pytest.mark.parametrize("n", [2, 5, 9, 10, 40])
def test_at_every_n_a_difference_has_the_mean_with_students_interval_at_any_error(n):
    values = tuple(np.random.default_rng(n).normal(1.0, 3.0, n))
    for error in (0.3, 0.05, 1e-4):
        found = interval(Replicates(values), error)
        expected = stats.ttest_1samp(values, 0).confidence_interval(1 - error)
        assert (found.value, found.n) == (pytest.approx(np.mean(values)), n)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_a_share_has_the_exact_binomial_interval():
    found = estimate([1, 1, 1, 1, 1, 0, 1, 1], "share")
    expected = stats.binomtest(7, 8).proportion_ci(0.95, "exact")
    assert (found.value, found.low, found.high) == pytest.approx((7 / 8, expected.low, expected.high), rel=1e-12)


def test_with_a_failure_the_interval_is_by_order_and_says_nothing_below_six():
    assert estimate([1.0, 2.0, 3.0, 4.0, INF], "log").low == -INF
    found = estimate([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, INF], "log")
    assert (found.value, found.low, found.high) == (4.0, 1.0, INF)


def test_one_value_of_an_exact_metric_is_enough_and_of_another_says_nothing():
    found = estimate([7.0], "linear", exact=True)
    assert (found.value, found.low, found.high, found.n) == (7.0, 7.0, 7.0, 1)
    assert Replicates((7.0, 7.0), exact=True).is_exact
    exact = Replicates((7.0,), "log", exact=True)
    assert (nominal_p(exact, (6.0, 7.0)), nominal_p(exact, (1.0, 6.9))) == (0, 1)
    one = estimate([7.0], "linear")
    assert (one.value, one.low, one.high) == (7.0, -INF, INF)
    assert nominal_p(Replicates((7.0,)), (6.0, 8.0)) == 1.0


def test_an_exact_metric_that_varies_over_seeds_is_sampled():
    varying = Replicates((7.0, 7.0, 8.0), exact=True)
    assert not varying.is_exact
    assert interval(varying) == interval(Replicates((7.0, 7.0, 8.0)))


@pytest.mark.parametrize("n", [2, 5, 40])
def test_equal_values_of_a_sampled_metric_have_an_interval_from_their_resolution(n):
    """They count with half a step for their standard deviation, as two neighbouring steps would have at most."""
    quantile = stats.t.ppf(0.975, n - 1) / math.sqrt(n)
    counts = interval(Replicates((20.0,) * n, resolution=1.0))
    assert (counts.value, counts.high - 20.0, 20.0 - counts.low) == pytest.approx((20.0, quantile / 2, quantile / 2))
    linear, ratio = interval(Replicates((20.0,) * n)), interval(Replicates((20.0,) * n, "log"))
    assert linear.high - 20.0 == pytest.approx(20.0 * KNOWN_TO / 2 * quantile)
    assert math.log(ratio.high / 20.0) == pytest.approx(KNOWN_TO / 2 * quantile)
    assert interval(Replicates((-20.0,) * n)).low == pytest.approx(-linear.high)


def test_zeros_without_a_resolution_say_nothing_of_their_spread():
    found = interval(Replicates((0.0,) * 40))
    assert (found.value, found.low, found.high) == (0.0, -INF, INF)
    assert nominal_p(Replicates((0.0,) * 40), (-1.0, 1.0)) == 1.0
    assert interval(Replicates((0.0,) * 40, resolution=0.1)).high == pytest.approx(0.016, abs=1e-4)


def test_one_value_that_differs_by_a_step_does_not_narrow_the_interval_of_equal_values():
    equal = interval(Replicates((0.0,) * 10, resolution=1.0))
    single = interval(Replicates((0.0,) * 9 + (1.0,), resolution=1.0))
    assert single.high - single.low == pytest.approx(equal.high - equal.low)


def test_the_noise_of_the_machine_is_the_least_error_and_shrinks_with_replicates():
    values = (0.99, 1.0, 1.01, 1.0, 1.0, 1.02, 0.98, 1.0, 1.0, 1.0)
    quiet, loud = Replicates(values, least_error=1e-9), Replicates(values, least_error=0.1)
    assert interval(quiet) == interval(Replicates(values))
    half = stats.t.ppf(0.975, 9) * 0.1
    assert interval(loud).high == pytest.approx(1.0 + half)
    five = loud.first(5)
    assert interval(five).high == pytest.approx(1.0 + stats.t.ppf(0.975, 4) * 0.1 * math.sqrt(2))
    assert (five.values, loud.first(10), loud.first(99)) == (values[:5], loud, loud)


def test_the_error_of_a_shared_test_set_is_added_and_does_not_shrink():
    values = tuple(np.random.default_rng(0).normal(0.0, 1.0, 40))
    found = interval(Replicates(values, shared_error=0.5))
    own = np.std(values, ddof=1) / math.sqrt(40)
    total = math.hypot(own, 0.5)
    freedom = 39 * (total / own) ** 4  # Satterthwaite: the shared error is known
    assert found.high - found.value == pytest.approx(stats.t.ppf(0.975, freedom) * total)
    assert nominal_p(Replicates(values, shared_error=0.5), (-0.5, 0.5)) > 0.1
    many = interval(Replicates(values * 1000, shared_error=0.5))
    assert many.high - many.low == pytest.approx(2 * 1.96 * 0.5, rel=0.01)


@pytest.mark.parametrize("n", [5, 7])
def test_p_is_that_of_students_test_against_the_edge(n):
    values = tuple(np.random.default_rng(n).normal(1.0, 1.0, n))
    expected = stats.ttest_1samp(values, 0.0).pvalue
    assert nominal_p(Replicates(values), (0.0, INF)) == pytest.approx(expected, rel=0.06)
    assert nominal_p(Replicates(values), (-INF, 0.0)) == 1.0 or expected > 0.9


@pytest.mark.parametrize("n", [5, 12])
def test_p_is_below_a_twentieth_exactly_where_the_interval_lies_inside(n):
    random = np.random.default_rng(n)
    for _ in range(25):
        values = tuple(random.normal(0.6, 1.0, n))
        found = estimate(values, "linear")
        assert (nominal_p(Replicates(values), (0.0, INF)) <= 0.05) == (found.low >= 0)


def test_holm_multiplies_by_how_many_are_left():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


@pytest.mark.parametrize("size", [1e200, 1e308, -1e308])
@pytest.mark.filterwarnings("error")
def test_values_whose_squares_are_beyond_every_number_say_nothing(size):
    replicates = Replicates(tuple(size * (1 - seed / 10) for seed in range(6)))
    found = interval(replicates)
    assert (found.low, found.high) == (-INF, INF)
    assert [nominal_p(replicates, region) for region in ((0.0, 1.0), (-INF, 0.0), (1.0, INF))] == [1.0, 1.0, 1.0]


def test_an_empty_sample_and_a_number_that_is_none_are_refused():
    with pytest.raises(ValueError, match="no values"):
        estimate([], "linear")
    with pytest.raises(ValueError, match="not a number"):
        estimate([1.0, math.nan], "linear")


def test_between_two_values_the_median_is_their_mean_on_the_scale():
    assert (median([4.0, 1.0, 9.0]), median([4.0, 1.0])) == (4.0, 2.5)
    assert median([8.0, 1.0, 2.0, 32.0], "log") == pytest.approx(4.0)
    assert (median([INF, 1.0]), median([3.0, INF, 1.0, INF], "log")) == (1.0, 3.0)
    assert median([-INF, 2.0], "log") == -INF


def test_the_estimator_does_not_change_at_ten_replicates():
    skewed = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 90.0]
    assert estimate(skewed, "linear").value == pytest.approx(14.0)
    assert estimate([*skewed, 14.0], "linear").value == pytest.approx(14.0)


def test_a_share_of_many_is_their_mean_and_no_median():
    found = estimate([1.0] * 8 + [0.0] * 4, "share")
    expected = stats.binomtest(8, 12).proportion_ci(0.95, "exact")
    assert (found.value, found.low, found.high) == pytest.approx((8 / 12, expected.low, expected.high))


def test_nothing_that_is_not_positive_has_a_logarithm():
    for least in (0.0, -1.0):
        with pytest.raises(ValueError, match="the scale 'log' needs positive values"):
            estimate([1.0, least, 2.0], "log")


def test_an_interval_on_logarithms_that_no_number_holds_is_unbounded():
    found = estimate([1e-200, 1e200], "log")
    assert (found.low, found.high) == (0.0, INF)


def test_a_share_of_none_or_all_is_bounded_by_nothing_and_everything():
    none, every = (interval(Replicates((value,) * 6, "share")) for value in (0.0, 1.0))
    expected = stats.binomtest(0, 6).proportion_ci(0.95, "exact")
    assert (none.low, none.high) == pytest.approx((0.0, expected.high))
    assert (every.low, every.high) == pytest.approx((1 - expected.high, 1.0))
    with pytest.raises(ValueError, match="zeros and ones"):
        Replicates((0.0, 0.5), "share")


def test_the_median_of_failed_replicates_has_the_interval_that_scipy_gives():
    values = (*np.random.default_rng(0).normal(size=17), INF, INF, INF)
    for error in (0.2, 0.05, 1e-3, 1e-5):
        found = interval(Replicates(tuple(values)), error)
        expected = stats.quantile_test(values, p=0.5).confidence_interval(1 - error)
        assert (found.low, found.high) == (expected.low, expected.high)
    assert interval(Replicates(tuple(values)), 1e-7).low == -INF


def test_benjamini_hochberg_multiplies_by_rank_and_keeps_the_order():
    assert benjamini_hochberg([0.01, 0.04, 0.03, 0.9]) == pytest.approx([0.04, 0.04 * 4 / 3, 0.04 * 4 / 3, 0.9])
    assert benjamini_hochberg([]) == []
    for n in (1, 2, 7, 60):
        ps = np.random.default_rng(n).uniform(0, 0.3, n).round(2).tolist()
        assert benjamini_hochberg(ps) == pytest.approx(stats.false_discovery_control(ps), rel=1e-12)


SCALES = ("linear", "log", "share", "censored")


@st.composite
def measured(draw):
    kind, n = draw(st.sampled_from(SCALES)), draw(st.integers(2, 40))
    random = np.random.default_rng(draw(st.integers(0, 10**6)))
    known = {"least_error": draw(st.sampled_from([0.0, 0.1])), "shared_error": draw(st.sampled_from([0.0, 0.2]))}
    if kind == "share":
        return Replicates(tuple((random.random(n) < random.random()).astype(float)), "share")
    values = random.lognormal(0.0, 0.5, n) if kind == "log" else random.normal(1.0, 0.5, n).round(1)
    if kind == "censored":
        return Replicates((INF, *values))
    return Replicates(tuple(values), kind, resolution=draw(st.sampled_from([None, 0.1])), **known)


@given(measured(), st.floats(1e-6, 0.5), st.floats(0.05, 2.0), st.floats(0.05, 2.0))
def test_the_p_value_is_at_most_an_error_exactly_where_the_interval_at_it_lies_inside(sample, error, one, other):
    for region in ((min(one, other), max(one, other)), (one, INF), (-INF, one), (-INF, INF)):
        p, found = nominal_p(sample, region), interval(sample, error)
        if not math.isclose(p, error, rel_tol=1e-9):
            assert (p <= error) == (region[0] <= found.low and found.high <= region[1])


def test_values_that_differ_by_rounding_alone_are_judged_as_equal_ones():
    """Their logarithms are one number, so that they have no spread at all."""
    base = 0.00025
    values = [base, math.nextafter(base, 1), base, base, math.nextafter(base, 0)]
    assert len({math.log(value) for value in values}) == 1
    found, equal = (estimate(some, "log") for some in (values, [base] * 5))
    assert (found.low, found.high) == pytest.approx((equal.low, equal.high))
