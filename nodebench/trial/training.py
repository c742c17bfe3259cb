"""The progress of a training: its steps and its position. It can be stored and resumed."""

import copy

import torch
from torch import Tensor

from nodebench.instruments import Stopwatch
from nodebench.tasks import Batch, Experiment
from nodebench.trial.step import Step, next_batch
from nodebench.trial.training_state import State, set_sources, set_state, sources_of, state_of

WARM_UP_STEPS = 2


class Training:
    """The progress of an experiment's training.

    Args:
        experiment: what is trained.
        device: of the trial.
        resumable: whether the training will be stored; its random states are then kept at the start of each epoch.

    Attributes:
        watch: times of the steps.
        steps: loss and counts of the steps.
        epoch: the epoch that the training is in, from 0 on.
        taken: batches of that epoch that were drawn.
    """

    def __init__(self, experiment: Experiment, device: torch.device, resumable: bool = False) -> None:
        self._experiment, self._device, self._resumable = experiment, device, resumable
        every_step = experiment.epochs * experiment.steps_per_epoch
        self.watch = Stopwatch(device, warm_up=min(WARM_UP_STEPS, every_step - 1))
        self.steps: list[Step] = []
        self.epoch, self.taken = -1, 0
        self._batch: Batch = ()

    def begin_epoch(self, epoch: int) -> None:
        """Begin an epoch at its first batch; does nothing if the training was resumed within it."""
        if epoch == self.epoch:
            return
        if self._resumable:
            self._sources = copy.deepcopy(sources_of(self._experiment, self._device))
        self._experiment.begin_epoch(epoch)
        self._batches = self._experiment.batches(epoch)
        self.epoch, self.taken, self._batch = epoch, 0, ()

    def draw(self) -> Batch:
        """Return the next batch of the epoch.

        Raises:
            SolveFailed: the task yields no more.
        """
        batch = next_batch(self._batches, self.taken, self._experiment)
        self.taken += 1
        if self._resumable:
            self._batch = batch
        return batch

    def state(self) -> State:
        """Return the state between two steps; its tensors are the ones in use."""
        return {
            "epoch": self.epoch,
            "taken": self.taken,
            "epoch_sources": self._sources,
            "batch": [part.detach().cpu().clone() for part in self._batch],  # a stored view includes its base
            "steps": [step.as_stored() for step in self.steps],
            "seconds": self.watch.state(),
            "now": state_of(self._experiment, self._device),
        }

    def resume(self, state: State) -> None:
        """Continue from a state that ``state`` returned in another process.

        Raises:
            Exception: the state is damaged or belongs to another experiment, or the batches of the epoch cannot be
                drawn again; discard the experiment then.
        """
        self.steps = [Step(*values) for values in state["steps"]]
        self.watch.go_on_from(state["seconds"])
        set_sources(self._experiment, self._device, state["epoch_sources"])
        self.begin_epoch(state["epoch"])
        for _ in range(state["taken"]):
            self.draw()
        if not all(_equal(*pair) for pair in zip(self._batch, state["batch"], strict=True)):
            raise ValueError("the task does not draw the same batches again")
        set_state(self._experiment, self._device, state["now"])


def _equal(drawn: Tensor, stored: Tensor) -> bool:
    """Whether two tensors are the same; NaN equals NaN."""
    drawn = drawn.cpu()
    if drawn.shape != stored.shape or drawn.dtype != stored.dtype:
        return False
    return bool(((drawn == stored) | (drawn.isnan() & stored.isnan())).all())
