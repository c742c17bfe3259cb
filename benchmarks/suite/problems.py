"""Fixed solves: trained fields and initial states, stored in ``weights/`` so that benchmarks need no training.

``python benchmarks/train_weights.py`` makes them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from nodebench.instruments import NfeCounter
from nodebench.models.digits import ConvField
from nodebench.models.fields import MlpField
from nodebench.solvers import Integrator, StepControl, adapters, find_solver, is_installed
from nodebench.spec import Gradient

WEIGHTS = Path(__file__).parent / "weights"
FIELDS: dict[str, Callable[[], nn.Module]] = {
    "spiral": lambda: MlpField((2, 50, 2)),  # 2–50–2, trained on 20 windows of 10 points of the linear spiral
    "mnist-block": ConvField,  # the ODE block of a trained network; initial states from its stem and 16 test images
}
SOLVERS = ("dopri5", "rk4", "torchode:dopri5", "diffrax:dopri5")
GRADIENTS = tuple(gradient.value for gradient in Gradient)
RTOL = 1e-4
STEP_SIZE = 0.125  # of the methods without tolerance, in units of the span
TIMED = torch.float32


@dataclass(frozen=True)
class Problem:
    """A solve with a loss: the mean square of the states at every time."""

    field: nn.Module
    y0: Tensor
    times: Tensor

    def loss(self, solve: Integrator) -> Tensor:
        """Solve forward; return the loss."""
        loss: Tensor = solve(self.field, self.y0, self.times).square().mean()
        return loss


def problem(name: str, dtype: torch.dtype = TIMED, samples: int | None = None) -> Problem:
    """Load a problem, or its first ``samples`` samples; its initial states require gradients."""
    with np.load(WEIGHTS / f"{name}.npz") as file:
        arrays = {key: torch.from_numpy(file[key]).to(dtype) for key in file.files}
    y0, times = arrays.pop("y0")[:samples].requires_grad_(), arrays.pop("times")
    field = FIELDS[name]().to(dtype)
    field.load_state_dict(arrays)
    return Problem(field, y0, times)


def integrator(solver: str, gradient: str | None, times: Tensor, counter: NfeCounter | None = None) -> Integrator:
    """The integrator of a benchmark.

    Raises:
        NotImplementedError: the solver is not installed or lacks the gradient; asv then skips the benchmark.
    """
    known = adapters().get(solver.partition(":")[0] if ":" in solver else "torchdiffeq")
    if known is None or not is_installed(known):
        raise NotImplementedError(f"{solver} is not installed")
    adapter, method, properties = find_solver(solver)
    if gradient is not None and Gradient(gradient) not in adapter.gradients:
        raise NotImplementedError(f"{solver} has no gradient {gradient}")
    control = StepControl(
        method,
        rtol=RTOL if properties.has_tolerance else None,
        atol=RTOL if properties.has_tolerance else None,
        step_size=None if properties.has_tolerance else STEP_SIZE * float(times[-1] - times[0]),
        gradient=None if gradient is None else Gradient(gradient),
        adjoint_rtol=RTOL if properties.has_tolerance else None,
        adjoint_atol=RTOL if properties.has_tolerance else None,
    )
    return Integrator(adapter, control, counter or NfeCounter())


@cache
def reference(name: str, samples: int) -> tuple[Tensor, Tensor]:
    """States and gradient of a problem in float64, by dopri8 at a tolerance 10,000 times smaller than ``RTOL``.

    The solve is split into segments: with the ReLUs of the MNIST block, the graph of all steps would fill the memory.
    """
    exact = problem(name, torch.float64, samples)
    adapter, method, _ = find_solver("dopri8")
    control = StepControl(method, rtol=1e-8, atol=1e-8, gradient=Gradient.CHECKPOINT, segments=16)
    return solved(exact, Integrator(adapter, control, NfeCounter()))


def solved(one: Problem, solve: Integrator) -> tuple[Tensor, Tensor]:
    """Return all states, and the gradient with respect to initial states and parameters as one vector."""
    states = solve(one.field, one.y0, one.times)
    leaves = [one.y0, *one.field.parameters()]
    slopes = torch.autograd.grad(states.square().mean(), leaves)
    return states.detach(), torch.cat([slope.reshape(-1) for slope in slopes])
