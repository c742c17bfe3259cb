"""Networks that are stepped from time to time, against torch's own cells, closed forms and each other."""

import numpy as np
import pytest
import torch
from problems import integrator
from torch import nn

from nodebench.models.observed import BackwardsEncoder, Baseline, Constant, LastValue, Linear
from nodebench.models.stepped import Forecaster, GruD, OdeRnn, decay

TIMES = torch.tensor([[0.0, 0.3, 1.0, 1.2], [0.0, 0.5, 0.6, 2.0]], dtype=torch.float64)
VALUES = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
SEEN = torch.rand(2, 4, 3, generator=torch.Generator().manual_seed(1)) < 0.6
ALL = torch.ones_like(SEEN)


class Still(nn.Module):
    def forward(self, t, y):
        return torch.zeros_like(y)


class Turn(nn.Module):
    """y' = y A with A antisymmetric: a rotation, which is undone by going back."""

    def forward(self, t, y):
        return torch.stack([-y[..., 1], y[..., 0], *(0 * y[..., i] for i in range(2, y.shape[-1]))], -1)


def gru_d(mean=(0.0, 0.0, 0.0)) -> GruD:
    torch.manual_seed(0)
    return GruD(3, 5, torch.tensor(mean)).double()


def without_decay(network: GruD) -> GruD:
    for parameter in (network.input_rate, network.input_offset, *network.state_decay.parameters()):
        nn.init.zeros_(parameter)
    return network


def by_cell(cell: nn.GRUCell, values, seen):
    """The states before each time, by torch's cell alone, on values and mask."""
    h, found = torch.zeros(len(values), cell.hidden_size, dtype=torch.float64), []
    for i in range(values.shape[1]):
        found.append(h)
        h = cell(torch.cat([values[:, i], seen[:, i].double()], -1), h)
    return torch.stack(found, 1)


def filled_forward(values, seen, start):
    found, last = [], start.expand_as(values[:, 0])
    for i in range(values.shape[1]):
        last = torch.where(seen[:, i], values[:, i], last)
        found.append(last)
    return torch.stack(found, 1)


def test_a_gru_d_without_decay_is_a_gru_that_keeps_the_last_values():
    network = without_decay(gru_d((1.0, -2.0, 0.5)))
    expected = by_cell(network.cell, filled_forward(VALUES, SEEN, network.mean), SEEN)
    assert torch.equal(network(VALUES * SEEN, SEEN, TIMES), expected)
    assert torch.equal(network(VALUES, ALL, TIMES), by_cell(network.cell, VALUES, ALL))


def test_a_gru_d_whose_inputs_decay_at_once_sees_the_mean():
    network = without_decay(gru_d((1.0, -2.0, 0.5)))
    nn.init.constant_(network.input_rate, 1e6)
    expected = by_cell(network.cell, torch.where(SEEN, VALUES, network.mean), SEEN)
    assert torch.allclose(network(VALUES * SEEN, SEEN, TIMES), expected, atol=1e-12)


def test_the_state_of_a_gru_d_decays_by_the_times_since_each_component_was_seen():
    network = gru_d()
    nn.init.constant_(network.state_decay.bias, 0.1)
    seen = torch.tensor([[[True, True, True], [True, False, False], [False] * 3, [False] * 3]]).expand(2, -1, -1)
    states = network(VALUES * seen, seen, TIMES)
    memory = network.start(VALUES[:, 0])
    for i in range(2):  # the cell's own steps, whose gaps are those since the first time
        memory = memory if i == 0 else network.advance(memory, (TIMES[:, 1] - TIMES[:, 0])[:, None])
        memory = network.update(memory, VALUES[:, i] * seen[:, i], seen[:, i])
    # At the third time the first component was seen one gap ago, the others two gaps ago.
    since = np.stack([TIMES[:, 2] - TIMES[:, 1], TIMES[:, 2] - TIMES[:, 0], TIMES[:, 2] - TIMES[:, 0]], 1)
    weight, bias = (part.detach().numpy() for part in (network.state_decay.weight, network.state_decay.bias))
    factor = np.exp(-np.maximum(0, since @ weight.T + bias))
    assert np.allclose(states[:, 2].detach(), factor * memory.hidden.detach().numpy(), atol=1e-12)
    assert (factor < 0.95).all()


def test_a_decay_is_one_below_zero():
    x = torch.tensor([-3.0, 0.0, 0.5, 2.0])
    assert torch.allclose(decay(x), torch.tensor([1.0, 1.0, np.exp(-0.5), np.exp(-2.0)]).float())


def test_every_decay_of_a_new_gru_d_has_a_gradient():
    network = gru_d()
    network(VALUES * SEEN, SEEN, TIMES).square().sum().backward()
    assert all((network.get_parameter(name).grad.abs() > 0).all() for name in ("input_rate", "state_decay.weight"))


def test_an_ode_rnn_with_a_field_of_zero_is_the_recurrent_network():
    torch.manual_seed(0)
    network = OdeRnn(3, 5, Still(), integrator("rk4")).double()
    expected = by_cell(network.cell, VALUES, ALL)
    assert torch.equal(network(VALUES, ALL, TIMES), expected)


def test_an_encoder_reads_backwards_over_each_gap():
    """With a rotation as the field, by turning the state back by each gap; a short series ends where it ends."""
    torch.manual_seed(0)
    network = OdeRnn(3, 2, Turn(), integrator("dopri5", rtol=1e-10, atol=1e-10)).double()
    times = torch.tensor([[0.0, 0.3, 1.0], [0.0, 0.5, 0.5]], dtype=torch.float64)
    seen = ALL[:, :3].clone()
    seen[1, 2] = False  # what fills up the second series
    found = BackwardsEncoder(network)(VALUES[:, :3] * seen, seen, times)
    for row, order in ((0, [2, 1, 0]), (1, [1, 0])):
        h, before = torch.zeros(1, 2, dtype=torch.float64), None
        for i in order:
            gap = 0.0 if before is None else float(times[row, before] - times[row, i])
            turn = torch.tensor([[np.cos(gap), np.sin(gap)], [-np.sin(gap), np.cos(gap)]])
            h = network.cell(torch.cat([VALUES[row : row + 1, i], torch.ones(1, 3).double()], -1), h @ turn)
            before = i
        assert torch.allclose(found[row], h[0], atol=1e-8)


@pytest.mark.parametrize("kind", ["ode-rnn", "gru-d"])
def test_a_forecaster_goes_on_from_its_own_predictions(kind):
    """Going on is predicting one more point, appending it, and predicting again."""
    network = gru_d() if kind == "gru-d" else OdeRnn(3, 5, Turn(), integrator("rk4")).double()
    model = Forecaster(network, 5, 3).double()
    grid = torch.linspace(0, 1, 6, dtype=torch.float64)
    observed, times = VALUES[:1, :3], grid[:3].unsqueeze(0)
    ahead = model.forecast(observed, times, grid[3:])
    for k in range(3):
        longer = torch.cat([observed, ahead[:, : k + 1]], 1)
        predicted, kl = model(longer, torch.arange(4 + k).unsqueeze(0), grid, None)
        assert torch.allclose(predicted[:, -1], ahead[:, k], atol=1e-10)
        assert kl.tolist() == [0.0]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (LastValue, [2.0, 2.0, 2.0, 2.0, 8.0, 8.0]),  # before the first observation, the first one
        (Linear, [0.0, 2.0, *np.interp([1.5, 3], [1, 4], [2, 8]), 8.0, 12.0]),  # 2 a unit of time on either side
        (Constant, [5.0] * 6),
    ],
)
def test_baselines_say_what_is_asked_at_any_time(rule, expected):
    observed, times = torch.tensor([[[2.0], [8.0]]]), torch.tensor([[1.0, 4.0]])
    asked = torch.tensor([0.0, 1.0, 1.5, 3.0, 4.0, 6.0])
    assert Baseline(rule()).forecast(observed, times, asked).flatten().tolist() == pytest.approx(expected)
    backwards = Baseline(rule()).forecast(observed, times, asked.flip(0))
    assert backwards.flatten().tolist() == pytest.approx(expected[::-1])
