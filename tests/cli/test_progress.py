"""What a run says of its trials on the way."""

import pytest
from evidence import BASE, DIFFERING, evidence

from nodebench.cli.progress import make_display
from nodebench.running.estimate import Costs
from nodebench.spec import Trial
from nodebench.trial.worker import Progress


@pytest.mark.parametrize("axis", DIFFERING)
def test_times_of_trials_that_differ_in_one_axis_are_told_apart(axis, capsys):
    records = [
        evidence(**axes).model_copy(update={"duration_seconds": seconds})
        for axes, seconds in ((BASE, 1.0), (BASE | {axis: DIFFERING[axis]}, 9.0))
    ]
    display = make_display([Trial.model_validate(r.trial) for r in records], Costs(), json=False, quiet=True)
    for record in records:
        display.finished(record)
    assert [seconds for _, seconds in display.slowest()] == [9.0, 1.0]


def test_a_notice_of_a_trial_is_told_with_the_trial(capsys):
    trial = Trial.model_validate(evidence(**BASE).trial)
    with make_display([trial], Costs(), json=False, quiet=False) as display:
        display.progress(trial, Progress("setup", notice="goes on from its checkpoint"))
    told = [line for line in capsys.readouterr().err.splitlines() if "goes on from its checkpoint" in line]
    assert len(told) == 1
    assert display.describe(trial) in told[0]


def test_the_name_of_a_trial_leaves_out_an_axis_that_it_does_not_have(capsys):
    records = [evidence(**BASE), evidence(**BASE | {"dataset": "ecgsyn"})]
    trials = [
        Trial.model_validate(record.trial).model_copy(update={"dataset": name})
        for record, name in zip(records, (None, "ecgsyn"), strict=True)
    ]
    display = make_display(trials, Costs(), json=False, quiet=True)
    assert "data set" not in display.describe(trials[0])
    assert "data set ecgsyn" in display.describe(trials[1])
