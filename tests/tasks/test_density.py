"""Densities and flows against closed forms, quadrature and SciPy."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from problems import integrator
from scipy.integrate import dblquad, quad
from scipy.stats import multivariate_normal, norm
from torch import nn

from nodebench.models.flows import (
    ConcatSquashField,
    ContinuousFlow,
    GaussianMixture,
    PlanarField,
    PlanarFlow,
    WithDivergence,
    noise_like,
)
from nodebench.spec import DataSource, Gradient, SolveFailed
from nodebench.tasks import find_task
from nodebench.tasks.contract import Setup
from nodebench.tasks.density import FFJORD_TOYS, DensityOptions
from nodebench.tasks.planar_densities import DENSITIES

# In nats: of FFJORD's toys and of torchdiffeq's circles, each to the digits known.
ENTROPIES = {
    "circles-small": 0.788,
    "circles": 3.268,
    "8gaussians": 2.832,
    "checkerboard": math.log(32),
    "rings": 2.623,
    "moons": 2.394,
}


def quadrature(name: str, count: int = 1200) -> tuple[float, float]:
    """Mass and entropy of a density by the midpoint rule over its box."""
    density = DENSITIES[name]
    side = 2 * density.box / count
    axis = -density.box + side * (torch.arange(count, dtype=torch.float64) + 0.5)
    mass = entropy = 0.0
    for x in axis.split(50):
        logs = density.log_density(torch.cartesian_prod(x, axis))
        p = logs.exp() * side**2
        mass += float(p.sum())
        entropy -= float((p * logs.nan_to_num(neginf=0.0)).sum())
    return mass, entropy


@pytest.mark.parametrize("name", ENTROPIES)
def test_an_exact_density_has_mass_one_and_the_known_entropy(name):
    count = 200 if name == "moons" else 1200
    mass, entropy = quadrature(name, count)
    assert mass == pytest.approx(1, abs=1e-4)
    assert entropy == pytest.approx(ENTROPIES[name], abs=2e-3)


@pytest.mark.parametrize("name", ENTROPIES)
def test_points_are_drawn_from_the_density(name):
    """The mean log-density of points is the negative entropy, within four standard errors."""
    points = DENSITIES[name].sample(20_000, torch.Generator().manual_seed(0))
    logs = DENSITIES[name].log_density(points)
    error = max(float(logs.std()) / len(logs) ** 0.5, 1e-9)
    assert abs(float(logs.mean()) + ENTROPIES[name]) < 4 * error + 2e-3


@pytest.mark.parametrize("name", DENSITIES)
def test_nearly_all_points_lie_in_the_box(name):
    points = DENSITIES[name].sample(5000, torch.Generator().manual_seed(1))
    assert points.shape == (5000, 2)
    assert (points.abs() <= DENSITIES[name].box).all(1).double().mean() > 0.999


def mass_of(name: str) -> float:
    """The integral of exp(−U) over [−4, 4]², by SciPy: along y in closed form where U is that of normal densities."""
    if name == "u1":
        return dblquad(lambda y, x: math.exp(-energies(x, y)[name]), -4, 4, -4, 4, epsabs=1e-4, epsrel=1e-4)[0]

    def along_y(x: float) -> float:
        w1 = math.sin(2 * math.pi * x / 4)
        w2, w3 = 3 * math.exp(-0.5 * ((x - 1) / 0.6) ** 2), 3 / (1 + math.exp(-(x - 1) / 0.3))
        parts = {"u2": [(w1, 0.4)], "u3": [(w1, 0.35), (w1 - w2, 0.35)], "u4": [(w1, 0.4), (w1 - w3, 0.35)]}[name]
        shares = (norm(mean, width).cdf([-4, 4]) @ [-1, 1] for mean, width in parts)
        return sum(math.sqrt(2 * math.pi) * width * share for (_, width), share in zip(parts, shares, strict=True))

    return quad(along_y, -4, 4, epsrel=1e-6)[0]


def energies(x: float, y: float) -> dict[str, float]:
    """The four energies of Rezende and Mohamed 2015, table 1, written out with the names that they have there."""
    w1 = math.sin(2 * math.pi * x / 4)
    w2 = 3 * math.exp(-0.5 * ((x - 1) / 0.6) ** 2)
    w3 = 3 / (1 + math.exp(-(x - 1) / 0.3))
    sides = math.exp(-0.5 * ((x - 2) / 0.6) ** 2) + math.exp(-0.5 * ((x + 2) / 0.6) ** 2)
    return {
        "u1": 0.5 * ((math.hypot(x, y) - 2) / 0.4) ** 2 - math.log(sides),
        "u2": 0.5 * ((y - w1) / 0.4) ** 2,
        "u3": -math.log(math.exp(-0.5 * ((y - w1) / 0.35) ** 2) + math.exp(-0.5 * ((y - w1 + w2) / 0.35) ** 2)),
        "u4": -math.log(math.exp(-0.5 * ((y - w1) / 0.4) ** 2) + math.exp(-0.5 * ((y - w1 + w3) / 0.35) ** 2)),
    }


@pytest.mark.parametrize("name", ["u1", "u2", "u3", "u4"])
def test_a_density_of_an_energy_is_that_of_its_source(name):
    total, entropy = quadrature(name, 400)
    assert total == pytest.approx(1, abs=1e-4)
    mass = mass_of(name)
    for x, y in ((1.3, 0.4), (-1.9, -0.2), (0.2, 0.9), (2.5, -1.0)):
        expected = -energies(x, y)[name] - math.log(mass)
        found = DENSITIES[name].log_density(torch.tensor([[x, y]], dtype=torch.float64))
        assert float(found) == pytest.approx(expected, abs=2e-4)
    assert DENSITIES[name].log_density(torch.tensor([[0.0, 4.1]], dtype=torch.float64)) == -math.inf
    logs = DENSITIES[name].log_density(DENSITIES[name].sample(20_000, torch.Generator().manual_seed(0)))
    assert abs(float(logs.mean()) + entropy) < 4 * float(logs.std()) / len(logs) ** 0.5


class Linear(nn.Module):
    matrix = torch.tensor([[0.3, 0.8], [-0.5, 0.4]], dtype=torch.float64)

    def forward(self, t, z):
        return z @ self.matrix


def tight(gradient=None):
    return integrator("dopri5", rtol=1e-10, atol=1e-10, gradient=gradient)


CONTINUOUS = ("planar-cnf", "ffjord")
POINTS = torch.randn(7, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_a_linear_flow_has_its_density_in_closed_form():
    """The push-forward of a normal density by a linear map is normal."""
    end, variance = 0.7, 0.5
    flow = ContinuousFlow(Linear(), tight(), end, variance).double()
    spread = torch.linalg.matrix_exp(end * Linear.matrix)
    covariance = (variance * spread.T @ spread).numpy()
    by_scipy = multivariate_normal(np.zeros(2), covariance).logpdf(POINTS.numpy())
    with torch.no_grad():
        assert np.allclose(flow(POINTS, torch.zeros_like(POINTS)).numpy(), by_scipy, atol=1e-8)


def fields():
    torch.manual_seed(0)
    return PlanarField(2, 8, 5).double(), ConcatSquashField((2, 9, 9, 2)).double()


@pytest.mark.parametrize("field", fields(), ids=lambda field: type(field).__name__)
def test_the_exact_trace_is_that_of_the_jacobian(field):
    t = torch.tensor(0.3, dtype=torch.float64)
    state = torch.cat([POINTS, torch.zeros(7, 1, dtype=torch.float64)], 1)
    with torch.no_grad():
        found = -WithDivergence(field, exact=True)(t, state)[:, -1]
    by_hand = [torch.autograd.functional.jacobian(lambda z: field(t, z[None])[0], point).trace() for point in POINTS]
    assert torch.allclose(found, torch.stack(by_hand), atol=1e-12)


def test_an_estimate_is_right_on_average_and_rademacher_noise_varies_less():
    (_, field), t = fields(), torch.tensor(0.3, dtype=torch.float64)
    point, count = POINTS[:1].expand(4000, 2), 4000
    state = torch.cat([point, torch.zeros(count, 1, dtype=torch.float64)], 1)
    divergence = WithDivergence(field, exact=False)
    noise = torch.randn(count, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    spreads = {}
    with torch.no_grad():
        exact = float(WithDivergence(field, exact=True)(t, state)[0, -1])
        for name, drawn in (("gaussian", noise), ("rademacher", noise.sign())):
            divergence.noise = drawn
            found = divergence(t, state)[:, -1]
            spreads[name] = float(found.std())
            assert abs(float(found.mean()) - exact) < 4 * spreads[name] / count**0.5
    assert spreads["rademacher"] < spreads["gaussian"]


def test_planar_units_are_summed_as_their_formula_says():
    field, t = PlanarField(2, 8, 5).double(), torch.tensor(0.4, dtype=torch.float64)
    weights = field.net(t.reshape(1, 1)).reshape(5, 7)
    by_hand = torch.zeros_like(POINTS)
    for w1, w2, u1, u2, g1, g2, b in weights:
        h = torch.tanh(POINTS[:, 0] * w1 + POINTS[:, 1] * w2 + b)
        by_hand += torch.stack([h * u1 * torch.sigmoid(g1), h * u2 * torch.sigmoid(g2)], 1) / 5
    assert torch.allclose(field(t, POINTS), by_hand)


@pytest.mark.parametrize(("start", "factor"), [("identity", math.e - 1), ("published", 1.0)])
def test_planar_layers_have_the_determinant_of_their_jacobian_and_can_be_inverted(start, factor):
    torch.manual_seed(0)
    flow = PlanarFlow(2, 6, start).double()
    for parameter in flow.parameters():
        parameter.data.normal_(std=2.0)

    def base(point):
        """The point at the base, from the log-density alone: its gradient with respect to the base is not needed."""
        z = (point - flow.shift) * torch.exp(flow.scale)
        for w, u, b in zip(flow.inner, flow.outer, flow.bias, strict=True):
            along = w @ u
            moved = u + (torch.log1p(factor * torch.exp(along)) - 1 - along) * w / (w @ w)
            assert w @ moved >= -1
            z = z + torch.tanh(z @ w + b) * moved
        return z

    for point in POINTS:
        determinant = torch.autograd.functional.jacobian(base, point).det().abs()
        normal = multivariate_normal(np.zeros(2), np.eye(2)).logpdf(base(point).detach().numpy())
        found = flow(point[None], torch.zeros(1, 2, dtype=torch.float64))
        assert float(found) == pytest.approx(float(normal) + float(determinant.log()), abs=1e-9)


@pytest.mark.parametrize(("start", "nats"), [("identity", 0), ("published", 20)])
def test_planar_layers_begin_near_the_density_of_the_base_or_by_the_published_formula_far_from_it(start, nats):
    """The mean logarithm of their initial density on points of the base: that of the base is its negative entropy."""
    torch.manual_seed(0)
    flow, points = PlanarFlow(2, 64, start), torch.randn(2_000, 2)
    of_base = multivariate_normal(np.zeros(2), np.eye(2)).logpdf(points.numpy()).mean()
    assert float(flow(points, points).mean()) == pytest.approx(of_base - nats, abs=0.2 + 0.2 * nats)


def test_a_mixture_is_that_of_scipy():
    torch.manual_seed(0)
    mixture = GaussianMixture(2, 3).double()
    mixture.log_scales.data.normal_()
    mixture.logits.data.normal_()
    shares = torch.softmax(mixture.logits, 0).detach().numpy()
    parts = zip(mixture.means.detach().numpy(), mixture.log_scales.exp().square().detach().numpy(), shares, strict=True)
    by_scipy = sum(share * multivariate_normal(mean, np.diag(variance)).pdf(POINTS) for mean, variance, share in parts)
    assert np.allclose(mixture(POINTS, POINTS).exp().detach().numpy(), by_scipy)


def experiment(model: str, **options):
    setup = Setup(
        model=model,
        options=find_task("density").presets["smoke"].model_copy(update=options),
        solve=tight(),
        seed=0,
        device=torch.device("cpu"),
        dtype=torch.float64,
        dataset=None,
        source=DataSource(),
    )
    return find_task("density").build(setup)


@pytest.mark.parametrize("model", ["planar-cnf", "ffjord", "nsf", "gmm"])
def test_the_mass_of_a_model_is_one_and_its_points_come_back(model):
    """Under a linear field in place of the network, so that the box holds what it spreads."""
    if model == "nsf":
        pytest.importorskip("zuko")
    built = experiment(model, density="circles", grid=80)
    if model in CONTINUOUS:
        built.model.field.field = Linear()
        built.model.base_variance = 0.4
        built.model.times = torch.tensor([0.5, 0.0], dtype=torch.float64)
    elif model == "gmm":
        built.model.means.data *= 0.25
    with torch.no_grad():
        found = built.metrics(built.model)
    assert found["density_mass"] == pytest.approx(1, abs=1e-3)
    if model in CONTINUOUS:
        assert found["round_trip_error"] < 1e-7


def test_a_spline_flow_without_its_library_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "zuko.flows", None)
    with pytest.raises(SolveFailed, match=r"pip install 'nodebench\[flows\]'"):
        experiment("nsf")


@pytest.mark.slow
def test_the_task_does_not_import_the_library_of_spline_flows():
    assert (
        "zuko"
        not in subprocess.run(
            [sys.executable, "-X", "importtime", "-c", "import nodebench.tasks.density"],
            capture_output=True,
            text=True,
            check=True,
        ).stderr
    )


def test_a_continuous_flow_has_the_density_of_zukos_at_equal_weights():
    """zuko has an adjoint, a solver (Dormand-Prince) and a trace of its own."""
    transforms = pytest.importorskip("zuko.transforms")
    torch.manual_seed(0)
    field = ConcatSquashField((2, 16, 16, 2)).double()
    for parameter in field.parameters():
        parameter.data.mul_(2)
    flow = ContinuousFlow(field, tight(Gradient.ADJOINT), 0.5).double()
    theirs = transforms.FreeFormJacobianTransform(field, 0.5, 0.0, field.parameters(), atol=1e-10, rtol=1e-10)

    def by_zuko():
        base, log_determinant = theirs.call_and_ladj(POINTS)
        return torch.distributions.Normal(0.0, 1.0).log_prob(base).sum(-1) + log_determinant

    ways = [flow(POINTS, torch.zeros_like(POINTS)), by_zuko()]
    assert torch.allclose(*ways, rtol=0, atol=1e-7)
    gradients = []
    for logs in ways:
        field.zero_grad()
        logs.mean().backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in field.parameters()]))
    assert torch.allclose(*gradients, rtol=1e-5, atol=1e-7)


def evaluations(redraw: bool) -> int:
    torch.manual_seed(0)
    solve = integrator("dopri5", rtol=1e-5, atol=1e-5)
    flow = ContinuousFlow(ConcatSquashField((2, 16, 2)), solve, 0.5, trace="gaussian", redraw=redraw)
    points = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        flow(points, noise_like(points, "gaussian"))
    return solve.counter.forward


def test_noise_that_is_redrawn_takes_an_adaptive_solver_many_more_steps():
    """The solver takes noise for curvature: torchdiffeq issue 120."""
    assert evaluations(redraw=True) > 5 * evaluations(redraw=False)


def test_the_trace_is_exact_in_evaluation_whatever_it_is_in_training():
    torch.manual_seed(0)
    flow = ContinuousFlow(ConcatSquashField((2, 8, 2)), tight(), 0.5, trace="rademacher").double()
    noise = noise_like(POINTS, "rademacher").double()
    exact = flow(POINTS, noise, exact=True)
    assert not torch.allclose(flow(POINTS, noise), exact, atol=1e-3)
    assert torch.equal(flow.eval()(POINTS, noise), exact)


def test_a_learned_end_time_starts_at_the_fixed_one_and_has_a_gradient():
    flows = []
    for train_end in (False, True):
        torch.manual_seed(0)
        flows.append(ContinuousFlow(ConcatSquashField((2, 8, 2)), tight(), 0.5, train_end=train_end).double())
    fixed, learned = flows
    assert torch.allclose(learned(POINTS, POINTS), fixed(POINTS, POINTS), atol=1e-9)
    assert fixed.end == learned.end == 0.5

    learned(POINTS, POINTS).mean().backward()
    root, values = learned.field.field.root, []
    for end in (0.5 + 1e-4, 0.5 - 1e-4):  # of the flow whose end time is fixed there
        fixed.times = torch.tensor([end, 0.0], dtype=torch.float64)
        values.append(float(fixed(POINTS, POINTS).mean().detach()))
    # The end time is half the square of the parameter, so that both have one gradient at 1.
    assert float(root.grad) == pytest.approx((values[0] - values[1]) / 2e-4, rel=1e-4)
    root.data.fill_(1.2)
    assert learned.end == pytest.approx(0.72)


def test_the_spread_of_estimates_is_that_of_a_quadratic_form():
    """Under a linear field the error is the time times a form in the noise, of known variance."""
    built = experiment("ffjord", density="8gaussians", test_points=4000)
    built.model.field.field = Linear()
    built.model.times = torch.tensor([0.5, 0.0], dtype=torch.float64)
    with torch.no_grad():
        found = built.metrics(built.model)
    form = (Linear.matrix + Linear.matrix.T) / 2
    gaussian = 0.5 * math.sqrt(2 * float(form.square().sum()))
    rademacher = 0.5 * math.sqrt(2 * float((form - form.diag().diag()).square().sum()))
    assert found["estimate_spread"] == pytest.approx(gaussian, rel=0.1)
    assert found["rademacher_spread"] == pytest.approx(rademacher, rel=0.1)
    assert found["estimate_bias_error"] == pytest.approx(found["estimate_spread"] / 4000**0.5)
    assert abs(found["estimate_bias"]) < 4 * found["estimate_bias_error"]


def test_the_settings_of_the_authors_are_options_of_the_task():
    assert DensityOptions().model_copy(update=FFJORD_TOYS) == DensityOptions.model_validate(dict(FFJORD_TOYS))
    assert FFJORD_TOYS["epochs"] * FFJORD_TOYS["steps_per_epoch"] == 10_000


def test_a_sign_error_in_the_trace_is_seen_in_the_mass(monkeypatch):
    built = experiment("ffjord", density="circles", grid=80)
    built.model.field.field = Linear()
    sign = torch.tensor([1.0, 1.0, -1.0])
    right = WithDivergence._joined
    monkeypatch.setattr(WithDivergence, "_joined", lambda self, slope, pull: right(self, slope, pull) * sign)
    with torch.no_grad():
        assert abs(built.metrics(built.model)["density_mass"] - 1) > 0.5


def test_excess_nats_of_the_truth_itself_are_none():
    """A mixture whose parts are the eight normal densities of the data."""
    built = experiment("gmm", density="8gaussians", units=8, test_points=2000)
    angles = 2 * math.pi * torch.arange(8, dtype=torch.float64) / 8
    built.model.means.data = 4 / math.sqrt(2) * torch.stack([angles.cos(), angles.sin()], 1)
    built.model.log_scales.data.fill_(math.log(0.5 / math.sqrt(2)))
    with torch.no_grad():
        found = built.metrics(built.model)
    assert found["excess_nats"] == pytest.approx(0, abs=1e-12)
    assert found["nats"] == pytest.approx(ENTROPIES["8gaussians"], abs=0.06)


def test_the_adjoint_differentiates_through_the_trace():
    gradients = {}
    for gradient in (Gradient.DIRECT, Gradient.ADJOINT):
        torch.manual_seed(0)
        flow = ContinuousFlow(ConcatSquashField((2, 6, 2)), tight(gradient), 0.5).double()
        (-flow(POINTS, torch.zeros_like(POINTS)).mean()).backward()
        gradients[gradient] = torch.cat([p.grad.flatten() for p in flow.parameters() if p.grad is not None])
    assert torch.allclose(*gradients.values(), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("exact", [True, False])
def test_a_compiled_flow_has_the_derivative_and_the_gradient_of_the_eager_one(exact):
    torch.manual_seed(0)
    field = WithDivergence(ConcatSquashField((2, 6, 2)), exact)
    field.noise = torch.randn(5, 2)
    state, found = torch.randn(5, 3, requires_grad=True), []
    for flow in (field, torch.compile(field, backend="aot_eager", fullgraph=True)):
        slope = flow(torch.tensor(0.3), state)
        found.append([slope, *torch.autograd.grad(slope.square().sum(), [state, *field.parameters()])])
    with torch.no_grad():
        found[0].append(field(torch.tensor(0.3), state))
        found[1].append(flow(torch.tensor(0.3), state))
    for eager, compiled in zip(*found, strict=True):
        torch.testing.assert_close(compiled, eager)


def test_every_density_can_be_chosen():
    assert set(DensityOptions.model_fields["density"].annotation.__args__) == set(DENSITIES)


@pytest.mark.slow
def test_flows_are_trained_to_the_density(nodebench):
    import json

    options = ["--model", "ffjord,gmm", "--set", "density=8gaussians", "--threads", "1", "--json", "--no-timing"]
    code, out, err = nodebench("run", "density", *options, "--passes", "training", "--gradient", "direct")
    assert code == 0, err
    for line in out.splitlines():
        metrics = json.loads(line)["metrics"]
        assert metrics["excess_nats"] < 0.5
        assert metrics["density_mass"] == pytest.approx(1, abs=0.05)


def test_a_picture_has_the_density_on_its_grid_and_the_points_of_the_flow():
    built = experiment("ffjord", density="circles", grid=30)
    built.model.field.field = Linear()
    built.model.eval()
    with torch.no_grad():
        shown = built.picture(built.model)
        point = torch.tensor([[shown.axes[0][20], shown.axes[1][7]]])
        assert shown.density[7, 20] == pytest.approx(float(built.model(point, point).exp()))
    assert shown.times[-1] == 0.5
    spread = torch.matrix_exp(0.5 * Linear.matrix).numpy()
    assert np.allclose(shown.moved[-1], shown.moved[0] @ spread, atol=1e-7)
    assert shown.moved.shape[1:] == (500, 2)
