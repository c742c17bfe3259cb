"""Gradients of compiled fields: every backend and every gradient, at two sizes of the batch."""

import pytest
import torch
from problems import UNIT, Network, integrator
from torch._functorch import config as functorch_config

from nodebench.solvers import adapters, find_solver, is_installed
from nodebench.solvers.integrator import SECOND_DERIVATIVE
from nodebench.spec import Batching, Compile, Gradient, Status

FIXED = {"torchdiffeq": "rk4", "torchdyn": "torchdyn:rk4", "torchode": "torchode:euler", "scipy": "scipy:RK45"}
CASES = [
    (FIXED[backend], gradient, batching, compiled)
    for backend, adapter in adapters().items()
    if is_installed(adapter) and backend in FIXED
    for gradient in sorted(adapter.gradients)
    for batching in adapter.batchings
    for compiled in adapter.compiles
    if compiled is not Compile.EAGER
    and not (backend == "torchdiffeq" and (batching is Batching.WORST or gradient is Gradient.ADJOINT_SEMINORM))
]


def gradients(solver: str, gradient: Gradient, batching: Batching, compiled: Compile | None) -> list[torch.Tensor]:
    """Gradients of weights and initial states for a batch of four and one of six."""
    torch._dynamo.reset()
    field, found = Network(), []
    step = {} if find_solver(solver)[2].adaptive else {"step_size": 0.5}
    chosen = None if batching is Batching.JOINT else batching
    solve = integrator(solver, gradient=gradient, batching=chosen, compile=compiled, **step)
    for size in (4, 6):
        y0 = torch.linspace(-1, 1, 3 * size).reshape(size, 3).requires_grad_()
        loss = solve(field, y0, UNIT)[-1].square().sum()
        found += torch.autograd.grad(loss, [y0, *field.parameters()])
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("solver", "gradient", "batching", "compiled"), CASES)
def test_a_compiled_field_has_the_gradient_of_the_eager_one(solver, gradient, batching, compiled):
    eager = gradients(solver, gradient, batching, None)
    for found, expected in zip(gradients(solver, gradient, batching, compiled), eager, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_the_adjoint_of_a_compiled_field_survives_a_second_batch_size():
    """A size that changes is compiled as a variable, and the backward pass then in advance."""
    eager = gradients("euler", Gradient.ADJOINT, Batching.JOINT, None)
    compiled = gradients("euler", Gradient.ADJOINT, Batching.JOINT, Compile.FIELD)
    for found, expected in zip(compiled, eager, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


class Slope(torch.nn.Module):
    """The gradient of a network's output, found as most users write it."""

    def __init__(self):
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))

    def forward(self, t, y):
        with torch.enable_grad():
            y = y if y.requires_grad else y.detach().requires_grad_()
            return torch.autograd.grad(self.net(y).sum(), y, create_graph=True)[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("gradient", "says"), [(Gradient.DIRECT, "donated buffer"), (Gradient.ADJOINT, "double backward")]
)
def test_a_compiled_field_that_differentiates_a_network_is_refused_with_the_reason(gradient, says, monkeypatch):
    monkeypatch.setattr(functorch_config, "donated_buffer", True)  # an adjoint before it leaves it false
    torch._dynamo.reset()
    solve = integrator("euler", gradient=gradient, compile=Compile.FIELD, step_size=0.5)
    with pytest.raises(RuntimeError, match=says) as failed:
        solve(Slope(), torch.ones(2, 3, requires_grad=True), UNIT)[-1].sum().backward()
    failure = solve.failure(failed.value)
    assert (failure.status, str(failure)) == (Status.UNSUPPORTED, SECOND_DERIVATIVE)
