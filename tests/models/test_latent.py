import math

import pytest
import torch
from problems import integrator
from torch import nn
from torch.distributions import Normal, kl_divergence

from nodebench.models.latent import (
    DenseEncoder,
    Encoder,
    GruDecoder,
    OdeDecoder,
    RnnForecaster,
    SeriesVae,
    SignalBounds,
    log_likelihood,
    pick,
)

TIMES = torch.linspace(0, 1, 6)
WHERE = torch.tensor([[0, 2, 5], [1, 2, 3], [0, 3, 4]])


class Growth(nn.Module):
    """z' = rate z."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, t, z):
        return self.rate * z


def decoder(rate: float = 1.0) -> OdeDecoder:
    """The signal is the state itself."""
    return OdeDecoder(Growth(rate), nn.Identity(), integrator("dopri5", rtol=1e-7, atol=1e-9))


def vae(sees_gaps: bool = True) -> SeriesVae:
    torch.manual_seed(0)
    return SeriesVae(Encoder(2, 5, 3, sees_gaps=sees_gaps), OdeDecoder(Growth(0.3), nn.Linear(3, 2), integrator("rk4")))


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def test_a_dense_encoder_sees_each_observation_at_its_place_and_nothing_else():
    """Against its layers on a table that is filled by hand; each series has its own three of six times."""
    torch.manual_seed(0)
    encoder, observed = DenseEncoder(TIMES, 2, 7, 3), torch.randn(3, 3, 2)
    table = torch.zeros(3, 6, 3)
    for series in range(3):
        for point, place in enumerate(WHERE[series]):
            table[series, place] = torch.tensor([*observed[series, point], 1.0])
    posterior = encoder(observed, TIMES[WHERE])
    mean, log_variance = encoder.layers(table.flatten(1)).chunk(2, -1)
    assert torch.equal(posterior.mean, mean)
    assert torch.allclose(posterior.stddev, log_variance.exp().sqrt())
    assert not torch.equal(posterior.mean, encoder(observed, TIMES[WHERE.flip(0)]).mean)


def test_the_kl_is_its_own_monte_carlo_estimate():
    model, observed = vae(), torch.randn(3, 3, 2)
    _, kl = model(observed, WHERE, TIMES, torch.zeros(3, 3))
    posterior = model.encoder(observed, TIMES[WHERE])
    torch.manual_seed(1)
    z = posterior.sample((200_000,))
    ratio = (posterior.log_prob(z) - Normal(0.0, 1.0).log_prob(z)).sum(-1)
    standard_error = ratio.std(0) / math.sqrt(len(ratio))
    assert kl.min() > 0.01
    assert ((ratio.mean(0) - kl).abs() < 4 * standard_error).all()


def test_kl_and_likelihood_are_the_closed_forms():
    model, observed = vae(), torch.randn(3, 3, 2)
    predicted, kl = model(observed, WHERE, TIMES, torch.randn(3, 3))
    posterior = model.encoder(observed, TIMES[WHERE])
    variance = posterior.stddev**2
    closed = 0.5 * (variance + posterior.mean**2 - 1 - variance.log()).sum(-1)
    assert torch.allclose(kl, closed, atol=1e-5)
    assert torch.allclose(kl, kl_divergence(posterior, Normal(torch.zeros(3, 3), 1.0)).sum(-1))
    by_hand = -0.5 * (((observed - predicted) / 0.3) ** 2 + math.log(2 * math.pi * 0.3**2))
    assert torch.allclose(log_likelihood(observed, predicted, 0.3), by_hand.sum((1, 2)), atol=1e-4)


def test_the_bound_lies_below_the_evidence():
    """Importance sampling estimates the evidence, which no lower bound exceeds."""
    model, observed = vae(), 0.1 * torch.randn(3, 3, 2)
    torch.manual_seed(2)
    bounds, weights = [], []
    posterior = model.encoder(observed, TIMES[WHERE])
    for _ in range(300):
        draw = torch.randn(3, 3)
        predicted, kl = model(observed, WHERE, TIMES, draw)
        likelihood = log_likelihood(observed, predicted, 0.5)
        z = posterior.mean + posterior.stddev * draw
        bounds.append(likelihood - kl)
        weights.append(likelihood + (Normal(0.0, 1.0).log_prob(z) - posterior.log_prob(z)).sum(-1))
    bound, evidence = torch.stack(bounds).mean(0), torch.stack(weights).logsumexp(0) - math.log(300)
    assert (bound < evidence).all()


def test_the_likelihood_sees_only_the_observed_times():
    signal = torch.arange(12.0).reshape(1, 6, 2)
    assert torch.equal(pick(signal, torch.tensor([[1, 4]]))[0], signal[0, [1, 4]])


def test_the_decoder_goes_out_from_its_anchor_to_both_sides():
    z = torch.tensor([[2.0], [-1.0]])
    signal = decoder()(z, TIMES, anchor=2)
    assert torch.allclose(signal, z.unsqueeze(1) * torch.exp(TIMES - TIMES[2]).reshape(1, -1, 1), rtol=1e-5)


@pytest.mark.parametrize(("rate", "direction"), [(3.0, 1), (-3.0, -1)])
def test_a_sample_that_leaves_the_fence_is_held_there_and_the_others_go_on(rate, direction):
    fence = SignalBounds(torch.zeros(1), torch.tensor([10.0]))
    times = direction * torch.linspace(0, 20, 81)
    signal = decoder(rate).decode_bounded(torch.tensor([[1.0], [0.0], [0.01]]), times, fence)[..., 0]
    leaves = math.log(10) / 3
    first = int((~fence.contains(signal.unsqueeze(-1)))[0].int().argmax())
    assert abs(float(times[first - 1])) < leaves <= abs(float(times[first]))
    assert (signal[0, first:] == signal[0, first]).all()
    assert (signal[1] == 0).all()
    assert signal[2, 6].item() == pytest.approx(0.01 * math.exp(3 * 1.5), rel=1e-3)


def test_a_gru_decoder_says_nothing_before_its_anchor():
    signal = GruDecoder(3, 5, 2)(torch.rand(4, 3), TIMES, anchor=2)
    assert signal.shape == (4, 6, 2)
    assert signal[:, :2].isnan().all()
    assert signal[:, 2:].isfinite().all()


@pytest.mark.parametrize("sees_gaps", [True, False])
def test_the_encoder_sees_the_times_only_if_told(sees_gaps):
    model, observed = vae(sees_gaps), torch.randn(3, 3, 2)
    other = WHERE.clone()
    other[0, 1] = 3
    one, two = (model.encoder(observed, TIMES[where]).mean[0] for where in (WHERE, other))
    assert torch.equal(one, two) != sees_gaps


def test_the_forecaster_predicts_from_the_past_only():
    torch.manual_seed(0)
    model, observed = RnnForecaster(2, 5, sees_gaps=True), torch.randn(3, 3, 2)
    before, _ = model(observed, WHERE, TIMES, None)
    changed = observed.clone()
    changed[:, 1] += 1
    after, _ = model(changed, WHERE, TIMES, None)
    assert torch.equal(before[:, :2], after[:, :2])
    assert not torch.allclose(before[:, 2], after[:, 2])


def test_the_forecaster_goes_on_from_its_own_predictions():
    """Free running is predicting one more point, appending it, and predicting again."""
    torch.manual_seed(0)
    model, observed = RnnForecaster(2, 5, sees_gaps=True), torch.randn(1, 3, 2)
    grid = torch.linspace(0, 1, 7)
    times, later = grid[:3].unsqueeze(0), grid[3:]
    ahead = model.forecast(observed, times, later)
    for k in range(len(later)):
        longer = torch.cat([observed, ahead[:, : k + 1]], 1)
        predicted, _ = model(longer, torch.arange(4 + k).unsqueeze(0), grid, None)
        assert torch.allclose(predicted[:, -1], ahead[:, k], atol=1e-6)


def test_networks_have_the_scripts_parameters():
    """torchdiffeq examples/latent_ode.py: recognition 700 + 208, field 100 + 420 + 84, decoder 100 + 42."""
    assert parameters(Encoder(2, 25, 4, sees_gaps=False)) == 908
    assert parameters(RnnForecaster(2, 25, sees_gaps=False)) == 700 + 52


def test_the_encoder_reads_backwards_and_gives_mean_and_log_variance():
    """Its recurrence written out: the last observation first, with the time since the one before it."""
    model, observed = vae().encoder, torch.randn(3, 3, 2)
    cell, times = model.recurrence, TIMES[WHERE]
    gaps = torch.cat([torch.zeros(3, 1), times[:, 1:] - times[:, :-1]], 1)
    h = torch.zeros(3, 5)
    for i in (2, 1, 0):
        inputs = torch.cat([observed[:, i], gaps[:, i : i + 1]], 1)
        h = torch.tanh(inputs @ cell.weight_ih_l0.T + cell.bias_ih_l0 + h @ cell.weight_hh_l0.T)
    out = h @ model.head.weight.T + model.head.bias
    posterior = model(observed, times)
    torch.testing.assert_close(posterior.mean, out[:, :3])
    torch.testing.assert_close(posterior.variance.log(), out[:, 3:])


def test_a_draw_chooses_the_latent_start_in_units_of_the_posteriors_spread():
    model, observed = vae(), torch.randn(3, 3, 2)
    posterior, draw = model.encoder(observed, TIMES[WHERE]), torch.randn(3, 3)
    predicted, _ = model(observed, WHERE, TIMES, draw)
    decoded = model.decoder(posterior.mean + posterior.stddev * draw, TIMES)
    torch.testing.assert_close(predicted, torch.stack([decoded[i, WHERE[i]] for i in range(3)]))
    assert (posterior.stddev - 1).abs().min() > 1e-3  # a draw that is not scaled is another start
