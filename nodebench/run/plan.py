"""Which trials a study means, and in which order they run."""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from nodebench.errors import BadInput
from nodebench.run.baseline import baseline_of
from nodebench.run.multiply import product_of, refuse_more_than_most
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
        BadInput: a grid cannot be run, or there are too many trials; see ``product_of``.
    """
    found: dict[tuple[str, int], Trial] = {}
    groups: dict[tuple[str, int], tuple[str, ...]] = {}
    baselines: dict[tuple[str, int], Trial] = {}
    left_out: dict[str, None] = {}
    for name, grid in study.groups.items():
        try:
            # In a study of several tasks the folder is for those that read one; typed for one that does not, it is
            # refused.
            reads = not study.name or find_task(grid.task).datasets
            one = product_of(grid, study.data if reads else DataSource(), elsewhere)
            refuse_more_than_most(len(found) + len(one.configurations) * len(one.seeds))
        except BadInput as error:
            raise BadInput(f"group {name}: {error}" if study.name else str(error)) from None
        left_out |= dict.fromkeys(one.left_out)
        for configuration, trial in one:
            key = configuration, trial.seed
            found.setdefault(key, trial)
            groups[key] = (*groups.get(key, ()), name)
            if grid.against:
                baseline = _baseline(trial, grid.against, name)
                if baselines.setdefault(key, baseline) != baseline:
                    asked = ", ".join(groups[key])
                    raise BadInput(f"groups {asked}: they have trial {trial.id} with different baselines ('against')")
    planned = [
        Planned(trial, groups[key], place, _request(study, baselines.get(key)))
        for place, (key, trial) in enumerate(found.items())
    ]
    return Plan(_shuffled(planned, study.order), list(left_out))


def _request(study: Study, baseline: Trial | None) -> Request:
    return Request(passes=study.passes, against=baseline, attempts=ATTEMPTS if study.timing else 1)


def _baseline(trial: Trial, against: Mapping[str, Scalar], group: str) -> Trial:
    """The baseline arm of a trial."""
    try:
        return baseline_of(trial, against)
    except BadInput as error:
        raise BadInput(f"group {group}: {error}") from None


def _shuffled(planned: list[Planned], order: int) -> list[Planned]:
    blocks: dict[int, list[Planned]] = {}
    for one in planned:
        blocks.setdefault(one.trial.seed, []).append(one)
    for seed, block in blocks.items():
        Random(f"{order} {seed}").shuffle(block)
    return [one for block in blocks.values() for one in block]
