"""Two runs side by side: what is the same, what has changed, and how often a change is seen where there is none."""

import numpy as np
import pytest
from evidence import ENVIRONMENT, evidence
from scipy import stats

from nodebench.analysis.compare_runs import Outcome, compare
from nodebench.analysis.noise import Noise
from nodebench.errors import BadInput
from nodebench.spec import Status

SEEDS = range(5)


def run(step=1.0, seeds=SEEDS, **given):
    costs = {"nfe_forward": 20.0, "step_seconds": step} | given.pop("costs", {})
    return [evidence(seed, costs=costs, metrics={"trajectory_error": 0.1 + seed}, **given) for seed in seeds]


def outcomes(comparison):
    return {change.metric.name: change.outcome for change in comparison.changes}


def test_two_runs_alike_differ_in_nothing():
    found = compare(run(), run())
    assert outcomes(found) == {
        "nfe_forward": Outcome.IDENTICAL,
        "trajectory_error": Outcome.IDENTICAL,
        "step_seconds": Outcome.SAME,
    }
    assert found.environment_changes == {}
    assert found.endings == ()
    assert found.only == (0, 0)


def test_one_evaluation_more_is_worse_exactly():
    found = compare(run(), run(costs={"nfe_forward": 21.0}))
    (change,) = [one for one in found.changes if one.metric.name == "nfe_forward"]
    assert change.outcome is Outcome.WORSE
    assert change.shift is None
    assert change.ratio == pytest.approx(1.05)
    assert outcomes(compare(run(costs={"nfe_forward": 21.0}), run()))["nfe_forward"] is Outcome.BETTER


def test_a_computed_figure_that_has_changed_at_all_has_changed():
    before = [evidence(seed, metrics={"trajectory_error": 0.1}) for seed in SEEDS]
    random = np.random.default_rng(0)
    noisy = [
        evidence(s, metrics={"trajectory_error": 0.1 * (1 + x)})
        for s, x in zip(SEEDS, random.normal(0, 0.1, 5), strict=True)
    ]
    worse = [
        evidence(s, metrics={"trajectory_error": 0.2 * (1 + x)})
        for s, x in zip(SEEDS, random.normal(0, 0.1, 5), strict=True)
    ]
    assert outcomes(compare(before, noisy))["trajectory_error"] is Outcome.DIFFERENT
    assert outcomes(compare(before, worse))["trajectory_error"] is Outcome.WORSE


def test_a_figure_where_more_is_better_gets_worse_by_falling():
    before = [evidence(seed, metrics={"elbo": -10.0 - seed}) for seed in SEEDS]
    after = [evidence(seed, metrics={"elbo": -20.0 - 1.1 * seed}) for seed in SEEDS]
    (change,) = compare(before, after).changes
    assert change.outcome is Outcome.WORSE
    assert not change.relative  # of numbers below zero there is no ratio
    assert change.interval is None


def test_a_step_twice_as_long_is_found_and_a_hundredth_is_not():
    random = np.random.default_rng(0)
    before, longer, same = (
        [evidence(seed, costs={"step_seconds": scale * np.exp(random.normal(0, 0.02))}) for seed in SEEDS]
        for scale in (1.0, 2.0, 1.01)
    )
    assert outcomes(compare(before, longer)) == {"step_seconds": Outcome.WORSE}
    (change,) = compare(before, same).changes
    assert change.outcome is Outcome.SAME
    assert 1.05 < change.smallest < 1.5
    assert change.interval[0] < 1 < change.interval[1]


def test_times_that_may_not_be_used_are_left_out_and_counts_are_not():
    found = compare(run(), run(drifted=True))
    assert "step_seconds" not in outcomes(found)
    assert outcomes(found)["nfe_forward"] is Outcome.IDENTICAL
    assert found.notes == ("5 × times of a trial left out: the machine's speed changed during the trial",)


def test_a_trial_that_has_come_to_fail_is_worse():
    before = run()
    after = [*run(seeds=range(4)), evidence(4, status=Status.TIMEOUT)]
    (ending,) = compare(before, after).endings
    assert (ending.seed, ending.first, ending.second, ending.outcome) == (4, Status.OK, Status.TIMEOUT, Outcome.WORSE)
    assert compare(after, before).endings[0].outcome is Outcome.BETTER
    assert compare(before, after).outcomes[Outcome.WORSE] == 1
    assert all(change.seeds == (0, 1, 2, 3) for change in compare(before, after).changes)


def test_what_differs_in_the_environment_comes_with_it():
    newer = ENVIRONMENT | {"packages": ENVIRONMENT["packages"] | {"torch": "3.0"}}
    assert compare(run(), run(environment=newer)).environment_changes == {"packages.torch": ("2.0", "3.0")}


def test_trials_of_one_run_alone_are_counted():
    found = compare(run(), [*run(seeds=range(3)), *run(solver="rk4", rtol=None, atol=None, seeds=range(2))])
    assert found.only == (2, 2)
    assert {change.seeds for change in found.changes} == {(0, 1, 2)}


def test_runs_without_a_common_trial_are_refused_with_what_they_differ_in():
    with pytest.raises(BadInput, match=r"no trial in common: threads 1 / 2"):
        compare(run(), run(threads=2))


def test_configurations_are_told_by_what_they_differ_in():
    both = [*run(rtol=1e-3), *run(rtol=1e-5)]
    assert {change.configuration for change in compare(both, both).changes} == {"rtol 0.001", "rtol 1e-5"}


def test_what_none_stands_for_has_a_name():
    both = [*run(), *run(compile="field")]
    assert {change.configuration for change in compare(both, both).changes} == {"compile eager", "compile field"}


def test_differences_that_are_equal_to_the_last_digit_are_no_certainty():
    """A share of a thousand images moves by a thousandth in each of two seeds; a page of memory comes from nothing."""
    before = [evidence(seed, metrics={"test_error": 5.0}, costs={"process_peak_bytes": 0}) for seed in SEEDS]
    after = [evidence(seed, metrics={"test_error": 5.1}, costs={"process_peak_bytes": 4096}) for seed in SEEDS]
    assert outcomes(compare(before, after)) == {"test_error": Outcome.DIFFERENT, "process_peak_bytes": Outcome.SAME}


def test_runs_without_a_common_seed_have_no_common_trial():
    with pytest.raises(BadInput, match="no trial in common: seed 0 / 2"):
        compare(run(seeds=range(2)), run(seeds=range(2, 4)))


def test_environment_changes_are_those_of_the_same_seed():
    """A synthetic set is another one for each seed: that is no change."""
    first = [evidence(seed, costs={"nfe_forward": 1}, data=str(seed) * 64) for seed in range(3)]
    second = [evidence(seed, costs={"nfe_forward": 1}, data=str(seed) * 64) for seed in range(1, 4)]
    assert compare(first, second).environment_changes == {}


def test_p_values_are_corrected_for_the_number_of_tests():
    """A change that one test alone would call worse is none where twenty such tests were made (Holm 1979)."""
    wobble = (0.99, 1.0, 1.01, 1.02, 1.03)

    def runs(count):
        return (
            [
                evidence(seed, rtol=10.0**-power, costs={"step_seconds": 1.0 if before else 1.065 * wobble[seed]})
                for power in range(1, count + 1)
                for seed in SEEDS
            ]
            for before in (True, False)
        )

    noise = {"step_seconds": Noise(0.01, 50, 0.0, 50)}
    (alone,) = compare(*runs(1), noise).changes
    many = compare(*runs(20), noise).changes
    assert len(many) == 20
    assert {one.shift.p for one in many} == {alone.shift.p}
    assert 0.05 / 20 < alone.shift.p < 0.05
    assert (alone.outcome, alone.p_corrected) == (Outcome.WORSE, pytest.approx(alone.shift.p))
    assert {one.outcome for one in many} == {Outcome.SAME}
    assert [one.p_corrected for one in many] == pytest.approx([min(1.0, 20 * alone.shift.p)] * 20)


WITHIN, BETWEEN = 0.05, 0.06


def simulated(random, size, change=1.0, configurations=4):
    """A run of several configurations on a machine of known noise; what the run as a whole has, all of them have."""
    whole = random.normal(0, BETWEEN)
    return [
        evidence(seed, rtol=10.0 ** -(3 + i), costs={"step_seconds": change * np.exp(whole + random.normal(0, WITHIN))})
        for i in range(configurations)
        for seed in range(size)
    ]


def alarms(size, noise, turns=100, change=1.0):
    """In how many of a hundred comparisons something was called worse, or better."""
    random = np.random.default_rng(0)
    called = 0
    for _ in range(turns):
        found = compare(simulated(random, size), simulated(random, size, change), noise)
        called += any(one.outcome in (Outcome.WORSE, Outcome.BETTER) for one in found.changes)
    return called


# More alarms than this in a hundred comparisons would happen once in a thousand times at the level of 5 %.
MOST = int(stats.binom.isf(0.001, 100, 0.05))


@pytest.mark.parametrize("size", [3, 5])
def test_runs_alike_raise_no_more_alarms_than_stated(size):
    """Over the whole table of a comparison, on a machine whose noise is known."""
    known = {"step_seconds": Noise(WITHIN, 60, BETWEEN, 20)}
    assert alarms(size, known) <= MOST
    assert alarms(size, known, change=1.5) > 90  # and it is no test that never sees anything


def test_without_what_runs_differ_by_as_a_whole_there_would_be_too_many():
    """The alarm that the model of the noise is there to prevent."""
    deaf = {"step_seconds": Noise(WITHIN, 60, 0.0, 20)}
    assert alarms(5, deaf) > MOST
