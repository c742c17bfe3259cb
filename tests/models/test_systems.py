"""Each known field against an independent source."""

import numpy as np
import pytest
import scipy.integrate
import scipy.linalg
import scipy.signal
import torch

from nodebench.models import systems
from nodebench.models.ecgsyn import MILLIVOLT, TABLE_1, EcgSyn
from nodebench.models.fields import Cubed, RelaxationField
from nodebench.tasks.toys import SPIRAL

LINEAR = {
    "spiral": systems.Linear(SPIRAL),
    "lotka-volterra-linear": systems.LotkaVolterra.linearised(),
    "random": systems.Linear([[0.3, -0.7], [0.2, 0.1]]),
}


def states(system, y0, times) -> np.ndarray:
    return systems.exact_states(system, torch.tensor(y0, dtype=torch.float64), torch.from_numpy(times)).numpy()


def scipys(slope, y0, times) -> np.ndarray:
    """An implicit method where ours is explicit."""
    found = scipy.integrate.solve_ivp(slope, times[[0, -1]], y0, t_eval=times, method="Radau", rtol=1e-10, atol=1e-12)
    return found.y.T


@pytest.mark.parametrize("name", LINEAR)
def test_linear_fields_follow_the_matrix_exponential(name):
    system, times = LINEAR[name], np.linspace(0, 10, 11)
    expected = [np.array([2.0, 0.0]) @ scipy.linalg.expm(system.matrix.numpy() * t) for t in times]
    assert np.allclose(states(system, [2.0, 0.0], times), expected, rtol=1e-9, atol=1e-9)


def test_the_articles_volterra_lotka_is_the_linearisation_acting_on_rows():
    """So the article's field is that of the transposed Jacobian: the same frequency, prey and predator exchanged."""
    true = systems.LotkaVolterra()
    centre = torch.tensor([true.c / true.d, true.a / true.b], dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda y: true(torch.tensor(0.0), y), centre)
    linear = systems.LotkaVolterra.linearised()
    assert torch.allclose(linear.matrix, jacobian)
    y = torch.tensor([1.0, 0.0], dtype=torch.float64)
    assert torch.allclose(linear(torch.tensor(0.0), y), jacobian.T @ y)


def test_lotka_volterra_keeps_its_conserved_quantity():
    system = systems.LotkaVolterra()
    start, times = torch.tensor([2.0, 1.0], dtype=torch.float64), torch.linspace(0, 10, 200, dtype=torch.float64)
    path = systems.exact_states(system, start, times, tolerance=1e-12)
    conserved = system.conserved(path)
    assert path.std() > 0.5
    assert (conserved - conserved[0]).abs().max() < 1e-9


def test_the_period_of_the_limit_cycle_follows_its_series_in_mu():
    """Andersen and Geer 1982: the frequency to order six; the remainder is of order eight."""
    mu = 0.3
    frequency = 1 - mu**2 / 16 + 17 * mu**4 / 3072 + 35 * mu**6 / 884736
    _, period = systems.VanDerPol(mu).limit_cycle(torch.zeros(1))
    assert period == pytest.approx(2 * np.pi / frequency, rel=1e-7)


@pytest.mark.parametrize("mu", [1.0, 25.0])
def test_the_limit_cycle_closes(mu):
    """A period that is wrong by 1e-6 moves a state by that times the slope, which is steep at phase 0."""
    oscillator = systems.VanDerPol(mu)
    starts, period = oscillator.limit_cycle(torch.tensor([0.0, 0.25, 0.7], dtype=torch.float64))
    path = states(oscillator, starts[0].tolist(), np.array([0.0, 0.25, 0.7, 1.0]) * period)
    allowed = 1e-5 + 1e-6 * oscillator(torch.tensor(0.0), starts).abs().numpy()
    assert starts[0, 0] == pytest.approx(0.0, abs=1e-6)
    assert (np.abs(path[:3] - starts.numpy()) <= allowed).all()
    assert (np.abs(path[3] - starts[0].numpy()) <= allowed[0]).all()


def test_without_stiffness_the_oscillator_is_harmonic():
    starts, period = systems.VanDerPol(0.0).limit_cycle(torch.tensor([0.0, 0.25]))
    assert period == pytest.approx(2 * np.pi, rel=1e-8)
    assert torch.allclose(starts, torch.tensor([[0.0, 2.0], [2.0, 0.0]], dtype=torch.float64), atol=1e-6)


def cubic(t, y):
    return (y**3) @ np.array(SPIRAL)


def lotka_volterra(t, y):
    u, v = y
    return [1.5 * u - u * v, u * v - 3 * v]


def blended(t, y):
    anchor = np.array([1.0, 1.0])
    a, b = np.array([[-0.1, -0.5], [0.5, -0.1]]), np.array([[0.2, 1.0], [-1.0, 0.2]])
    weight = 1 / (1 + np.exp(-y @ anchor))
    return weight * a @ (y - anchor) + (1 - weight) * b @ (y + anchor)


def van_der_pol(t, y):
    return [y[1], 5 * (1 - y[0] ** 2) * y[1] - y[0]]


@pytest.mark.parametrize(
    ("system", "slope", "y0", "span"),
    [
        (Cubed(systems.Linear(SPIRAL)), cubic, [2.0, 0.0], (0, 5)),
        (systems.LotkaVolterra(), lotka_volterra, [2.0, 1.0], (0, 10)),
        (systems.BlendedFields((1.0, 1.0)), blended, [1.0, 1.0], (-1, 1)),
        (systems.VanDerPol(5.0), van_der_pol, [2.0, 0.0], (0, 20)),
    ],
)
def test_nonlinear_fields_are_scipys(system, slope, y0, span):
    times = np.linspace(*span, 21)
    assert np.allclose(states(system, y0, times), scipys(slope, y0, times), rtol=1e-6, atol=1e-6)


def test_the_network_field_is_torchs_own_layers():
    """The article's network, built of nn.Linear and nn.ELU with the same weights, and solved by SciPy."""
    system = systems.RandomNetwork(torch.Generator().manual_seed(3))
    layers = []
    for weight in system.weights:
        linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False, dtype=torch.float64)
        linear.weight.data.copy_(weight)
        layers += [linear, torch.nn.ELU()]
    network = torch.nn.Sequential(*layers)
    assert [tuple(w.shape) for w in system.weights] == [(25, 2), (50, 25), (10, 50), (2, 10)]
    times = np.linspace(-15, 15, 11)

    @torch.no_grad()
    def slope(t, y):
        return network(torch.from_numpy(y) * t).numpy()

    assert np.allclose(states(system, [1.0, 1.0], times), scipys(slope, [1.0, 1.0], times), rtol=1e-6, atol=1e-6)


def test_random_weights_are_drawn_as_torch_draws_a_layers():
    ours = systems.RandomNetwork(torch.Generator().manual_seed(0)).weights[2]
    torch.manual_seed(0)
    theirs = torch.nn.Linear(50, 10, bias=False).weight
    assert ours.abs().max() <= 50**-0.5
    assert ours.std().item() == pytest.approx(theirs.std().item(), rel=0.1)


def test_the_relaxation_solution_is_scipys():
    times = torch.linspace(0, 4, 5, dtype=torch.float64)
    found = RelaxationField().solution(torch.tensor([3.0], dtype=torch.float64), times)
    expected = scipys(lambda t, x: 1 - x, [3.0], times.numpy())
    assert np.allclose(found.numpy(), expected, atol=1e-8)


# --- the synthetic heart


def heart(rate: float, **settings) -> EcgSyn:
    return EcgSyn(TABLE_1, lambda t: torch.full((1,), 60 / rate, dtype=torch.float64), **settings)


def test_the_synthetic_heart_is_a_direct_integration_of_its_equations():
    theta = np.array([-np.pi / 3, -np.pi / 12, 0, np.pi / 12, np.pi / 2])
    a, b = np.array([1.2, -5, 30, -7.5, 0.75]), np.array([0.25, 0.1, 0.1, 0.1, 0.4])

    def slope(t, state):
        x, y, z = state
        alpha, omega = 1 - np.hypot(x, y), 2 * np.pi * 70 / 60
        apart = (np.arctan2(y, x) - theta + np.pi) % (2 * np.pi) - np.pi
        baseline = 0.005 * np.sin(2 * np.pi * 0.25 * t)
        return [
            alpha * x - omega * y,
            alpha * y + omega * x,
            -(a * apart * np.exp(-(apart**2) / (2 * b**2))).sum() - (z - baseline),
        ]

    start, times = [0.4, 0.0, 0.01], np.linspace(0, 3, 301)
    ours = states(heart(70), [start], times)[:, 0]
    theirs = scipy.integrate.solve_ivp(
        slope, (0, 3), start, t_eval=times, method="LSODA", rtol=1e-10, atol=1e-12, max_step=0.01
    )
    assert np.allclose(ours, theirs.y.T, atol=1e-7)


@pytest.mark.parametrize("rate", [50, 60, 90])
def test_the_synthetic_heart_beats_at_its_rate_and_its_r_peak_has_the_height_of_the_linear_theory(rate):
    """On the unit circle z is a linear equation with a periodic push: its solution is an integral."""
    period, rate_hz = 60 / rate, 1000
    times = np.arange(0, 12 * period, 1 / rate_hz)
    start = torch.tensor([[-1.0, 0.0, 0.0]], dtype=torch.float64)
    system = heart(rate, respiration=0.0)
    z = systems.exact_states(system, start, torch.from_numpy(times), tolerance=1e-8)[:, 0, 2].numpy()
    last = z[-round(4 * period * rate_hz) :]
    peaks = scipy.signal.find_peaks(last, height=0.7 * last.max())[0]
    assert np.diff(peaks) / rate_hz == pytest.approx(period, abs=2e-3)

    omega = 2 * np.pi / period
    past = np.linspace(0, 15, 15_001)  # z = ∫ e^(-s) push(θ - ωs) ds
    angles = np.linspace(-0.1, 0.1, 41)
    apart = (angles[:, None, None] - omega * past[None, :, None] - TABLE_1.angle.numpy() + np.pi) % (2 * np.pi) - np.pi
    push = -(TABLE_1.strength.numpy() * apart * np.exp(-0.5 * (apart / TABLE_1.width.numpy()) ** 2)).sum(-1)
    expected = scipy.integrate.trapezoid(np.exp(-past) * push, past, axis=1).max()
    assert last.max() == pytest.approx(expected, rel=5e-3)
    assert 0.5 < MILLIVOLT * last.max() < 1.6 or rate != 60
