"""Every declaration and its studies fit each other: no arm waits for trials that nothing runs."""

import pytest

from nodebench.analysis.homes import is_at
from nodebench.claims import all_claims
from nodebench.settle.asked import arms_of, asked, axes_of, studies_of

CLAIMS = all_claims()


@pytest.mark.parametrize("claim", CLAIMS, ids=[claim.name for claim in CLAIMS])
def test_every_arm_finds_trials_in_the_studies_of_its_claim(claim):
    if not claim.studies:
        assert claim.kind == "identity"
        return
    trials = [axes_of(one.trial) for study in studies_of(claim) for one in asked(claim, study)]
    missing = [arm.name for arm in arms_of(claim) if not any(is_at(trial, arm.where) for trial in trials)]
    assert not missing
