"""One training step, and the state before it, so that the step can be repeated."""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from nodebench.instruments import NfeCounter
from nodebench.solvers.random_state import RandomState
from nodebench.spec import SolveFailed, Status
from nodebench.tasks import Batch, Experiment


@dataclass(frozen=True)
class Step:
    """Loss and counts of one training step; ``samples`` are the forward evaluations that a sample took."""

    loss: float
    nfe_forward: int
    nfe_backward: int
    samples: float = 0.0

    def as_stored(self) -> tuple[float, int, int, float]:
        """Return the fields as numbers of Python; a plug-in may count with those of NumPy."""
        return float(self.loss), int(self.nfe_forward), int(self.nfe_backward), float(self.samples)

    def agrees(self, other: "Step") -> bool:
        """Whether evaluations are equal, and losses are equal up to the order of sums on an accelerator."""
        same_nfe = (self.nfe_forward, self.nfe_backward) == (other.nfe_forward, other.nfe_backward)
        return same_nfe and math.isclose(self.loss, other.loss, rel_tol=1e-6)


def next_batch(batches: Iterator[Batch], index: int, experiment: Experiment) -> Batch:
    """The next batch of an epoch; ``index`` is how many were taken before.

    Raises:
        SolveFailed: the task yields fewer than its ``steps_per_epoch``.
    """
    batch = next(batches, None)
    if batch is None:
        message = f"the task yielded {index} batches in an epoch; its steps_per_epoch is {experiment.steps_per_epoch}"
        raise SolveFailed(Status.ERROR, message)
    return batch


def training_step(experiment: Experiment, batch: Batch, counter: NfeCounter, mark: Callable[[str], None]) -> Step:
    """Run one training step, or one solve if the task has no training; call ``mark`` at the end of each part.

    Raises:
        SolveFailed: the loss is not finite.
    """
    counter.check_deadline()
    counter.begin_forward()
    if experiment.optimizer is None:
        with torch.no_grad():
            loss = experiment.loss(experiment.model, batch)
        mark("forward")
    else:
        experiment.optimizer.zero_grad(set_to_none=True)
        loss = experiment.loss(experiment.model, batch)
        mark("forward")
        counter.begin_backward()
        loss.backward()
        mark("backward")
        experiment.optimizer.step()
        mark("optimiser")
    value = loss.item()
    if not math.isfinite(value):
        raise SolveFailed(Status.NON_FINITE, f"the loss is {value}")
    return Step(value, counter.forward, counter.backward, counter.samples)


@dataclass(frozen=True)
class Checkpoint:
    """The state before a training step: weights, optimiser, batch and random numbers."""

    model: dict[str, Any]
    optimizer: dict[str, Any] | None
    batch: Batch
    random: RandomState

    @classmethod
    def take(cls, experiment: Experiment, batch: Batch) -> "Checkpoint":
        """Copy the state, to the CPU."""
        optimizer = experiment.optimizer
        return cls(
            _copy_to_cpu(experiment.model.state_dict()),
            _copy_to_cpu(optimizer.state_dict()) if optimizer else None,
            tuple(part.to("cpu", copy=True) for part in batch),
            RandomState.take(batch[0].device),
        )

    def restore(self, experiment: Experiment) -> Batch:
        """Put the experiment back to this state and return the batch."""
        device = next((p.device for p in experiment.model.parameters()), experiment.probe[0].device)
        experiment.model.load_state_dict(self.model)
        if experiment.optimizer is not None and self.optimizer is not None:
            experiment.optimizer.load_state_dict(copy.deepcopy(self.optimizer))
            experiment.optimizer.zero_grad(set_to_none=True)
        self.random.restore()
        return tuple(part.to(device) for part in self.batch)


def _copy_to_cpu(state: dict[str, Any]) -> dict[str, Any]:
    """Copy a state to the CPU, so that the copy does not add to the accelerator's measured peak memory."""
    return tree_map(lambda leaf: leaf.to("cpu", copy=True) if isinstance(leaf, Tensor) else copy.copy(leaf), state)


def step_tensors(experiment: Experiment, batch: Batch) -> Iterator[Tensor]:
    """The tensors of a step that are alive before it: parameters, buffers, optimiser state, inputs."""
    yield from experiment.model.parameters()
    yield from experiment.model.buffers()
    if experiment.optimizer is not None:
        for state in experiment.optimizer.state.values():
            yield from (value for value in state.values() if isinstance(value, Tensor))
    yield from batch
