"""A field replayed as CUDA graphs against the eager field: ``pytest -m cuda`` on a machine that has a GPU."""

import pytest
import torch
from problems import UNIT, Network, integrator
from torch import nn

from nodebench.solvers.cuda_graph import OVERWRITTEN, GraphedFields
from nodebench.spec import Compile, Gradient, SolveFailed

pytestmark = pytest.mark.cuda


class Averaged(nn.Module):
    """A field that counts its evaluations in a buffer, and depends on time."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, t, y):
        self.seen += 1
        return torch.tanh(self.linear(y)) * (1 + t)


@pytest.mark.parametrize("gradient", [Gradient.ADJOINT, Gradient.INTERPOLATED])
@pytest.mark.parametrize("solver", ["dopri5", "rk4"])
def test_a_graphed_field_has_the_solution_and_the_gradient_of_the_eager_one(solver, gradient):
    """For two sizes of the batch, and again after the weights have changed."""
    field, times = Network().double().cuda(), UNIT.double().cuda()
    step = {"step_size": 0.125} if solver == "rk4" else {}
    initial, found = [one.clone() for one in field.state_dict().values()], {None: [], Compile.GRAPH: []}
    for compiled, results in found.items():
        field.load_state_dict(dict(zip(field.state_dict(), initial, strict=True)))
        solve = integrator(solver, gradient=gradient, compile=compiled, **step)
        for size in (4, 6, 4):
            y0 = torch.linspace(-1, 1, 3 * size, dtype=torch.float64, device="cuda").reshape(size, 3).requires_grad_()
            states = solve(field, y0, times)
            results += [
                states.detach(),
                *torch.autograd.grad(states[-1].square().sum(), [y0, *field.parameters()]),
            ]
            field.load_state_dict({name: one + 0.01 * size for name, one in field.state_dict().items()})
    for graphed, eager in zip(found[Compile.GRAPH], found[None], strict=True):
        torch.testing.assert_close(graphed, eager, rtol=1e-9, atol=1e-11)


def test_an_evaluation_has_the_gradients_of_time_state_and_weights_and_leaves_the_buffers_alone():
    field = Averaged().double().cuda()
    t = torch.tensor(0.5, dtype=torch.float64, device="cuda", requires_grad=True)
    y = torch.linspace(-1, 1, 6, dtype=torch.float64, device="cuda").reshape(2, 3).requires_grad_()
    graphed = GraphedFields().of(field)
    slope = graphed(t, y)
    assert field.seen == 1  # neither warm-up nor capture counts
    torch.testing.assert_close(slope, field(t, y))
    inputs = [t, y, *field.parameters()]
    found = torch.autograd.grad(graphed(t, y).sum(), inputs)
    torch.testing.assert_close(found, torch.autograd.grad(field(t, y).sum(), inputs))


def test_an_earlier_evaluation_is_not_differentiated_with_the_activations_of_a_later_one():
    field = Network().cuda()
    y = torch.ones(2, 3, device="cuda", requires_grad=True)
    graphed = GraphedFields().of(field)
    first = graphed(torch.zeros((), device="cuda"), y)
    graphed(torch.ones((), device="cuda"), y)
    with pytest.raises(SolveFailed, match=OVERWRITTEN):
        first.sum().backward()
