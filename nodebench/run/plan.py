"""Which trials a study means, and in which order they run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from nodebench.errors import BadInput
from nodebench.run.multiply import baseline_of, multiply
from nodebench.spec import EVERYTHING, DataSource, Request, Study, Trial
from nodebench.spec.request import ATTEMPTS
from nodebench.spec.trial import Scalar
from nodebench.tasks import find_task


@dataclass(frozen=True)
class Planned:
    """A trial with its place in a study: the groups that ask for it, its number in their order, what is measured."""

    trial: Trial
    groups: tuple[str, ...]
    place: int
    request: Request = EVERYTHING


@dataclass(frozen=True)
class Plan:
    """The trials of a study in the order in which they run, and a sentence for each combination left out."""

    planned: list[Planned]
    left_out: list[str]

    @property
    def trials(self) -> list[Trial]:
        """The trials alone."""
        return [one.trial for one in self.planned]


def plan(study: Study, *, elsewhere: bool = False) -> Plan:
    """Multiply the grids of a study into trials.

    Seeds are outermost, so that a run that is cut short has whole replicates. Within the block of a seed the
    order is random, drawn by the study, so that a slow hour does not land on one configuration.

    Args:
        study: its grids.
        elsewhere: whether the trials run on other machines, whose devices and cores cannot be seen from here.

    Raises:
        BadInput: a grid cannot be run; see ``multiply``.
    """
    found: dict[str, Trial] = {}
    groups: dict[str, list[str]] = {}
    baselines: dict[str, Trial] = {}
    left_out: dict[str, None] = {}
    for name, grid in study.groups.items():
        try:
            # In a study of several tasks the folder is for those that read one; typed for one that does not, it is
            # refused.
            reads = not study.name or find_task(grid.task).datasets
            trials, reasons = multiply(grid, study.data if reads else DataSource(), elsewhere)
        except BadInput as error:
            raise BadInput(f"group {name}: {error}" if study.name else str(error)) from None
        left_out |= dict.fromkeys(reasons)
        for trial in trials:
            found.setdefault(trial.id, trial)
            groups.setdefault(trial.id, []).append(name)
            if grid.against:
                _add_baseline(baselines, trial, grid.against, groups[trial.id])
    planned = [
        Planned(trial, tuple(groups[id]), place, _request(study, baselines.get(id)))
        for place, (id, trial) in enumerate(found.items())
    ]
    return Plan(_shuffled(planned, study.order), list(left_out))


def _request(study: Study, baseline: Trial | None) -> Request:
    return Request(passes=study.passes, against=baseline, attempts=ATTEMPTS if study.timing else 1)


def _add_baseline(
    baselines: dict[str, Trial], trial: Trial, against: Mapping[str, Scalar], groups: Sequence[str]
) -> None:
    """Note the baseline arm of a trial, of which there is one.

    Raises:
        BadInput: there is no such trial, or another group compares the trial with another baseline.
    """
    try:
        baseline = baseline_of(trial, against)
    except BadInput as error:
        raise BadInput(f"group {groups[-1]}: {error}") from None
    if baselines.setdefault(trial.id, baseline) != baseline:
        raise BadInput(
            f"groups {', '.join(groups)}: trial {trial.id} is in all of them, with different baselines ('against')"
        )


def _shuffled(planned: list[Planned], order: int) -> list[Planned]:
    blocks: dict[int, list[Planned]] = {}
    for one in planned:
        blocks.setdefault(one.trial.seed, []).append(one)
    for seed, block in blocks.items():
        Random(f"{order} {seed}").shuffle(block)
    return [one for block in blocks.values() for one in block]
