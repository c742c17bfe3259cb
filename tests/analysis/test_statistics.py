import math
import warnings

import numpy as np
import pytest
from scipy import stats

from nodebench.analysis.statistics import estimate, holm, line, median, p_outside, replicates_to_decide

INF = math.inf
EVERY = (-INF, INF)


def test_below_ten_replicates_the_interval_is_students_on_logarithms_for_a_ratio():
    values = [1.1, 1.4, 1.2, 1.6, 1.3]
    found = estimate(values, "log")
    logs = np.log(values)
    expected = stats.ttest_1samp(logs, 0).confidence_interval(0.95)
    assert found.value == pytest.approx(math.exp(logs.mean()))
    assert (found.low, found.high) == pytest.approx((math.exp(expected.low), math.exp(expected.high)))


def test_a_share_has_the_exact_binomial_interval():
    found = estimate([1, 1, 1, 1, 1, 0, 1, 1], "share")
    expected = stats.binomtest(7, 8).proportion_ci(0.95, "exact")
    assert (found.value, found.low, found.high) == (7 / 8, expected.low, expected.high)


def test_with_a_failure_the_interval_is_by_order_and_says_nothing_below_six():
    assert estimate([1.0, 2.0, 3.0, 4.0, INF], "log").low == -INF
    found = estimate([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, INF], "log")
    assert (found.value, found.low, found.high) == (4.0, 1.0, INF)


def test_equal_values_are_known_only_where_there_is_no_noise():
    """Five equal values of what may vary leave a sixth one that differs quite possible."""
    exact, noisy, six = (estimate([7.0] * n, "linear", e) for n, e in ((5, True), (5, False), (6, False)))
    assert (exact.low, exact.high) == (7.0, 7.0)
    assert (noisy.low, noisy.high) == (-INF, INF)
    assert (six.low, six.high) == (7.0, 7.0)
    assert p_outside([7.0] * 6, "linear", [(6.0, 8.0)]) == pytest.approx(2 * 0.5**6, rel=0.06)
    assert estimate([7.0], "linear", exact=True).high == INF


def test_ten_values_on_a_coarse_grid_have_an_interval_too():
    """Leaving one out never moves their median, so that the bootstrap has no acceleration."""
    found = estimate([0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.6, 0.7, 0.8, 0.9], "linear")
    assert (found.value, found.low, found.high) == (0.5, 0.2, 0.8)


@pytest.mark.parametrize("n", [5, 7])
def test_p_is_that_of_students_test_against_the_edge(n):
    values = list(np.random.default_rng(n).normal(1.0, 1.0, n))
    expected = stats.ttest_1samp(values, 0.0).pvalue
    assert p_outside(values, "linear", [(0.0, INF)]) == pytest.approx(expected, rel=0.06)
    assert p_outside(values, "linear", [(-INF, 0.0)]) == 1.0 or expected > 0.9


@pytest.mark.parametrize("n", [5, 12])
def test_p_is_below_a_twentieth_exactly_where_the_interval_lies_inside(n):
    random = np.random.default_rng(n)
    for _ in range(25):
        values = list(random.normal(0.6, 1.0, n))
        found = estimate(values, "linear")
        assert (p_outside(values, "linear", [(0.0, INF)]) <= 0.05) == (found.low >= 0)


@pytest.mark.parametrize(("n", "allowed"), [(5, 0.93), (10, 0.91)])
def test_intervals_cover_the_centre_of_skewed_data(n, allowed):
    """The median of a lognormal, 600 times; the interval of the coverage itself is ±2 points."""
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(600):
        found = estimate(list(random.lognormal(0.0, 1.0, n)), "log")
        covered += found.low <= 1.0 <= found.high
    assert covered / 600 >= allowed


def test_holm_multiplies_by_how_many_are_left():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_the_number_that_would_decide_does():
    """With that many replicates of the same spread, eight of ten intervals lie inside."""
    random = np.random.default_rng(1)
    pilot = [0.7, -0.2, 0.9, -0.1, 0.4]
    needed = replicates_to_decide(pilot, "linear", [(0.0, INF), (-INF, 0.0)])
    assert needed is not None
    assert 6 < needed < 30
    spread, centre = float(np.std(pilot, ddof=1)), median(pilot)
    low = [stats.ttest_1samp(random.normal(centre, spread, needed), 0).confidence_interval().low for _ in range(500)]
    assert 0.74 <= np.mean(np.array(low) > 0) <= 0.92


def test_no_number_decides_an_estimate_between_the_regions():
    assert replicates_to_decide([0.6, 0.7, 0.65], "linear", [(0.4, 0.6), (0.75, INF)]) is None


def test_a_line_gives_back_what_it_was_drawn_from():
    found = line([1.0, 2.0, 3.0], [5.0, 7.0, 9.0])
    assert (found.slope, found.intercept, found.r_squared) == pytest.approx((2.0, 3.0, 1.0))


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


def test_from_ten_replicates_on_the_figure_is_the_median_and_below_the_mean():
    skewed = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 90.0]
    assert estimate(skewed, "linear").value == pytest.approx(14.0)
    assert estimate([*skewed, 9.0], "linear").value == 5.5


def bootstrapped(values, level: float):
    options = {"n_resamples": 5000, "method": "BCa", "rng": np.random.default_rng(0)}
    return stats.bootstrap((values,), np.median, confidence_level=level, **options).confidence_interval


def test_the_interval_of_ten_or_more_is_the_bootstrap_of_the_median():
    values = np.random.default_rng(3).lognormal(0.0, 1.0, 40)
    expected, found = bootstrapped(np.log(values), 0.95), estimate(list(values), "log")
    assert (found.low, found.high) == pytest.approx((math.exp(expected.low), math.exp(expected.high)), rel=1e-12)


def test_the_p_value_of_ten_or_more_is_of_the_bootstrap_at_every_level():
    values = np.random.default_rng(3).normal(0.0, 1.0, 40)
    for level in (0.9, 0.99):
        edge = bootstrapped(values, level).low
        assert p_outside(list(values), "linear", [(edge, INF)]) == pytest.approx(1 - level, rel=0.2)


def test_a_share_of_many_is_their_mean_and_no_median():
    found = estimate([1.0] * 8 + [0.0] * 4, "share")
    expected = stats.binomtest(8, 12).proportion_ci(0.95, "exact")
    assert (found.value, found.low, found.high) == pytest.approx((8 / 12, expected.low, expected.high))


def test_a_figure_is_noisy_unless_it_is_said_to_be_exact():
    assert estimate([7.0] * 5, "linear").high == INF
    assert p_outside([7.0] * 5, "linear", [(6.0, 8.0)]) > 0.05
    assert p_outside([7.0] * 5, "linear", [(6.0, 8.0)], exact=True) == 0.0


def test_nothing_that_is_not_positive_has_a_logarithm():
    for least in (0.0, -1.0):
        with pytest.raises(ValueError, match="a logarithm of"):
            estimate([1.0, least, 2.0], "log")


def test_an_interval_on_logarithms_that_no_number_holds_is_unbounded():
    found = estimate([1e-200, 1e200], "log")
    assert (found.low, found.high) == (0.0, INF)


def test_a_bootstrap_that_degenerates_says_nothing_on_the_screen():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimate([0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.6, 0.7, 0.8, 0.95], "linear")


PILOT = [0.7, -0.2, 0.9, -0.1, 0.4]


def test_the_number_that_would_decide_is_the_first_that_is_enough():
    def half(n: int) -> float:
        return float((stats.t.ppf(0.975, n - 1) + stats.t.ppf(0.8, n - 1)) * np.std(PILOT, ddof=1) / math.sqrt(n))

    for n in (7, 8, 20):
        enough, scarce = (float(np.mean(PILOT)) - share * half(n) for share in (1.001, 0.999))
        assert replicates_to_decide(PILOT, "linear", [(enough, INF)]) == n
        assert replicates_to_decide(PILOT, "linear", [(scarce, INF)]) == n + 1


def test_the_nearer_edge_and_the_scale_say_how_many_would_decide():
    plain = replicates_to_decide(PILOT, "linear", [(0.0, INF)])
    assert replicates_to_decide(PILOT, "linear", [(0.0, 100.0)]) == plain
    assert replicates_to_decide([5 + value for value in PILOT], "linear", [(-100.0, 5.0), (5.0, INF)]) == plain
    ratios = [math.exp(value) for value in PILOT]
    assert replicates_to_decide(ratios, "log", [(1.0, INF)]) == plain
    assert replicates_to_decide([1 / ratio for ratio in ratios], "log", [(0.0, 1.0)]) == plain


def test_more_than_there_are_would_decide_and_equal_values_wait_for_six():
    assert replicates_to_decide([1.0, 1.1, 0.9, 1.0, 1.05], "linear", [(0.0, INF)]) == 6
    assert replicates_to_decide(PILOT, "linear", [EVERY]) == 6
    assert replicates_to_decide([0.6, 0.7], "linear", [(0.0, INF)]) is not None
    assert [replicates_to_decide([7.0] * n, "linear", [(6.0, 8.0)]) for n in (3, 6)] == [6, 7]


def test_no_number_decides_where_replicates_failed_or_one_stands_alone():
    assert replicates_to_decide([0.5, 0.6, -INF, 0.5, 0.6], "log", [(-INF, 1.0)]) is None
    assert replicates_to_decide([0.5], "linear", [(-INF, 1.0)]) is None


def test_a_line_that_falls_or_has_noise_has_its_share_of_the_variance():
    assert line([1.0, 2.0, 3.0], [9.0, 7.0, 5.0]).r_squared == pytest.approx(1.0)
    assert line([1.0, 2.0, 3.0, 4.0], [1.0, 3.0, 2.0, 4.0]).r_squared == pytest.approx(0.64)
