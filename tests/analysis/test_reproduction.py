"""A record and the one that its trial gave again."""

import math

import pytest
from evidence import ENVIRONMENT, evidence

from nodebench.analysis.environment_diff import changes, describe_changes, reaching
from nodebench.analysis.noise import Noise
from nodebench.analysis.reproduction import ReproductionOutcome, reproduction
from nodebench.spec import Status
from nodebench.spec.metrics import Kind

RECORD = evidence(costs={"nfe_forward": 20, "step_seconds": 1.0}, metrics={"trajectory_error": 0.1})
REPLICATES = [
    evidence(seed, costs={"step_seconds": step}, metrics={"trajectory_error": error})
    for seed, (step, error) in enumerate([(1.0, 0.10), (1.1, 0.12), (0.9, 0.08), (1.05, 0.11), (0.95, 0.09)])
]


def again(environment=ENVIRONMENT, nfe=20, step=1.0, error=0.1, **changes):
    costs = {"nfe_forward": nfe, "step_seconds": step}
    return evidence(costs=costs, metrics={"trajectory_error": error}, environment=environment, **changes)


def outcomes(found):
    return {one.metric.name: one.outcome for one in found.metrics}


def test_the_same_again_is_identical_and_its_time_within_the_interval():
    found = reproduction(RECORD, again(step=1.07), REPLICATES)
    assert outcomes(found) == {
        "nfe_forward": ReproductionOutcome.IDENTICAL,
        "trajectory_error": ReproductionOutcome.IDENTICAL,
        "step_seconds": ReproductionOutcome.WITHIN,
    }
    assert found.unexplained == []
    assert found.same_end
    assert outcomes(reproduction(RECORD, RECORD, REPLICATES))["step_seconds"] is ReproductionOutcome.IDENTICAL


def test_another_count_in_the_same_environment_is_unexplained():
    found = reproduction(RECORD, again(nfe=21), REPLICATES)
    assert outcomes(found)["nfe_forward"] is ReproductionOutcome.DIFFERENT
    assert [one.metric.name for one in found.unexplained] == ["nfe_forward"]


def test_a_change_of_version_explains_what_it_reaches():
    newer = ENVIRONMENT | {"packages": ENVIRONMENT["packages"] | {"torch": "3.0"}}
    found = reproduction(RECORD, again(newer, nfe=21), REPLICATES)
    (different,) = [one for one in found.metrics if one.outcome is ReproductionOutcome.DIFFERENT]
    assert different.explained_by == {"packages.torch": ("2.0", "3.0")}
    assert found.unexplained == []


def test_a_library_that_the_trial_does_not_use_explains_nothing():
    newer = ENVIRONMENT | {"packages": ENVIRONMENT["packages"] | {"diffrax": "1.0"}}
    assert reproduction(RECORD, again(newer, nfe=21), REPLICATES).unexplained
    with_it = reproduction(
        evidence(solver="diffrax:tsit5", costs={"nfe_forward": 20}),
        evidence(solver="diffrax:tsit5", costs={"nfe_forward": 21}, environment=newer),
        [],
    )
    assert with_it.unexplained == []


def test_the_load_of_the_machine_explains_times_and_no_counts():
    found = changes(RECORD, again(ENVIRONMENT | {"governor": "powersave"}))
    assert describe_changes(found) == "governor – → powersave"
    assert reaching(found, Kind.SAMPLED, RECORD.trial) == found
    assert reaching(found, Kind.COUNTED, RECORD.trial) == {}


def test_other_data_explain_what_was_learned():
    first, second = evidence(data="a" * 64, metrics={"x": 1.0}), evidence(data="b" * 64, metrics={"x": 2.0})
    assert reproduction(first, second, []).metrics[0].explained_by == {"data": ("a" * 12, "b" * 12)}


def test_a_time_far_outside_is_different_and_with_few_replicates_nothing_is_said():
    far = reproduction(RECORD, again(step=3.0), REPLICATES)
    assert outcomes(far)["step_seconds"] is ReproductionOutcome.DIFFERENT
    assert far.unexplained == []  # a busy machine is in no record
    assert (
        outcomes(reproduction(RECORD, again(step=3.0), REPLICATES[:2]))["step_seconds"] is ReproductionOutcome.UNKNOWN
    )


def test_the_noise_of_the_machine_goes_before_the_replicates():
    noise = {"step_seconds": Noise(0.03, 10**6, 0.04, 10**6)}
    found = reproduction(RECORD, again(step=1.17), REPLICATES, noise)
    (step,) = [one for one in found.metrics if one.metric.name == "step_seconds"]
    assert step.outcome is ReproductionOutcome.DIFFERENT
    half = 1.96 * math.sqrt(2) * 0.05  # both deviations, of both trials
    assert step.interval == pytest.approx((math.exp(-half), math.exp(half)), rel=1e-3)


def test_another_end_is_told():
    assert not reproduction(RECORD, again(status=Status.TIMEOUT), REPLICATES).same_end


def test_another_installation_of_one_version_differs_where_both_are_known():
    def made(**changes):
        return evidence(environment=ENVIRONMENT | changes)

    index, head = ({"identities": {"torchdiffeq": name, "diffrax": "files:1"}} for name in ("files:12", "git:34"))
    found = changes(made(**index), made(**head))
    assert found == {"identities.torchdiffeq": ("files:12", "git:34")}
    assert describe_changes(found) == "identities.torchdiffeq files:12 → git:34"
    for kind in Kind:
        assert reaching(found, kind, evidence().trial) == found
    other = changes(made(identities={"diffrax": "files:2"}), made(**index))
    assert reaching(other, Kind.SAMPLED, evidence().trial) == {}
    assert reaching(other, Kind.COMPUTED, evidence(solver="diffrax:tsit5").trial) == other
    # Older records do not know: that is no difference.
    assert changes(made(), made(**head, blas="mkl")) == {}
    assert changes(made(blas="openblas"), made(blas="mkl")) == {"blas": ("openblas", "mkl")}
    # Of the processor they have a name that others share: that may be why a last digit differs.
    processor = changes(made(), made(microarchitecture="family 25 model 1, AVX2"))
    assert reaching(processor, Kind.COMPUTED, evidence().trial) == processor != {}


def test_another_version_or_commit_of_a_plugin_differs():
    def made(**plugin):
        return evidence(environment=ENVIRONMENT | {"plugins": {"odd": {"version": "1", **plugin}}})

    first, second = made(commit="a" * 40, identity="git:" + "a" * 40), made(commit="b" * 40, identity="git:" + "b" * 40)
    found = changes(first, second)
    assert describe_changes(found) == (
        "plugins.odd.commit aaaaaaaa → bbbbbbbb, plugins.odd.identity git:aaaaaaaa → git:bbbbbbbb"
    )
    assert reaching(found, Kind.COUNTED, evidence().trial) == found
