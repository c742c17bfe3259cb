"""Records find their claims by what they are, never by the name of a run or a study."""

import math
from dataclasses import replace

import pytest
from evidence import claim, evidence

from nodebench.analysis.readings import final
from nodebench.claims import Verdict, judge
from nodebench.claims.content import Content, content_of
from nodebench.claims.contract import Arm, Part
from nodebench.claims.freeze import Frozen, FrozenClaim, Hash

LOSS = Part("{}", final("test_loss"), Arm("small", {"model": "small"}), supports=(-math.inf, 1.0))
OPTIONS = {"epochs": 5, "noise": 0.0}


def axes(**changes) -> dict:
    record = evidence(options=OPTIONS)
    trial = record.trial.model_dump(mode="json", exclude={"overrides"})
    return trial | OPTIONS | changes


def frozen(*contents: Content) -> Frozen:
    history = (Hash(hash="0", date="2026-01-01"),)
    return Frozen(claims={"planted (default)": FrozenClaim(history=history, contents=contents)})


def losses(n: int = 5, loss: float = 0.5, **changes) -> list:
    return [evidence(s, metrics={"test_loss": loss + s / 100}, **({"options": OPTIONS} | changes)) for s in range(n)]


ASKED = content_of([axes(rtol=1e-3), axes(rtol=1e-5)], {"epochs": 1, "noise": 0.0})


def judged(records, content=ASKED):
    return judge([claim(LOSS)], records, (), frozen(content))[0]


def test_a_record_is_read_if_its_axes_and_options_are_those_asked_for():
    assert judged(losses()).verdict is Verdict.SUPPORTED
    assert judged(losses(rtol=1e-5)).verdict is Verdict.SUPPORTED


@pytest.mark.parametrize(
    "changes",
    [
        {"rtol": 1e-4},
        {"options": OPTIONS | {"epochs": 1}},
        {"options": OPTIONS | {"noise": 0.5}},
        {"options": OPTIONS | {"more": 1}},
        {"overrides": {"epochs": 1}},
        {"dtype": "float64"},
        {"device": "cuda:0"},
    ],
)
def test_a_record_of_other_content_is_not_read(changes):
    assert judged(losses(**changes)).verdict is Verdict.NOT_TESTED


def test_a_users_study_of_the_same_name_changes_no_verdict():
    mine = losses(20, loss=9.0, study="toys", options=OPTIONS | {"epochs": 1})
    assert judged([*losses(), *mine]) == judged(losses())


def test_the_name_of_the_study_and_the_number_of_threads_do_not_matter():
    assert judged(losses(study="mine", threads=2)).verdict is Verdict.SUPPORTED
    assert judged(losses(study=None)).verdict is Verdict.SUPPORTED


def test_an_option_that_a_record_is_too_old_to_have_counts_as_neutral():
    later = content_of([axes(stable=False)], {"epochs": 1, "noise": 0.0, "stable": False})
    assert judged(losses(), later).verdict is Verdict.SUPPORTED
    changed = content_of([axes(stable=True)], {"epochs": 1, "noise": 0.0, "stable": False})
    assert judged(losses(), changed).verdict is Verdict.NOT_TESTED


@pytest.mark.parametrize("new", [{"noise": 0.0}, {"noise": 0.0, "penalty": None}])
def test_records_from_before_and_after_an_option_are_replicates_of_one_setting(new):
    before = losses(3, options={"epochs": 5})
    after = [evidence(s, metrics={"test_loss": 0.5 + s / 100}, options={"epochs": 5, **new}) for s in (3, 4)]
    result = judged([*before, *after])
    assert result.conditions[0].n == 5
    assert not [note for one in result.results for note in one.sample.notes if "different settings" in str(note)]


def test_a_claim_that_was_not_frozen_reads_what_its_arms_name():
    assert judge([claim(LOSS)], losses(options={"anything": 1}))[0].verdict is Verdict.SUPPORTED


def test_records_of_an_accelerator_count_for_a_claim_that_holds_on_any_device():
    anywhere = replace(claim(LOSS), any_device=True)
    found = judge([anywhere], losses(device="cuda:0"), (), frozen(ASKED))[0]
    assert found.verdict is Verdict.SUPPORTED
    assert judge([anywhere], losses(device="cuda:0", rtol=1e-4), (), frozen(ASKED))[0].verdict is Verdict.NOT_TESTED


def test_replicates_of_two_devices_are_not_pooled():
    anywhere = replace(claim(LOSS), any_device=True)
    on_cpu = [one for one in losses(8) if one.trial.seed >= 5]
    found = judge([anywhere], [*losses(5, device="cuda:0"), *on_cpu], (), frozen(ASKED))[0]
    assert len(found.results[0].sample.values) == 5


def test_the_arms_of_a_replicate_ran_on_one_device():
    other = replace(LOSS, against=Arm("large", {"model": "large"}), combine="difference", supports=(-1.0, 1.0))
    arms = [*losses(5, device="cuda:0"), *losses(5, model="large")]
    asked = content_of([axes(model=model) for model in ("small", "large")], {"epochs": 1, "noise": 0.0})
    apart = judge([replace(claim(other), any_device=True)], arms, (), frozen(asked))[0]
    assert not apart.results[0].sample.values
    together = judge(
        [replace(claim(other), any_device=True)], [*losses(5), *losses(5, model="large")], (), frozen(asked)
    )[0]
    assert len(together.results[0].sample.values) == 5


def test_an_option_with_a_list_of_values_harms_no_verdict():
    listed = losses(1, options={"widths": [1, 2]})
    assert judged([*losses(), *listed]).verdict is Verdict.SUPPORTED


def test_contents_say_what_trials_have_in_common_and_what_differs():
    assert ASKED.varied == {"rtol": [1e-3, 1e-5]}
    assert ASKED.fixed["epochs"] == 5
    assert "seed" not in ASKED.fixed
    assert "threads" not in ASKED.fixed


def test_options_are_filled_in_one_order_whatever_the_hashes_of_their_names():
    names = [f"option{i}" for i in range(20)]
    content = content_of([{"task": "toy/spiral", **dict.fromkeys(names, 1)}], dict.fromkeys(reversed(names), 1))
    assert list(content.filled({})) == sorted(names)
