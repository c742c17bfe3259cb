"""Errors of solution and gradient against a float64 solve of the same problem."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor, nn

from nodebench.instruments import Budget, NfeCounter
from nodebench.solvers import Integrator, StepControl, Trace, find_solver
from nodebench.solvers.precision import NoCopy, converted, copy_in_float64, flat_double, plain_tensors
from nodebench.spec import Gradient, SolveFailed, Status
from nodebench.tasks import Batch, Experiment

_T = TypeVar("_T")


@dataclass(frozen=True)
class Trained:
    """The probe batch as the trial solves and differentiates it.

    Attributes:
        trace: solves of the probe batch.
        gradient: gradient of the loss, flat, float64; None if the task has no training.
        fixed: attributes of the model that hold a tensor computed only once, not in each evaluation.
    """

    trace: Trace
    gradient: Tensor | None
    fixed: Sequence[str]


@dataclass(frozen=True)
class _Solved:
    """A solve of the reference, valid until the weights of the field change."""

    field: nn.Module
    training: bool
    y0: Tensor
    times: Tensor
    final: Tensor

    def is_of(self, field: nn.Module, y0: Tensor, times: Tensor) -> bool:
        """Whether it is the reference of this solve."""
        same = field is self.field and field.training == self.training
        return same and torch.equal(y0, self.y0) and torch.equal(times, self.times)


class Reference:
    """The reference of one trial.

    Args:
        experiment: experiment with the model and the probe batch that are compared.
        solve: integrator of the model.
        control: method and tolerances of the reference.
        budget: budget of a solve of the trial.
        reference_budget: budget of a solve of the reference.
        second: fallback reference if ``control`` exceeds the budget of evaluations; None for no fallback.
    """

    def __init__(
        self,
        experiment: Experiment,
        solve: Integrator,
        control: StepControl,
        budget: Budget,
        reference_budget: Budget,
        second: StepControl | None = None,
    ) -> None:
        self._experiment = experiment
        self._solve = solve
        self._second = second
        self._use(control)
        self._budget = budget
        self._reference_budget = reference_budget

    def _use(self, control: StepControl) -> None:
        self._adapter, _, _ = find_solver(control.method)
        self._control = replace(control, gradient=Gradient.DIRECT)
        self._solved: list[_Solved] = []

    def _compared(self, compare: Callable[[], _T]) -> _T:
        """Compare with the reference, or with the second one if the first needs too many evaluations."""
        try:
            return compare()
        except SolveFailed as error:
            if self._second is None or error.status is not Status.NFE_BUDGET:
                raise
        second, self._second = self._second, None
        self._use(second)
        return compare()

    def solve_as_trained(self, differentiate: bool) -> Trained:
        """Solve the probe batch as the trial does, with its gradient if ``differentiate``."""
        experiment = self._experiment
        trace: Trace = []
        before = _computed(experiment.model)
        with self._solve.using(NfeCounter(self._budget), trace=trace):
            if differentiate:
                gradient: Tensor | None = self._gradient(experiment.model, experiment.probe)
            else:
                gradient = None
                with torch.no_grad():
                    experiment.loss(experiment.model, experiment.probe)
        after = _computed(experiment.model)
        return Trained(trace, gradient, [name for name in after if before.get(name) is after[name]])

    def solution_error(self, trace: Trace) -> float:
        """Return the relative L2 error of the final states of all solves.

        Reference solves are cached by field, initial state and times.

        Raises:
            NoCopy: the field has no float64 copy.
        """
        return self._compared(lambda: self._solution_error(trace))

    def _solution_error(self, trace: Trace) -> float:
        differences, sizes = [], []
        with torch.no_grad(), self._solve.using(NfeCounter(self._reference_budget), self._control, self._adapter):
            for field, y0, times, states in trace:
                exact = self._exact(field, y0, times)
                differences.append((flat_double(states[-1]) - exact).norm())
                sizes.append(exact.norm())
        return (torch.stack(differences).norm() / torch.stack(sizes).norm()).item()

    def _exact(self, field: nn.Module, y0: Tensor, times: Tensor) -> Tensor:
        """The final state of the reference, flat, in float64."""
        for solved in self._solved:
            if solved.is_of(field, y0, times):
                return solved.final
        start = converted(y0, torch.float64)
        final = flat_double(self._solve(copy_in_float64(field), start, times.double())[-1])
        self._solved.append(_Solved(field, field.training, y0, times, final))
        return final

    def gradient_errors(self, trained: Trained) -> dict[str, int | float | None]:
        """Return relative L2 error and cosine of the full parameter gradient.

        Raises:
            NoCopy: the model has no float64 copy that computes its gradient.
        """
        assert trained.gradient is not None
        if trained.fixed:
            raise NoCopy(f"the attribute '{trained.fixed[0]}' was computed from parameters once, outside of forward")
        gradient = trained.gradient
        return self._compared(lambda: self._gradient_errors(gradient))

    def _gradient_errors(self, gradient: Tensor) -> dict[str, int | float | None]:
        probe = tuple(converted(part, torch.float64) for part in self._experiment.probe)
        with self._solve.using(NfeCounter(self._reference_budget), self._control, self._adapter):
            exact = self._gradient(copy_in_float64(self._experiment.model), probe)
        return {
            "gradient_error": ((gradient - exact).norm() / exact.norm()).item(),
            "gradient_cosine": torch.nn.functional.cosine_similarity(gradient, exact, dim=0).item(),
        }

    def _gradient(self, model: nn.Module, batch: Batch) -> Tensor:
        """The full parameter gradient of the loss of a batch, flat, in float64; random numbers are always the same."""
        model.zero_grad(set_to_none=True)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            loss = self._experiment.loss(model, batch)
        self._solve.counter.begin_backward()
        loss.backward()
        parameters = [p for p in model.parameters() if p.requires_grad]
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        model.zero_grad(set_to_none=True)
        return torch.cat([flat_double(gradient) for gradient in gradients])


def _computed(model: nn.Module) -> dict[str, Tensor]:
    """Plain tensors that were computed from others under autograd."""
    return {name: tensor for name, tensor in plain_tensors(model).items() if not tensor.is_leaf}
