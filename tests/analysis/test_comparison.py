"""Planted curves: costs at equal error, and the place from which one arm is the cheaper."""

import math

import pytest
from evidence import claim, evidence

from nodebench.analysis.claims import Word, judge
from nodebench.analysis.claims.contract import Arm, Match, Part, axis, final
from nodebench.analysis.comparison import at_equal_error, crossover
from nodebench.analysis.fairness import Point
from nodebench.analysis.statistics import crossing, ratio_at_equal
from nodebench.spec import Status

SECONDS, ERROR, PEAK = final("step_seconds"), final("solution_error"), final("tensor_peak_bytes")


def curve(factor: float, errors=(1e-2, 1e-4, 1e-6)):
    return [(error, factor * error**-0.2) for error in errors]


# --- statistics


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
    assert verdict.word is Word.SUPPORTED
    assert verdict.deciding.estimate.value == pytest.approx(0.5, rel=0.02)
    assert verdict.deciding.estimate.n == 5


def test_at_equal_tolerance_the_looser_library_would_have_won():
    """The planted trap: as fast at equal error, it takes 0.4 × the time at equal tolerance."""
    records = libraries(1.0, 100.0)
    (matched,) = judge([claim(PART)], records)
    assert matched.word is Word.REFUTED
    plain = Part("{}", SECONDS, PART.arm.but("a", rtol=1e-5), PART.against.but("b", rtol=1e-5), supports=PART.supports)
    assert judge([claim(plain)], records)[0].deciding.estimate.value == pytest.approx(0.4, rel=0.05)


def test_a_failed_trial_is_no_point_of_its_curve():
    records = libraries(0.5, 1.0)
    records[0] = evidence(0, solver="torchode:dopri5", rtol=1e-3, atol=1e-3, status=Status.TIMEOUT)
    (verdict,) = judge([claim(PART)], records)
    assert verdict.deciding.estimate.value == pytest.approx(0.5, rel=0.02)
    assert "a trial that failed is no point of its curve" in " ".join(verdict.deciding.sample.notes)


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
