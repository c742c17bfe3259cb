"""Which trials a study means, and in which order they run."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from random import Random

from nodebench.errors import BadInput
from nodebench.running.baseline import baseline_of
from nodebench.running.multiply import Product, product_of, refuse_more_than_most
from nodebench.spec import EVERYTHING, DataSource, Request, Study, Trial
from nodebench.spec.request import attempts
from nodebench.spec.trial import Scalar
from nodebench.tasks import find_task


@dataclass(frozen=True, slots=True)
class Planned:
    """A trial with its place in a study. The trial itself is made when it is asked for: a study may have a million.

    Attributes:
        configuration: the trial at any seed.
        seed: of the trial.
        groups: that ask for it.
        place: its number in their order.
        asked: what is measured; the baseline arm is at any seed.
    """

    configuration: Trial
    seed: int
    groups: tuple[str, ...]
    place: int
    asked: Request = EVERYTHING

    @property
    def trial(self) -> Trial:
        """The trial."""
        return self.configuration.model_copy(update={"seed": self.seed})

    @property
    def request(self) -> Request:
        """What is measured of the trial, with the baseline arm of its seed."""
        if self.asked.against is None:
            return self.asked
        return self.asked.model_copy(update={"against": self.asked.against.model_copy(update={"seed": self.seed})})

    def once(self) -> "Planned":
        """The same trial, which does not run again if the speed of the machine changes: its times are not read."""
        return replace(self, asked=self.asked.model_copy(update={"attempts": 1}))


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
    configurations: dict[str, Trial] = {}
    groups: dict[_Key, tuple[str, ...]] = {}
    requests: dict[_Key, Request] = {}
    left_out: dict[str, None] = {}
    for name, grid in study.groups.items():
        try:
            # In a study of several tasks the folder is for those that read one; typed for one that does not, it is
            # refused.
            reads = not study.name or find_task(grid.task).datasets
            one = product_of(grid, study.data if reads else DataSource(), elsewhere)
            refuse_more_than_most(len(groups) + len(one.configurations) * len(one.seeds))
        except BadInput as error:
            raise BadInput(f"group {name}: {error}" if study.name else str(error)) from None
        left_out |= dict.fromkeys(one.left_out)
        configurations |= one.configurations
        arms = one.configurations if grid.against else {}
        compared = {id: _request(study, _baseline(arm, grid.against, name)) for id, arm in arms.items()}
        _add(name, one, groups, compared, requests)
    plain = _request(study, None)
    planned = [
        Planned(configurations[key[0]], key[1], names, place, requests.get(key, plain))
        for place, (key, names) in enumerate(groups.items())
    ]
    return Plan(_shuffled(planned, study.order), list(left_out))


# The id of a configuration, and a seed.
_Key = tuple[str, int]


def _add(
    name: str,
    found: Product,
    groups: dict[_Key, tuple[str, ...]],
    compared: Mapping[str, Request],
    requests: dict[_Key, Request],
) -> None:
    """Add the trials of a group to those of the groups before it.

    Args:
        name: of the group.
        found: its trials.
        groups: by trial, filled in.
        compared: what is measured of each configuration of the group, where it has a baseline arm.
        requests: the same of each trial that has one, filled in.

    Raises:
        BadInput: another group has one of the trials with another baseline arm.
    """
    alone = (name,)
    for seed, id in product(found.seeds, found.configurations):
        key = id, seed
        groups[key] = (*groups[key], name) if key in groups else alone
        if compared and requests.setdefault(key, compared[id]) != compared[id]:
            trial = found.configurations[id].model_copy(update={"seed": seed})
            asked = ", ".join(groups[key])
            raise BadInput(f"groups {asked}: they have trial {trial.id} with different baselines ('against')")


def _request(study: Study, baseline: Trial | None) -> Request:
    return Request(passes=study.passes, against=baseline, attempts=attempts() if study.timing else 1)


def _baseline(trial: Trial, against: Mapping[str, Scalar], group: str) -> Trial:
    """The baseline arm of a trial."""
    try:
        return baseline_of(trial, against)
    except BadInput as error:
        raise BadInput(f"group {group}: {error}") from None


def _shuffled(planned: list[Planned], order: int) -> list[Planned]:
    blocks: dict[int, list[Planned]] = {}
    for one in planned:
        blocks.setdefault(one.seed, []).append(one)
    for seed, block in blocks.items():
        Random(f"{order} {seed}").shuffle(block)
    return [one for block in blocks.values() for one in block]
