import pytest
import torch
from problems import Network, integrator

from nodebench.models.fields import Delayed, MlpField
from nodebench.models.trajectories import GruTrajectories, OdeTrajectories, shared_grid
from nodebench.spec import Gradient

IRREGULAR = torch.tensor([[0.0, 0.3, 0.7, 1.0], [0.0, 0.1, 0.7, 1.4]])


def test_the_shared_grid_holds_every_time_once():
    grid, index = shared_grid(IRREGULAR)
    assert grid.tolist() == pytest.approx([0.0, 0.1, 0.3, 0.7, 1.0, 1.4])
    assert torch.equal(grid[index], IRREGULAR)


def test_windows_of_one_regular_grid_share_their_times_in_spite_of_rounding():
    times = torch.linspace(-15, 15, 200, dtype=torch.float64)
    rows = torch.randperm(190)[:20].unsqueeze(1) + torch.arange(10)
    elapsed = (times[rows] - times[rows[:, :1]]).float()
    assert len(shared_grid(elapsed)[0]) == 10


@pytest.mark.parametrize("own_times", ["union", "rescaled", "alone"])
@pytest.mark.parametrize("solver", ["dopri5", "rk4"])
def test_each_sample_is_solved_at_its_own_times(solver, own_times):
    """In one batch as alone, where its times are the only ones."""
    solve = integrator(solver, **({"step_size": 0.01} if solver == "rk4" else {"rtol": 1e-7, "atol": 1e-9}))
    model = OdeTrajectories(_seeing(Network()), solve, own_times).double()
    y0, start = torch.rand(2, 3, dtype=torch.float64), torch.tensor([[0.0], [2.0]], dtype=torch.float64)
    together = model(y0, start, IRREGULAR.double())
    assert together.shape == (2, 4, 3)
    for i in range(2):
        alone = solve(Delayed(model.field, start[i : i + 1]), y0[i : i + 1], IRREGULAR[i].double())[:, 0]
        assert torch.allclose(together[i], alone, atol=2e-6)


@pytest.mark.parametrize("own_times", ["union", "rescaled", "alone"])
def test_evaluations_of_each_way_follow_from_the_solves_that_it_makes(own_times):
    """With rk4 at one step an interval: the union has 5 intervals, each sample 3."""
    solve = integrator("rk4", gradient=Gradient.ADJOINT)
    model = OdeTrajectories(MlpField((2, 8, 2)), solve, own_times)
    solve.counter.begin_forward()
    states = model(torch.ones(2, 2), torch.zeros(2, 1), IRREGULAR)
    calls = {"union": 4 * 5, "rescaled": 4 * 3, "alone": 2 * 4 * 3}[own_times]
    assert solve.counter.forward == calls
    states.sum().backward()
    assert solve.counter.backward >= calls


def test_a_field_that_sees_the_time_is_told_each_windows_own():
    field = MlpField((2, 5, 2), sees_time=True)
    y, start = torch.rand(3, 2), torch.tensor([[0.0], [5.0], [-1.0]])
    together = Delayed(field, start)(torch.tensor(0.5), y)
    alone = torch.cat([field(start[i, 0] + 0.5, y[i : i + 1]) for i in range(3)])
    assert torch.allclose(together, alone)


def test_irregular_times_cost_an_adaptive_forward_solve_nothing():
    """What the docstring says of NFE: outputs are interpolated."""
    counts = []
    for elapsed in (IRREGULAR[1:], IRREGULAR):
        solve = integrator("dopri5")
        torch.manual_seed(0)
        model = OdeTrajectories(MlpField((2, 8, 2)), solve)
        solve.counter.begin_forward()
        model(torch.ones(len(elapsed), 2), torch.zeros(len(elapsed), 1), elapsed)
        counts.append(solve.counter.forward)
    assert counts[0] == counts[1]


def test_the_gru_is_told_each_gap():
    torch.manual_seed(0)
    model = GruTrajectories(2, 5)
    y0, start = torch.rand(2, 2), torch.zeros(2, 1)
    states = model(y0, start, IRREGULAR)
    assert states.shape == (2, 4, 2)
    assert torch.equal(states[:, 0], y0)
    moved = IRREGULAR.clone()
    moved[1, 2] = 0.8
    again = model(y0, start, moved)
    assert torch.equal(again[0], states[0])
    assert not torch.allclose(again[1, 2], states[1, 2])


@pytest.mark.parametrize(
    ("widths", "sees_time", "parameters"),
    [
        ((2, 50, 2), False, 252),
        ((2, 50, 2), True, 302),
        ((2, 150, 50, 50, 2), False, 10_652),
        ((2, 150, 50, 50, 2), True, 10_802),
    ],
)
def test_the_articles_networks_have_its_parameters(widths, sees_time, parameters):
    field = MlpField(widths, sees_time=sees_time)
    assert sum(p.numel() for p in field.parameters()) == parameters


def test_the_field_starts_as_in_the_demo():
    torch.manual_seed(0)
    field = MlpField((2, 500, 2)).start_small()
    assert field.net[0].weight.std().item() == pytest.approx(0.1, rel=0.1)
    assert all((layer.bias == 0).all() for layer in field.net if hasattr(layer, "bias"))


def test_damping_is_subtracted():
    torch.manual_seed(0)
    free = MlpField((2, 5, 2))
    torch.manual_seed(0)
    damped = MlpField((2, 5, 2), damping=0.5)
    y = torch.rand(4, 2)
    assert torch.allclose(damped(torch.zeros(()), y), free(torch.zeros(()), y) - 0.5 * y)


def _seeing(field):
    field.sees_time = True
    return field
