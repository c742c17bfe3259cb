"""What a run says of its trials on the way."""

import pytest
from evidence import BASE, DIFFERING, evidence

from nodebench.cli.progress import make_display
from nodebench.run.estimate import Costs
from nodebench.run.worker import Progress
from nodebench.spec import Trial


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
