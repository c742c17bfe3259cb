"""The noise model, against noise of known size."""

import math

import numpy as np
import pytest
from evidence import ENVIRONMENT, evidence

from nodebench.analysis.noise import ASSUMED, POWER, Noise, assumed_noise, noise_of, shift
from nodebench.spec.calibration import Calibration

WITHIN, BETWEEN = 0.05, 0.03


def rounds(random: np.random.Generator, number: int, size: int) -> list[list[float]]:
    """Rounds of a figure of about 2, with the two deviations planted."""
    means = random.normal(math.log(2), BETWEEN, number)
    return [np.exp(random.normal(mean, WITHIN, size)).tolist() for mean in means]


def test_both_deviations_are_found_again():
    random = np.random.default_rng(0)
    noise = Noise.of(rounds(random, 4000, 4))
    assert noise.within == pytest.approx(WITHIN, rel=0.02)
    assert noise.between == pytest.approx(BETWEEN, rel=0.05)
    assert (noise.within_freedom, noise.between_freedom) == (4000 * 3, 3999)


def test_rounds_that_happen_to_agree_leave_two_runs_two_per_cent():
    agreeing = Noise(WITHIN, 100, 0.0, 100)
    assert agreeing.shift(10**6, apart=True).error == pytest.approx(math.sqrt(2) * ASSUMED, rel=1e-3)
    assert agreeing.shift(10**6, apart=False).error == pytest.approx(0, abs=1e-4)


def test_where_rounds_do_not_differ_nothing_lies_between_them():
    random = np.random.default_rng(1)
    same = [np.exp(random.normal(0, WITHIN, 5)).tolist() for _ in range(2000)]
    assert Noise.of(same).between < 0.2 * WITHIN


def test_too_little_is_no_estimate():
    assert Noise.of([[1.0, 2.0]]) is None
    assert Noise.of([[1.0], [2.0]]) is None


@pytest.mark.parametrize("apart", [False, True])
def test_the_smallest_change_is_found_as_often_as_promised(apart):
    """Runs with that very change between them, made by the model; found where the known error excludes none."""
    random, n = np.random.default_rng(2), 5
    noise = Noise.of(rounds(random, 4000, 4))
    change = math.log(noise.smallest(n, apart))
    deviation = math.sqrt(2 * WITHIN**2 / n + (2 * BETWEEN**2 if apart else 0))
    seen = random.normal(change, deviation, 20_000)
    width = noise.shift(n, apart).interval[1]
    assert np.mean(seen > width) == pytest.approx(POWER, abs=0.02)


def test_what_runs_differ_by_as_a_whole_widens_every_interval():
    noise = Noise(WITHIN, 100, BETWEEN, 100)
    differences = [0.1, 0.11, 0.09, 0.1, 0.1]
    alone, known = shift(differences), shift(differences, noise)
    assert alone.p < 1e-4 < known.p
    # The error is that of the mean, and twice the variance between runs, by Pythagoras.
    assert known.error == pytest.approx(math.hypot(alone.error, math.sqrt(2) * BETWEEN))
    assert known.interval[0] < alone.interval[0] < alone.interval[1] < known.interval[1]


def test_the_interval_is_students_where_nothing_is_known_of_the_machine():
    from scipy import stats

    differences = [0.3, 0.1, 0.2, 0.4]
    expected = stats.ttest_1samp(differences, 0)
    found = shift(differences)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.interval == pytest.approx(tuple(expected.confidence_interval()))


def test_a_single_replicate_says_nothing_unless_the_machine_is_known():
    assert shift([0.5]).p == 1.0
    assert shift([0.5]).smallest == math.inf
    assert shift([0.5], Noise(WITHIN, 50, BETWEEN, 50)).p < 0.001
    assert shift([0.05], Noise(WITHIN, 50, BETWEEN, 50)).p > 0.05


def test_equal_values_are_no_proof():
    """Bytes by the page differ by the same in each replicate: an error of zero would make of that a certainty."""
    assert shift([0.002] * 5, assumed_noise([], [])[1]).p > 0.5
    assert shift([0.002] * 5).p == 1.0


def test_an_uncalibrated_machine_is_judged_by_the_load_beside_its_trials():
    before = [evidence(seed, calibration=[0.010, 0.011]) for seed in range(3)]
    after = [evidence(seed, calibration=[0.013, 0.012]) for seed in range(3)]
    of_time, of_other = assumed_noise(before, after)
    assert of_time.between == pytest.approx(math.log(1.2))
    assert of_other.between == assumed_noise(before, before)[0].between == 0


def calibration(environment=ENVIRONMENT, threads=1, values=((1.0, 1.1), (1.2, 1.3))):
    figures = {"step_seconds": [list(row) for row in values]}
    return Calibration(started="2026", environment=environment, threads=threads, rounds={"toy/spiral": figures})


def test_calibrations_of_one_machine_are_put_together_and_others_passed_over():
    other = ENVIRONMENT | {"cpu": "another"}
    found = noise_of([calibration(), calibration(), calibration(other), calibration(threads=2)], ENVIRONMENT, 1)
    assert found["step_seconds"].between_freedom == 3  # four rounds
    assert noise_of([calibration(other)], ENVIRONMENT, 1) == {}
    assert noise_of([calibration()], ENVIRONMENT, 4) == {}


def test_the_noisier_load_counts():
    quiet = calibration()
    loud = {"mnist": {"step_seconds": [[1.0, 2.0], [3.0, 8.0]]}}
    both = quiet.model_copy(update={"rounds": quiet.rounds | loud})
    assert noise_of([both], ENVIRONMENT, 1)["step_seconds"] == Noise.of(loud["mnist"]["step_seconds"])
