"""Planted costs: the fastest that meets the limits is named, and each of the others has its reason."""

import pytest
from evidence import ENVIRONMENT, evidence

from nodebench.analysis import recommend as analysis
from nodebench.analysis.recommend import CandidateStatus, Limits, Options, Present, Problem, by_machine, problems
from nodebench.spec import Status

# By gradient: error, seconds, bytes.
PLANTED = {
    "direct": (1e-4, 1.0, 400e6),
    "checkpoint": (1e-4, 1.5, 100e6),
    "adjoint": (1e-2, 2.0, 50e6),
    "adjoint-seminorm": (2e-2, 2.5, 60e6),
}


def records(seeds=3, **changes):
    return [
        evidence(
            seed,
            gradient=gradient,
            costs={
                "gradient_error": error,
                "step_seconds": seconds * (1 + 0.03 * seed),
                "tensor_peak_bytes": peak,
            },
            **changes,
        )
        for seed in range(seeds)
        for gradient, (error, seconds, peak) in PLANTED.items()
    ]


def recommend(records, limits):
    return analysis.recommend(Problem(records, Options.DEFAULT), limits)


def statuses(answer):
    return {one.record.trial.gradient.value: one.status for one in answer.candidates}


def why(answer, gradient):
    return next(one.why for one in answer.candidates if one.record.trial.gradient == gradient)


def test_without_limits_the_fastest_is_named_and_the_front_kept():
    answer = recommend(records(), Limits())
    assert answer.choice.record.trial.gradient == "direct"
    assert statuses(answer) == {
        "direct": CandidateStatus.CHOSEN,
        "checkpoint": CandidateStatus.FRONT,
        "adjoint": CandidateStatus.FRONT,
        "adjoint-seminorm": CandidateStatus.BEATEN,
    }
    assert why(answer, "checkpoint").endswith("the time of the chosen one, with less memory")
    assert "adjoint is no worse" in why(answer, "adjoint-seminorm")


def test_a_limit_of_memory_leaves_the_next_fastest():
    answer = recommend(records(), Limits(error=1e-3, memory=300e6))
    assert answer.choice.record.trial.gradient == "checkpoint"
    assert why(answer, "direct") == "peak 400 MB is above the limit of 300 MB"
    assert why(answer, "adjoint") == "grad. error 0.01 is above the limit of 0.001"
    assert answer.runner_up is None


def test_the_runner_up_is_compared_seed_by_seed():
    answer = recommend(records(), Limits())
    assert answer.runner_up.record.trial.gradient == "checkpoint"
    assert answer.time_ratio.value == pytest.approx(1.5)
    assert answer.time_ratio.n == 3
    assert recommend(records(seeds=1), Limits()).time_ratio is None


def test_where_nothing_meets_the_limits_nothing_is_named():
    answer = recommend(records(), Limits(memory=1e6))
    assert answer.choice is None
    assert set(statuses(answer).values()) == {CandidateStatus.UNFIT}


def test_what_has_failed_once_is_not_named():
    found = records()
    found[0] = evidence(0, gradient="direct", status=Status.DT_UNDERFLOW)
    answer = recommend(found, Limits())
    assert statuses(answer)["direct"] is CandidateStatus.FAILED
    assert why(answer, "direct") == "1 of 3 trials failed: dt-underflow"
    assert answer.choice.record.trial.gradient == "checkpoint"


def test_memory_that_two_meters_saw_is_not_compared():
    found = records()
    jax = [
        evidence(
            seed,
            solver="diffrax:tsit5",
            gradient="checkpoint",
            costs={"gradient_error": 1e-5, "step_seconds": 0.5, "process_peak_bytes": 1e9},
        )
        for seed in range(3)
    ]
    answer = recommend([*found, *jax], Limits())
    assert answer.choice.record.trial.solver == "diffrax:tsit5"
    # It is faster and errs less; its bytes are of another meter, and so no reason to keep the others.
    assert [one.status for one in answer.candidates] == [CandidateStatus.CHOSEN, *[CandidateStatus.BEATEN] * 4]


def test_what_was_not_measured_is_no_better():
    unknown = [
        evidence(seed, gradient="direct", costs={"step_seconds": 0.1, "tensor_peak_bytes": 1e3}) for seed in range(3)
    ]
    others = [record for record in records() if record.trial.gradient != "direct"]
    answer = recommend([*unknown, *others], Limits())
    assert statuses(answer)["checkpoint"] is CandidateStatus.FRONT


def test_records_of_another_problem_are_another_answer():
    mixed = records() + records(seeds=1, overrides={"noise": 0.5}) + records(task="mnist")
    found = problems(mixed, {"task": "toy/spiral"}, Present())
    assert [len(some.records) for some in found] == [12, 4]
    assert [len(some.records) for some in problems(mixed, {"task": "toy/spiral", "noise": 0.5}, Present())] == [4]
    assert problems(mixed, {"task": "ecg"}, Present()) == []


def test_default_options_go_before_more_records_of_other_ones():
    brief = Present(brief={"epochs": 1, "train_images": 320})
    of_default = records(seeds=1)
    short = records(seeds=2, overrides={"epochs": 1, "train_images": 320})
    other = records(seeds=3, overrides={"epochs": 1, "batch_size": 8})
    small = records(seeds=4, preset="smoke")
    found = problems(small + other + short + of_default, {"task": "toy/spiral"}, brief)
    assert [(one.options, len(one.records)) for one in found] == [
        (Options.DEFAULT, 4),
        (Options.SHORT, 8),
        (Options.OTHER, 16),
        (Options.OTHER, 12),
    ]
    # An option that was asked for is no deviation.
    (first, *_) = problems(other, {"task": "toy/spiral", "epochs": 1, "batch_size": 8}, brief)
    assert first.options is Options.DEFAULT


def test_records_of_a_preset_whose_options_have_changed_are_not_of_the_defaults():
    present = Present({"epochs": 20, "noise": 0.0, "depth": 2, "gone": None}, {"depth": 2}, {"epochs": 1})

    def relation(asked=None, **recorded):
        (found,) = problems(records(1, **recorded), {"task": "toy/spiral"} | (asked or {}), present)
        return found.options, dict(found.differing)

    kept = {"epochs": 20, "noise": 0.0}
    assert relation(options=kept) == (Options.DEFAULT, {})  # made before ``depth`` existed
    assert relation(options=kept | {"epochs": 10}) == (Options.OTHER, {"epochs": (10, 20)})
    assert relation({"epochs": 10}, options=kept | {"epochs": 10}) == (Options.DEFAULT, {})
    assert relation(options=kept | {"epochs": 1}, overrides={"epochs": 1}) == (Options.SHORT, {"epochs": (1, 20)})
    assert relation(options=kept | {"old": True}) == (Options.OTHER, {"old": (True, None)})
    assert relation(options=kept | {"noise": 0.5}, overrides={"epochs": 1})[0] is Options.OTHER
    assert relation(options=kept, overrides={"epochs": 20}) == (Options.DEFAULT, {})  # the preset has moved there
    smoke = {"preset": "smoke", "options": kept | {"epochs": 3}, "overrides": {"noise": 0.1}}
    assert relation(**smoke) == (Options.OTHER, {"noise": (0.1, None)})
    assert relation(overrides={"epochs": 1}) == (Options.SHORT, {"epochs": (1, 20)})  # an old record: overrides alone


def test_records_are_sorted_by_machine():
    other = {"cpu": "another processor", "accelerator": {"name": "a card"}}
    found = by_machine(records() + records(environment=other))
    assert {name: len(some) for name, some in found.items()} == {"a processor": 12, "another processor, a card": 12}


def drifting(found, gradient, seeds):
    """The records, those of a gradient and of some seeds with a time that may not be used."""
    return [
        one.model_copy(update={"drifted": True}) if one.trial.gradient == gradient and one.trial.seed in seeds else one
        for one in found
    ]


def test_what_could_not_be_timed_is_no_loser():
    answer = recommend(drifting(records(), "direct", (0, 1, 2)), Limits(error=1e-3))
    assert statuses(answer)["direct"] is CandidateStatus.UNTIMED
    assert why(answer, "direct") == "its time was not measured: the machine's speed changed during the trial"
    assert statuses(answer)["adjoint"] is CandidateStatus.UNFIT
    assert answer.choice.record.trial.gradient == "checkpoint"
    answer = recommend(drifting(records(), "direct", (0,)), Limits())
    assert answer.choice.record.trial.gradient == "direct"
    assert answer.choice.timed == 2


def test_passes_that_disagree_are_no_lack_of_time():
    found = [one.model_copy(update={"passes_agree": False}) for one in records()]
    answer = recommend(found, Limits())
    assert set(statuses(answer).values()) == {CandidateStatus.UNFIT}
    assert why(answer, "direct") == "its passes disagree"


def test_a_time_that_may_be_used_goes_before_a_later_one_that_may_not():
    later = [one.model_copy(update={"started": "2027-01-01"}) for one in records()]
    again = drifting(later, "direct", (0, 1, 2))
    assert recommend(records() + again, Limits()).choice.timed == 3
    assert recommend(again + records(), Limits()).choice.timed == 3
    better = [one.model_copy(update={"started": "2028-01-01", "drifted": False}) for one in again]
    assert recommend(again + better, Limits()).choice.timed == 3


def test_times_of_trials_that_shared_their_cores_are_no_part_of_a_ratio():
    """As those of a machine that drifted: seed 0 of the time_ratio one says a hundred times, and may not be used."""
    found = records(seeds=4)
    spoiled = [
        one.model_copy(
            update={
                "place": one.place.model_copy(update={"shared": True}),
                "costs": one.costs | {"step_seconds": 100 * one.costs["step_seconds"]},
            }
        )
        if (one.trial.gradient, one.trial.seed) == ("checkpoint", 0)
        else one
        for one in found
    ]
    assert why(recommend(found, Limits()), "checkpoint") == why(recommend(spoiled, Limits()), "checkpoint")
    assert why(recommend(spoiled, Limits()), "checkpoint").startswith("1.5 ×")


def test_two_installations_of_a_plugin_are_two_problems_and_join_what_uses_none():
    def installed(version):
        return {**ENVIRONMENT, "plugins": {"mine": {"version": version, "commit": None, "identity": None}}}

    def of(started, solver, environment):
        return [r.model_copy(update={"started": started}) for r in records(2, solver=solver, environment=environment)]

    built_in = of("2026-01-02", "dopri5", ENVIRONMENT)
    old, new = of("2026-01-01", "mine:euler", installed("1.0")), of("2026-01-03", "mine:euler", installed("2.0"))
    first, second = problems([*old, *built_in, *new], {"task": "toy/spiral"}, Present())
    assert {id(record) for record in first.records} == {id(record) for record in [*built_in, *new]}
    assert {id(record) for record in second.records} == {id(record) for record in old}


def test_solvers_of_two_libraries_are_choices_of_one_problem():
    ours, other = records(2, solver="dopri5"), records(2, solver="torchode:dopri5")
    (problem,) = problems([*ours, *other], {"task": "toy/spiral"}, Present())
    assert {id(record) for record in problem.records} == {id(record) for record in [*ours, *other]}
