"""Tasks that solve one problem again and again instead of training."""

from collections.abc import Iterator

from torch import Tensor, nn

from nodebench.solvers import Integrator
from nodebench.tasks.contract import Batch, Experiment, Setup


class FinalState(nn.Module):
    """Solves a field and returns its state at the last time.

    Args:
        field: module ``(t, y) -> dy/dt``.
        solve: the integrator.
    """

    def __init__(self, field: nn.Module, solve: Integrator) -> None:
        super().__init__()
        self.field = field
        self.solve = solve

    def forward(self, start: Tensor, times: Tensor) -> Tensor:
        """Solve from ``start``, of any shape ``S``, over ``times`` ``(T,)``; return the last state, of shape ``S``."""
        return self.solve(self.field, start, times)[-1]


class SolvingExperiment(Experiment):
    """Solves the same problem in each step; draws no random numbers.

    Args:
        setup: of the trial; its options have the number of ``solves``.
        model: maps start and times to the last state.
        start: initial state, any shape.
        times: output times, shape ``(T,)``.
    """

    epochs = 1
    generators = {}

    def __init__(self, setup: Setup, model: nn.Module, start: Tensor, times: Tensor) -> None:
        self.model = model.to(setup.device, setup.dtype)
        self.steps_per_epoch = setup.options.solves
        self.probe = start.to(setup.device, setup.dtype), times.to(setup.device, setup.dtype)

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield the same problem for each step."""
        for _ in range(self.steps_per_epoch):
            yield self.probe
