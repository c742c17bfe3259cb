"""The interleaved pass: two arms of a trial in one process, in alternating blocks of training steps.

Other load, heat and frequency change the speed of a machine within seconds. They slow both blocks of a pair equally, so
the ratio of their times does not change.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy as np
import torch

from nodebench.instruments import Budget, NfeCounter, Stopwatch
from nodebench.spec import DataSource, Interleaved, Preset, Trial
from nodebench.tasks import Batch
from nodebench.trial.build import experiment_of, integrator_of
from nodebench.trial.step import next_batch, training_step

Costs = dict[str, float]  # of a training step, mean over a block
Block = Callable[[int], Costs]  # runs the block of that number

COMPARED = ("step_seconds", "forward_seconds", "backward_seconds", "nfe_forward")

# Steps of each arm before the first block, which include compilation and allocation, and subsequent timed steps, which
# determine the size of a block.
WARM_UP_STEPS = 2
SIZING_STEPS = 2


@dataclass(frozen=True)
class Schedule:
    """How long an interleaved pass measures.

    Attributes:
        block: approximate seconds of a block; a block has at least one step.
        total: approximate seconds of all blocks.
        pairs: minimum number of pairs of blocks.
    """

    block: float
    total: float
    pairs: int

    def sizes(self, step_seconds: float) -> tuple[int, int]:
        """Return the steps per block and the number of pairs for a given time per step (mean of both arms).

        The number of pairs is even: each arm comes first in half of them.
        """
        steps = max(1, round(self.block / step_seconds))
        pairs = max(self.pairs, round(self.total / (2 * steps * step_seconds)))
        return steps, pairs + pairs % 2


SCHEDULES = {
    Preset.SMOKE: Schedule(block=0.02, total=0.2, pairs=4),
    Preset.QUICK: Schedule(block=0.2, total=8.0, pairs=10),
    Preset.PAPER: Schedule(block=0.2, total=8.0, pairs=10),
}


def interleave(trial: Trial, baseline: Trial, source: DataSource, budget: Budget) -> Interleaved:
    """Train both arms from their initial weights in alternating blocks and return the ratios of their costs.

    Both arms use the seed of the trial, and so the same batches and, if the model is the same, the same initial
    weights. After its last epoch, an arm continues with its first epoch and its current weights.

    Args:
        trial: the arm that is compared.
        baseline: the arm that it is compared with.
        source: where the user's data lies.
        budget: of each solve of either arm.

    Raises:
        SolveFailed: a solve of either arm failed, or its loss is not finite.
    """
    schedule = SCHEDULES[trial.preset]
    arms = [_Arm(one, source, budget) for one in (trial, baseline)]
    for arm in arms:
        arm.take(WARM_UP_STEPS, 0)
    step_seconds = sum(arm.take(SIZING_STEPS, 0)["step_seconds"] for arm in arms) / 2
    steps, pairs = schedule.sizes(step_seconds)
    first, second = (arm.blocks_of(steps) for arm in arms)
    ratios, spread = compare(alternate(first, second, pairs))
    return Interleaved(baseline=baseline, blocks=pairs, steps=steps, ratios=ratios, spread=spread)


def alternate(arm: Block, baseline: Block, pairs: int) -> list[tuple[Costs, Costs]]:
    """Run pairs of blocks in the order A B B A and return the costs of each pair, those of ``arm`` first.

    With this order, a steady drift raises the ratio of one pair as much as it lowers the ratio of the next.
    """
    found = []
    for number in range(pairs):
        if number % 2 == 0:
            of_arm = arm(number)
            of_baseline = baseline(number)
        else:
            of_baseline = baseline(number)
            of_arm = arm(number)
        found.append((of_arm, of_baseline))
    return found


def compare(pairs: Sequence[tuple[Costs, Costs]]) -> tuple[Costs, Costs]:
    """Return the median ratio of each cost over the pairs, and half its interquartile range relative to the median.

    A cost that an arm does not have, or that is 0 in an arm, is left out.
    """
    ratios, spread = {}, {}
    for name in COMPARED:
        if not all(of_arm.get(name) and of_baseline.get(name) for of_arm, of_baseline in pairs):
            continue
        of_pairs = [of_arm[name] / of_baseline[name] for of_arm, of_baseline in pairs]
        q1, ratios[name], q3 = np.quantile(of_pairs, [0.25, 0.5, 0.75]).tolist()
        spread[name] = (q3 - q1) / 2 / ratios[name]
    return ratios, spread


class _Arm:
    """One arm: a trial's own model, optimiser and batches, trained block by block."""

    def __init__(self, trial: Trial, source: DataSource, budget: Budget) -> None:
        self._counter = NfeCounter(budget)
        self._experiment = experiment_of(trial, integrator_of(trial, self._counter), source)
        self._device = torch.device(trial.device)
        self._batches = self._endless()

    def blocks_of(self, steps: int) -> Block:
        """Return a function that runs a block of ``steps`` steps."""
        return lambda number: self.take(steps, number)

    def take(self, steps: int, number: int) -> Costs:
        """Train for a block and return the costs of a step, mean over the block.

        Blocks with the same number use the same random numbers in both arms.
        """
        torch.manual_seed(number)
        watch = Stopwatch(self._device, warm_up=0)
        evaluations, blind = 0, False
        for _ in range(steps):
            watch.start()
            batch = next(self._batches)
            watch.mark("data")
            evaluations += training_step(self._experiment, batch, self._counter, watch.mark).nfe_forward
            blind |= self._counter.blind
        return watch.means() | ({} if blind else {"nfe_forward": evaluations / steps})

    def _endless(self) -> Iterator[Batch]:
        """Yield the batches of all epochs, repeated without end."""
        for epoch in cycle(range(self._experiment.epochs)):
            self._experiment.begin_epoch(epoch)
            batches = self._experiment.batches(epoch)
            for index in range(self._experiment.steps_per_epoch):
                yield next_batch(batches, index, self._experiment)
