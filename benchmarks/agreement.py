"""Compare all pairs of libraries: solution and gradient of each field, in float64 at tight tolerance.

    python benchmarks/agreement.py

Prints the table of docs/libraries.md: the largest relative difference over pairs of libraries.
"""

from itertools import combinations

import torch
from torch import Tensor, nn

from nodebench.instruments import NfeCounter
from nodebench.models import systems
from nodebench.models.digits import ConvField
from nodebench.models.fields import Cubed, MlpField
from nodebench.solvers import Integrator, StepControl, find_solver
from nodebench.spec import Batching, Gradient

RTOL = 1e-12
STEP = 0.125
LIBRARIES = (
    ("dopri5", Gradient.DIRECT, None),
    ("dopri5", Gradient.ADJOINT, None),
    ("scipy:DOP853", Gradient.ADJOINT, None),
    ("torchode:dopri5", Gradient.DIRECT, Batching.EACH),
    ("torchode:tsit5", Gradient.ADJOINT, Batching.EACH),
    ("torchdyn:dopri5", Gradient.DIRECT, None),
    ("diffrax:dopri8", Gradient.CHECKPOINT, None),
    ("diffrax:tsit5", Gradient.ADJOINT, Batching.EACH),
)
# At the kinks of ReLU, adaptive steps of two libraries differ. The MNIST block is therefore solved with fixed steps.
EQUAL_STEPS = (
    ("euler", Gradient.DIRECT, None),
    ("euler", Gradient.CHECKPOINT, None),
    ("torchode:euler", Gradient.DIRECT, Batching.EACH),
    ("torchdyn:euler", Gradient.DIRECT, None),
    ("diffrax:euler", Gradient.CHECKPOINT, None),
    ("diffrax:euler", Gradient.DIRECT, Batching.EACH),
)
MNIST = "MNIST block, 8 channels, 5 × 5, steps of 1/8"


class Learned(nn.Module):
    """A field multiplied by a trainable rate."""

    def __init__(self, field: nn.Module) -> None:
        super().__init__()
        self.field = field
        self.rate = nn.Parameter(torch.tensor(1.0))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, of the shape of ``y``."""
        return self.rate * self.field(t, y)


def fields() -> dict[str, tuple[nn.Module, Tensor, float]]:
    """Return each field with its initial states and the length of its time interval."""
    torch.manual_seed(0)
    random = torch.Generator().manual_seed(0)
    spiral = systems.Linear(((-0.1, 2.0), (-2.0, -0.1)))
    starts = 1 + torch.rand(4, 2)
    found = {
        "spiral": (Learned(spiral), starts, 2.0),
        "spiral of the cubed state": (Learned(Cubed(spiral)), starts, 0.5),
        "random linear": (Learned(systems.Linear(torch.randn(2, 2, generator=random) / 2)), starts, 2.0),
        "Lotka–Volterra, linear": (Learned(systems.LotkaVolterra.linearised()), starts, 2.0),
        "Lotka–Volterra": (Learned(systems.LotkaVolterra()), starts, 2.0),
        "two fields blended": (Learned(systems.BlendedFields((1.0, 1.0))), starts, 2.0),
        "random network of y·t": (Learned(systems.RandomNetwork(random)), starts, 1.0),
        "Van der Pol, μ = 2": (Learned(systems.VanDerPol(2.0)), starts, 2.0),
        "2–50–2 network": (MlpField((2, 50, 2)), starts, 2.0),
        MNIST: (ConvField(8), torch.randn(2, 8, 5, 5), 1.0),
    }
    return {name: (field.double(), y0.double(), span) for name, (field, y0, span) in found.items()}


def solved(
    solver: str, gradient: Gradient, batching: Batching | None, field: nn.Module, y0: Tensor, span: float
) -> tuple[Tensor, Tensor]:
    """Return the final states, and the gradient of their summed sines with respect to initial states and parameters."""
    adapter, method, known = find_solver(solver)
    if known.adaptive:
        control = StepControl(method, RTOL, RTOL, None, gradient, RTOL, RTOL, batching=batching)
    else:
        control = StepControl(method, step_size=STEP, gradient=gradient, batching=batching)
    start = y0.clone().requires_grad_()
    end = Integrator(adapter, control, NfeCounter())(field, start, torch.tensor([0.0, span]).double())[-1]
    leaves = [start, *(p for p in field.parameters() if p.requires_grad)]
    slopes = torch.autograd.grad(end.sin().sum(), leaves, materialize_grads=True)
    return end.detach().reshape(-1), torch.cat([slope.reshape(-1) for slope in slopes])


def main() -> None:
    """Print a row for each field."""
    torch.set_num_threads(1)
    print("| field | solution | pair | gradient | pair |\n| --- | --- | --- | --- | --- |")
    for name, (field, y0, span) in fields().items():
        found = {
            f"{solver} {gradient}": solved(solver, gradient, batching, field, y0, span)
            for solver, gradient, batching in (EQUAL_STEPS if name == MNIST else LIBRARIES)
        }
        cells = [name]
        for index in (0, 1):
            apart = {
                f"{a}, {b}": float((found[a][index] - found[b][index]).norm() / found[b][index].norm())
                for a, b in combinations(found, 2)
            }
            worst = max(apart, key=lambda pair: apart[pair])
            cells += [f"{apart[worst]:.1e}", worst]
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
