"""Select the trials that a claim needs: the trials of its studies that at least one of its arms reads."""

from collections.abc import Sequence
from typing import Any

from nodebench.claims.content import Content, content_of
from nodebench.claims.contract import Claim
from nodebench.running.plan import Planned, plan
from nodebench.spec import DataSource, Preset, Study, Trial, load_study
from nodebench.tasks import find_task
from nodebench.trial.options import described, options_of


def axes_of(trial: Trial) -> dict[str, Any]:
    """The axes of a trial and all options of its task, defaults filled in."""
    return trial.model_dump(mode="json", exclude={"overrides"}) | options_of(trial).model_dump(mode="json")


def studies_of(claim: Claim) -> list[Study]:
    """Return the studies of a claim at its preset, split into one per group. Their data sets may be missing."""
    found = []
    for name in claim.studies:
        study = load_study(name, Preset(claim.preset))
        for group, grid in study.groups.items():
            source = DataSource(download=bool(grid.dataset))
            found.append(study.model_copy(update={"groups": {group: grid}, "data": source}))
    return found


def asked(claim: Claim, study: Study) -> list[Planned]:
    """Return the trials of a study that at least one arm of a claim reads."""
    planned, arms = plan(study, elsewhere=True).planned, claim.arms
    return [one for one in planned if any(arm.reads(axes_of(one.trial)) for arm in arms)]


def contents_of(claim: Claim) -> list[Content]:
    """Return the content of the trials that a claim needs: one entry per study group that has any of them."""
    found = []
    for study in studies_of(claim):
        first_seed = {name: grid.model_copy(update={"seed": grid.seed[:1]}) for name, grid in study.groups.items()}
        trials = [one.trial for one in asked(claim, study.model_copy(update={"groups": first_seed}))]
        if trials:
            task = find_task(trials[0].task)
            neutral = described(task, task.options.model_construct(), "json")  # an option may have no default
            found.append(content_of([axes_of(trial) for trial in trials], neutral))
    return found


def contents(claims: Sequence[Claim]) -> dict[str, list[Content]]:
    """The contents of several claims, by name."""
    return {claim.name: contents_of(claim) for claim in claims}
