"""Expand a study into trials, in the order in which they run."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from random import Random

from nodebench.errors import BadInput
from nodebench.running.baseline import baseline_of
from nodebench.running.expand import Expansion, expand_configurations, refuse_more_than_most
from nodebench.spec import EVERYTHING, DataSource, Request, Study, Trial
from nodebench.spec.request import attempts
from nodebench.spec.trial import Scalar
from nodebench.tasks import find_task


@dataclass(frozen=True, slots=True)
class Planned:
    """A trial and its position in a study. ``trial`` is created on access, since a study may have a million trials.

    Attributes:
        configuration: the trial with an arbitrary seed.
        seed: seed of the trial.
        groups: groups that contain the trial.
        place: position of the trial in the order of the study's file.
        asked: what is measured; its baseline arm has an arbitrary seed.
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
        """Return the same trial without reruns after a change of the machine's speed; use it if times do not matter."""
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
    """Expand the grids of a study into trials.

    The outermost loop is over seeds, so that an interrupted run has complete replicates. The trials of one seed run in
    random order, seeded by ``study.order``, so that a slow hour does not affect one configuration only.

    Args:
        study: the study.
        elsewhere: whether the trials run on other machines, whose devices and cores cannot be seen from here.

    Raises:
        BadInput: a grid cannot be run, or there are too many trials; see ``expand_configurations``.
    """
    configurations: dict[str, Trial] = {}
    groups: dict[_Key, tuple[str, ...]] = {}
    requests: dict[_Key, Request] = {}
    left_out: dict[str, None] = {}
    for name, grid in study.groups.items():
        try:
            # In a study, the data folder applies only to tasks that read data. On the command line, a data folder for
            # another task is an error.
            reads = not study.name or find_task(grid.task).datasets
            one = expand_configurations(grid, study.data if reads else DataSource(), elsewhere)
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
    found: Expansion,
    groups: dict[_Key, tuple[str, ...]],
    compared: Mapping[str, Request],
    requests: dict[_Key, Request],
) -> None:
    """Add the trials of a group to those of the previous groups.

    Args:
        name: name of the group.
        found: trials of the group.
        groups: names of the groups of each trial; updated in place.
        compared: request of each configuration of the group; empty if the group has no baseline arm.
        requests: request of each trial with a baseline arm; updated in place.

    Raises:
        BadInput: another group has the same trial with a different baseline arm.
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
