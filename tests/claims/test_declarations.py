"""Every declaration and its studies fit each other: no arm waits for trials that nothing runs."""

import pytest

from nodebench.analysis.study_membership import is_at
from nodebench.claims import all_claims
from nodebench.claims.freeze import extends, frozen_declarations
from nodebench.settle.required_trials import asked, axes_of, contents_of, studies_of

CLAIMS = all_claims()


@pytest.mark.parametrize("claim", CLAIMS, ids=[claim.name for claim in CLAIMS])
def test_every_arm_finds_trials_in_the_studies_of_its_claim(claim):
    if not claim.studies:
        assert claim.kind == "identity"
        return
    trials = [axes_of(one.trial) for study in studies_of(claim) for one in asked(claim, study)]
    missing = [arm.name for arm in claim.arms if not any(is_at(trial, arm.where) for trial in trials)]
    assert not missing


@pytest.mark.parametrize("claim", CLAIMS, ids=[claim.name for claim in CLAIMS])
def test_the_studies_still_ask_for_the_frozen_trials(claim):
    """What is added to a study for its page, such as an explicit first step, changes nothing of what was frozen."""
    frozen = frozen_declarations().claims[claim.name].contents
    assert extends(frozen, contents_of(claim))
    trials = [axes_of(one.trial) for study in studies_of(claim) for one in asked(claim, study)]
    assert all(any(content.holds(trial) for content in frozen) for trial in trials)


@pytest.mark.parametrize("claim", CLAIMS, ids=[claim.name for claim in CLAIMS])
def test_no_arm_reads_networks_that_were_trained_for_longer_beside_others(claim):
    """Under one condition all digits were seen equally often; bytes do not depend on it."""
    trials = [axes_of(one.trial) for study in studies_of(claim) for one in asked(claim, study)]
    for part in claim.every_part:
        for arm in () if part.reading.exact else part.arms:
            seen: dict[tuple[object, ...], set[tuple[object, object]]] = {}
            for trial in trials:
                if trial["task"] == "mnist" and arm.reads(trial):
                    condition = tuple(trial[axis] for axis in (*part.conditions, *part.along))
                    seen.setdefault(condition, set()).add((trial["epochs"], trial["train_images"]))
            assert all(len(trainings) == 1 for trainings in seen.values()), (part.label or part.words, seen)
