"""The trials that a claim asks for: those trials of its studies that one of its arms reads."""

from collections.abc import Sequence
from typing import Any

from nodebench.claims.content import Content, content_of
from nodebench.claims.contract import Arm, Claim
from nodebench.run.multiply import described, options_of
from nodebench.run.plan import Planned, plan
from nodebench.spec import DataSource, Preset, Study, Trial, load_study
from nodebench.tasks import find_task


def axes_of(trial: Trial) -> dict[str, Any]:
    """The axes of a trial and all options of its task, defaults filled in."""
    return trial.model_dump(mode="json", exclude={"overrides"}) | options_of(trial).model_dump(mode="json")


def arms_of(claim: Claim) -> list[Arm]:
    """Every arm of a claim: of its parts, its controls and its gate."""
    gates = [claim.gate.baseline] if claim.gate and claim.gate.baseline else []
    return [*(arm for part in claim.every_part for arm in part.arms), *gates]


def studies_of(claim: Claim) -> list[Study]:
    """The studies of a claim at its scale, one group each, with data sets that need not be there yet."""
    found = []
    for name in claim.studies:
        study = load_study(name, Preset(claim.preset))
        for group, grid in study.groups.items():
            source = DataSource(download=bool(grid.dataset))
            found.append(study.model_copy(update={"groups": {group: grid}, "data": source}))
    return found


def asked(claim: Claim, study: Study) -> list[Planned]:
    """The trials of a study that an arm of a claim reads."""
    arms = arms_of(claim)
    planned = plan(study, elsewhere=True).planned
    return [one for one in planned if any(arm.reads(axes_of(one.trial)) for arm in arms)]


def contents_of(claim: Claim) -> list[Content]:
    """The content of the trials that a claim asks for, one entry for each group of its studies that has any."""
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
