"""Planted curves: costs at equal error, and the place from which one arm is the cheaper."""

import math

import numpy as np
import pytest
from evidence import claim, evidence
from scipy import stats

from nodebench.analysis.crossovers import at_equal_error, crossover
from nodebench.analysis.curves import crossing, line, ratio_at_equal
from nodebench.analysis.fairness import Point
from nodebench.analysis.readings import axis, final
from nodebench.claims import Verdict, judge
from nodebench.claims.contract import Arm, Match, Part
from nodebench.spec import Status

SECONDS, ERROR, PEAK = final("step_seconds"), final("solution_error"), final("tensor_peak_bytes")


def curve(factor: float, errors=(1e-2, 1e-4, 1e-6)):
    return [(error, factor * error**-0.2) for error in errors]


# --- statistics


def test_a_line_is_that_of_least_squares():
    x, y = np.random.default_rng(0).uniform(size=(2, 12))
    found, expected = line(x.tolist(), y.tolist()), stats.linregress(x, y)
    assert found.slope == pytest.approx(expected.slope, rel=1e-12)
    assert found.intercept == pytest.approx(expected.intercept, rel=1e-12)
    assert found.r_squared == pytest.approx(expected.rvalue**2, rel=1e-12)
    assert line([1.0, 2.0, 3.0], [5.0, 5.0, 5.0]).r_squared == 0
    assert all(line([a, 2 * a, 3 * a], [0.7 * a, 1.4 * a, 2.1 * a]).r_squared <= 1 for a in np.arange(0.01, 2, 0.01))


def test_curves_of_one_law_differ_by_their_factor_wherever_their_points_lie():
    assert ratio_at_equal(curve(3.0), curve(1.0, (3e-3, 2e-5, 5e-7))) == pytest.approx(3.0)


def test_curves_without_an_error_in_common_have_no_ratio():
    assert ratio_at_equal(curve(1.0, (1e-2, 1e-3)), curve(1.0, (1e-5, 1e-6))) is None
    assert ratio_at_equal(curve(1.0, (1e-2,)), curve(1.0)) is None


def test_what_is_no_number_is_no_point_of_a_curve():
    assert ratio_at_equal([*curve(2.0), (math.inf, 1.0), (0.0, 1.0)], curve(1.0)) == pytest.approx(2.0)


def test_a_crossing_lies_where_a_power_law_meets_one():
    assert crossing([(x, (x / 7) ** -1.5) for x in (1.0, 4.0, 16.0, 64.0)]) == pytest.approx(7.0)


def test_a_crossing_beyond_what_was_measured_is_no_number():
    assert crossing([(1.0, 2.0), (2.0, 1.5)]) == math.inf
    assert crossing([(1.0, 0.5), (2.0, 0.9)]) == -math.inf


def test_what_comes_down_twice_counts_from_the_last_time():
    assert 3 < crossing([(1.0, 0.5), (2.0, 1.2), (3.0, 1.1), (4.0, 0.8)]) < 4


def test_a_failure_is_crossed_where_it_happens():
    assert crossing([(1.0, 3.0), (10.0, 0.0)]) == 10.0
    assert crossing([(1.0, math.inf), (10.0, 0.5)]) == 10.0


# --- claims


def libraries(factor: float, looseness: float, seeds: int = 5) -> list:
    """Two libraries of one law of cost; the second means something else by a tolerance, by a factor."""
    return [
        evidence(
            seed,
            solver=solver,
            rtol=rtol,
            atol=rtol,
            costs={
                "solution_error": (error := rtol * means * (1 + 0.02 * seed)),
                "step_seconds": cost * error**-0.2 * (1 + 0.01 * seed),
            },
        )
        for seed in range(seeds)
        for solver, means, cost in (("torchode:dopri5", looseness, factor), ("dopri5", 1.0, 1.0))
        for rtol in (1e-3, 1e-5, 1e-7)
    ]


PART = Part(
    "{}",
    SECONDS,
    Arm("the other", {"solver": "torchode:dopri5"}),
    Arm("torchdiffeq", {"solver": "dopri5"}),
    supports=(-math.inf, 0.8),
    match=Match("rtol", ERROR),
    scale="log",
)


@pytest.mark.parametrize("looseness", [1.0, 30.0, 0.1])
def test_what_a_tolerance_means_does_not_matter_at_equal_error(looseness):
    (verdict,) = judge([claim(PART)], libraries(0.5, looseness))
    assert verdict.verdict is Verdict.SUPPORTED
    assert verdict.results[0].estimate.value == pytest.approx(0.5, rel=0.02)
    assert verdict.results[0].estimate.n == 5


def test_at_equal_tolerance_the_looser_library_would_have_won():
    """The planted trap: as fast at equal error, it takes 0.4 × the time at equal tolerance."""
    records = libraries(1.0, 100.0)
    (matched,) = judge([claim(PART)], records)
    assert matched.verdict is Verdict.REFUTED
    plain = Part("{}", SECONDS, PART.arm.but("a", rtol=1e-5), PART.against.but("b", rtol=1e-5), supports=PART.supports)
    assert judge([claim(plain)], records)[0].results[0].estimate.value == pytest.approx(0.4, rel=0.05)


def test_a_failed_trial_is_no_point_of_its_curve():
    records = libraries(0.5, 1.0)
    records[0] = evidence(0, solver="torchode:dopri5", rtol=1e-3, atol=1e-3, status=Status.TIMEOUT)
    (verdict,) = judge([claim(PART)], records)
    assert verdict.results[0].estimate.value == pytest.approx(0.5, rel=0.02)
    assert "failed trial left out of its curve" in map(str, verdict.results[0].sample.notes)


def test_the_report_agrees_with_the_claim():
    found = at_equal_error(libraries(0.5, 10.0), ERROR, SECONDS, (PART.arm.where, PART.against.where))
    assert found.value == pytest.approx(0.5, rel=0.02)


# --- crossovers


def memory(seed: int, gradient: str, steps: int, peak: float, **changes):
    costs = {"tensor_peak_bytes": peak, "step_seconds": 2.0 if gradient == "adjoint" else 1.0}
    return evidence(seed, gradient=gradient, costs=costs, overrides={"points": steps}, **changes)


ARMS = ({"gradient": "adjoint"}, {"gradient": "direct"})


def test_a_crossover_is_found_with_its_price():
    records = [
        memory(seed, gradient, steps, 1000.0 if gradient == "adjoint" else 10.0 * steps)
        for seed in range(5)
        for gradient in ("adjoint", "direct")
        for steps in (10, 50, 200, 800)
    ]
    found = crossover(map(Point.of, records), axis("points"), PEAK, SECONDS, ARMS)
    assert found.at.value == pytest.approx(100.0)
    assert (found.at.n, found.at.low, found.at.high) == (5, found.at.value, found.at.value)
    assert (found.span, found.price) == ((10.0, 800.0), 2.0)


def test_a_crossover_that_varies_has_an_interval():
    records = [
        memory(seed, gradient, steps, 1000.0 * (1 + seed / 10) if gradient == "adjoint" else 10.0 * steps)
        for seed in range(5)
        for gradient in ("adjoint", "direct")
        for steps in (10, 50, 200, 800)
    ]
    found = crossover(map(Point.of, records), axis("points"), PEAK, SECONDS, ARMS)
    assert 100 < found.at.low < found.at.value < found.at.high < 145


def test_an_arm_that_fails_is_the_dearer_one():
    records = [
        memory(
            0, gradient, steps, 1000.0, status=Status.NFE_BUDGET if gradient == "direct" and steps > 100 else Status.OK
        )
        for gradient in ("adjoint", "direct")
        for steps in (10, 200)
    ]
    found = crossover(map(Point.of, records), axis("points"), PEAK, SECONDS, ARMS)
    assert found.at.value == pytest.approx(200.0)
    assert found.price is None


def test_a_trial_that_somebody_stopped_tells_nothing():
    records = [
        memory(
            0, gradient, steps, 1000.0, status=Status.INTERRUPTED if gradient == "direct" and steps > 100 else Status.OK
        )
        for gradient in ("adjoint", "direct")
        for steps in (10, 50, 200)
    ]
    assert crossover(map(Point.of, records), axis("points"), PEAK, SECONDS, ARMS).span == (10.0, 50.0)


def test_one_place_makes_no_crossover():
    records = [memory(0, gradient, 10, 5.0) for gradient in ("adjoint", "direct")]
    assert crossover(map(Point.of, records), axis("points"), PEAK, SECONDS, ARMS) is None


INF = math.inf


SECONDS, ERROR, PEAK = final("step_seconds"), final("solution_error"), final("tensor_peak_bytes")


def test_what_is_no_positive_number_is_no_point_of_either_curve():
    wrong = [(INF, 1.0), (0.0, 1.0), (-1.0, 1.0), (1e-3, INF), (1e-3, 0.0), (1e-3, -1.0)]
    assert ratio_at_equal([*curve(2.0), *wrong], [*curve(1.0), *wrong]) == pytest.approx(2.0)


def test_two_points_are_a_curve_whatever_their_unit():
    assert ratio_at_equal(curve(3e-3, (1e-2, 1e-6)), curve(1e-3)) == pytest.approx(3.0)
    assert ratio_at_equal([(10.0, 3.0), (1e3, 3.0)], [(10.0, 1.0), (1e3, 1.0)]) == pytest.approx(3.0)


def test_no_points_are_no_curve():
    assert ratio_at_equal([], curve(1.0)) is None
    assert ratio_at_equal(curve(1.0), [(INF, 1.0)]) is None


def test_curves_that_meet_in_one_error_alone_have_no_ratio():
    assert ratio_at_equal(curve(1.0, (1e-2, 1e-3)), curve(1.0, (1e-3, 1e-6))) is None


def test_a_crossing_does_not_depend_on_the_order_of_its_places():
    assert crossing([(x, (x / 7) ** -1.5) for x in (64.0, 1.0, 16.0, 4.0)]) == pytest.approx(7.0)


def test_a_ratio_of_one_at_the_last_place_is_no_crossing():
    assert crossing([(1.0, 2.0), (2.0, 1.0)]) == INF
    assert crossing([(1.0, 1.0), (4.0, 0.5)]) == pytest.approx(1.0)


def both(seed: int, steps=(10, 50, 200, 800), **changes) -> list:
    """Records of both arms, whose memory is equal at 100 steps; the adjoint takes twice the time."""
    return [
        memory(seed, gradient, n, 1000.0 if gradient == "adjoint" else 10.0 * n, **changes)
        for gradient in ("adjoint", "direct")
        for n in steps
    ]


def crossed(records, figure=PEAK, price=SECONDS):
    return crossover(map(Point.of, records), axis("points"), figure, price, ARMS)


def test_what_one_arm_lacks_is_left_out_of_a_crossover():
    """A seed, a place, and a seed that has but one place in common, of either arm."""
    stray = [memory(seed, gradient, 1, 1.0) for seed, gradient in ((7, "adjoint"), (8, "direct"))]
    places = [memory(1, "adjoint", 5, 1.0), memory(2, "direct", 5000, 1.0)]
    found = crossed([*both(0, (10,)), *both(1), *both(2), *both(3), *stray, *places])
    assert (found.at.n, found.at.value, found.span) == (3, pytest.approx(100.0), (10.0, 800.0))


def test_a_record_without_the_axis_or_the_figure_is_no_place():
    other = [evidence(0, gradient=gradient, costs={"tensor_peak_bytes": 1.0}) for gradient in ("adjoint", "direct")]
    nothing = [memory(0, gradient, 2000, peak) for gradient, peak in (("adjoint", 1.0), ("direct", 0.0))]
    lacking = [evidence(0, gradient="adjoint", overrides={"points": 3000}), memory(0, "direct", 3000, 1.0)]
    stopped = memory(0, "direct", 1, 1.0, status=Status.INTERRUPTED)
    found = crossed([stopped, *other, *both(0), *nothing, *lacking])
    assert (found.at.value, found.span) == (pytest.approx(100.0), (10.0, 800.0))


def test_unreliable_records_make_no_crossover_and_have_no_price():
    assert crossed([r.model_copy(update={"passes_agree": False}) for r in both(0)]) is None
    drifted = both(0, drifted=True)
    found = crossed(drifted)  # bytes do not drift; seconds do
    assert (found.at.value, found.price) == (pytest.approx(100.0), None)
    assert crossed(drifted, figure=SECONDS) is None


def test_an_arm_that_fails_at_the_end_is_nowhere_the_cheaper_one():
    failing = [r for r in both(0) if (r.trial.gradient, r.trial.overrides["points"]) != ("adjoint", 800)]
    found = crossed([*failing, memory(0, "adjoint", 800, 1000.0, status=Status.NFE_BUDGET)])
    assert (found.at.value, found.price, found.span) == (math.inf, None, (10.0, 800.0))


def test_a_place_where_both_arms_fail_is_none():
    failed = both(0, (3200,), status=Status.TIMEOUT)
    assert crossed([*both(0), *failed]).span == (10.0, 800.0)


def test_where_the_first_arm_is_never_the_cheaper_one_there_is_no_price():
    found = crossed(both(0, (10, 75)))
    assert (found.at.value, found.price) == (math.inf, None)


def tolerances(seed: int, gradient: str, factor: float, **changes) -> list:
    return [
        evidence(
            seed,
            gradient=gradient,
            rtol=rtol,
            costs={"solution_error": rtol, "step_seconds": factor * rtol**-0.2},
            **changes,
        )
        for rtol in (1e-3, 1e-5, 1e-7)
    ]


def test_what_failed_or_drifted_or_has_no_pair_does_not_count_at_equal_error():
    pair = [*tolerances(0, "adjoint", 3.0), *tolerances(0, "direct", 1.0)]
    drifted = [*tolerances(1, "adjoint", 50.0, drifted=True), *tolerances(1, "direct", 1.0)]
    failed = [*tolerances(2, "adjoint", 50.0, status=Status.TIMEOUT), *tolerances(2, "direct", 1.0)]
    alone = [*tolerances(3, "adjoint", 50.0), *tolerances(4, "direct", 50.0)]
    found = at_equal_error([*pair, *drifted, *failed, *alone], ERROR, SECONDS, ARMS)
    assert (found.n, found.value) == (1, pytest.approx(3.0))
    apart = [
        *tolerances(5, "adjoint", 1.0),
        *(evidence(5, gradient="direct", costs={"solution_error": 9.0 * n, "step_seconds": 1.0}) for n in (1, 2)),
    ]
    lacking = [evidence(0, gradient="adjoint", costs={name: 1e-4}) for name in ("solution_error", "step_seconds")]
    again = at_equal_error([*drifted, *failed, *apart, *lacking, *pair], ERROR, SECONDS, ARMS)
    assert (again.n, again.value) == (1, pytest.approx(3.0))
    assert at_equal_error(alone, ERROR, SECONDS, ARMS) is None


def test_replicates_are_averaged_as_ratios():
    """On logarithms: 2 and 8 make 4."""
    records = [
        r
        for seed, f in ((0, 2.0), (1, 8.0))
        for r in (*tolerances(seed, "adjoint", f), *tolerances(seed, "direct", 1.0))
    ]
    assert at_equal_error(records, ERROR, SECONDS, ARMS).value == pytest.approx(4.0)
    four = [
        memory(seed, gradient, n, peak if gradient == "adjoint" else 10.0 * n)
        for seed, peak in ((0, 1000.0), (1, 4000.0))
        for gradient in ("adjoint", "direct")
        for n in (10, 50, 200, 800)
    ]
    assert crossed(four).at.value == pytest.approx(200.0)
    paid = [
        r.model_copy(
            update={
                "costs": {
                    **r.costs,
                    "step_seconds": r.costs["step_seconds"]
                    * (4.0 if r.trial.seed and r.trial.gradient == "adjoint" else 1.0),
                }
            }
        )
        for r in (*both(0), *both(1))
    ]
    assert crossed(paid).price == pytest.approx(4.0)  # between 2 and 8


def test_one_drifted_record_of_the_last_place_leaves_no_price():
    records = both(0)
    records[3] = memory(0, "adjoint", 800, 1000.0, drifted=True)
    assert (crossed(records).at.value, crossed(records).price) == (pytest.approx(100.0), None)


def test_where_the_first_arm_does_not_win_at_the_last_place_there_is_no_price():
    assert crossed(both(0, (10, 50, 100))).price is None
    back = [memory(0, gradient, 3200, 5e4 if gradient == "adjoint" else 1e4) for gradient in ("adjoint", "direct")]
    assert (crossed([*both(0), *back]).at.value, crossed([*both(0), *back]).price) == (math.inf, None)
