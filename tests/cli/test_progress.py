"""What a run says of its trials on the way."""

import pytest
from evidence import BASE, DIFFERING, evidence

from nodebench.cli.progress import make_display
from nodebench.running.estimate import Costs
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
