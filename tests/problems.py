"""Problems with known answers, shared by the tests."""

import torch
from torch import Tensor, nn

from nodebench.instruments import NfeCounter
from nodebench.solvers import Integrator, StepControl, find_solver
from nodebench.spec import Gradient


def integrator(solver: str, counter: NfeCounter | None = None, **control) -> Integrator:
    """An integrator by the name of its solver."""
    adapter, method, properties = find_solver(solver)
    if properties.has_tolerance:
        control = {"rtol": 1e-6, "atol": 1e-6, **control}
        control = {"adjoint_rtol": control["rtol"], "adjoint_atol": control["atol"], **control}
    return Integrator(adapter, StepControl(method, **control), counter or NfeCounter())


class Logistic(nn.Module):
    """x' = x (1 - x): nonlinear, x(t) = 1 / (1 + (1/x0 - 1) exp(-t))."""

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        return x * (1 - x)

    def solution(self, x0: Tensor, t: float) -> Tensor:
        return 1 / (1 + (1 / x0 - 1) * torch.exp(torch.tensor(-t, dtype=x0.dtype)))


class Network(nn.Module):
    """A small smooth field with parameters that depends on time."""

    def __init__(self, width: int = 16, dimension: int = 3, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.net = nn.Sequential(nn.Linear(dimension + 1, width), nn.Tanh(), nn.Linear(width, dimension))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return self.net(torch.cat([y, t.expand(*y.shape[:-1], 1).to(y)], -1))


UNIT = torch.tensor([0.0, 1.0])


def with_dropout(gradient: Gradient, device: str = "cpu") -> list[Tensor]:
    """Solve a field with derivatives and dropout at a fixed seed; return final state and parameter gradient."""
    torch.manual_seed(1)
    field = Differentiating(dropout=0.5).to(device)
    solve = integrator("rk4", gradient=gradient, segments=2, step_size=0.5)
    end = solve(field, torch.ones(20, dtype=torch.float64, device=device), UNIT.double().to(device))[-1]
    end.square().sum().backward()
    return [end.detach(), field.rate.grad]


class Differentiating(nn.Module):
    """A field that adds derivatives to its value; the value has a dropout and a factor."""

    def __init__(self, derivatives: int = 1, dropout: float = 0.0, factor: torch.Tensor | float = 1.0) -> None:
        super().__init__()
        self.rate = nn.Parameter(torch.tensor(0.5, dtype=torch.float64))
        self.derivatives, self.dropout, self.factor = derivatives, nn.Dropout(dropout), factor

    def forward(self, t, y):
        with torch.enable_grad():
            y = y if y.requires_grad else y.detach().requires_grad_()
            value = self.dropout(self.factor * torch.tanh(self.rate * y))
            found = [torch.autograd.grad(value.sum(), y, create_graph=True)[0] for _ in range(self.derivatives)]
        return value + sum(found)
