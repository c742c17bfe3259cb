"""Where fixed steps begin and end, and that segments take the same steps."""

import pytest
import torch
from problems import Network, integrator

from nodebench.solvers.gradients.checkpoint import fixed_steps
from nodebench.spec import Gradient


@pytest.mark.parametrize(
    ("times", "step", "expected"),
    [
        ([0.0, 1.0], 0.3, [0.0, 0.3, 0.6, 0.9, 1.0]),
        ([0.0, 1.0], 0.25, [0.0, 0.25, 0.5, 0.75, 1.0]),
        ([1.0, 0.0], 0.4, [1.0, 0.6, 0.2, 0.0]),
        ([0.0, 0.7, 1.0], 5.0, [0.0, 1.0]),
        ([0.0, 0.7, 1.0], None, [0.0, 0.7, 1.0]),
    ],
)
def test_the_last_step_is_cut_at_the_end(times, step, expected):
    found = fixed_steps(torch.tensor(times, dtype=torch.float64), step)
    assert found.tolist() == pytest.approx(expected)


@pytest.mark.parametrize("solver", ["rk4", "torchdyn:rk4"])
def test_segments_cut_the_last_step_as_one_solve_does(solver):
    """A step that does not divide the span."""
    found = []
    for kind in (Gradient.DIRECT, Gradient.CHECKPOINT):
        field, y0 = Network().double(), torch.ones(2, 3, dtype=torch.float64)
        solve = integrator(solver, step_size=0.3, gradient=kind, segments=2)
        states = solve(field, y0, torch.tensor([0.0, 1.0], dtype=torch.float64))
        states[-1].sin().sum().backward()
        found.append(torch.cat([states.detach().flatten(), *(p.grad.flatten() for p in field.parameters())]))
    torch.testing.assert_close(found[1], found[0], rtol=1e-12, atol=1e-12)
