import numpy as np
import pytest
import torch
import torchdiffeq
from problems import UNIT, Differentiating, Network, integrator, with_dropout
from torch import nn
from torch.utils.checkpoint import checkpoint

from nodebench.solvers import find_solver, is_installed, registry
from nodebench.solvers.gradients.checkpoint import COMPUTED_BEFORE
from nodebench.spec import Gradient, Status

TIMES = torch.tensor([0.0, 0.4, 1.0], dtype=torch.float64)
Y0 = torch.linspace(-1, 1, 6, dtype=torch.float64).reshape(2, 3)


def gradient(solver: str, kind: Gradient, **control) -> torch.Tensor:
    field = Network(width=4).double()
    integrator(solver, gradient=kind, **control)(field, Y0, TIMES).pow(2).sum().backward()
    return torch.cat([p.grad.reshape(-1) for p in field.parameters()])


def finite_differences(epsilon: float = 1e-5) -> torch.Tensor:
    """Central differences of the loss in each parameter, by a tight solve that no autograd touches."""
    field = Network(width=4).double()
    solve = integrator("dopri8", rtol=1e-13, atol=1e-13, land_on_outputs=True)
    differences = []
    with torch.no_grad():
        for parameter in field.parameters():
            flat = parameter.view(-1)
            for i in range(len(flat)):
                value, losses = flat[i].item(), []
                for sign in (1, -1):
                    flat[i] = value + sign * epsilon
                    losses.append(solve(field, Y0, TIMES).pow(2).sum().item())
                flat[i] = value
                differences.append((losses[0] - losses[1]) / (2 * epsilon))
    return torch.tensor(differences, dtype=torch.float64)


@pytest.fixture(scope="module")
def reference() -> torch.Tensor:
    return finite_differences()


@pytest.mark.parametrize("kind", list(Gradient))
@pytest.mark.parametrize(
    ("solver", "control"), [("dopri5", {"rtol": 1e-10, "atol": 1e-10}), ("rk4", {"step_size": 0.01})]
)
def test_gradients_agree_with_finite_differences(kind, solver, control, reference):
    found = gradient(solver, kind, **control)
    assert ((found - reference).norm() / reference.norm()).item() < 1e-7


def test_scipys_adjoint_agrees_with_finite_differences(reference):
    found = gradient("scipy:LSODA", Gradient.ADJOINT, rtol=1e-10, atol=1e-10)
    assert ((found - reference).norm() / reference.norm()).item() < 1e-6


def test_the_adjoints_error_falls_with_its_own_tolerance(reference):
    tolerances = [10.0**-n for n in range(2, 10)]
    errors = [
        (gradient("dopri5", Gradient.ADJOINT, rtol=1e-11, atol=1e-11, adjoint_rtol=tol, adjoint_atol=tol) - reference)
        .norm()
        .item()
        for tol in tolerances
    ]
    slope = np.polyfit(np.log(tolerances), np.log(errors), 1)[0]
    assert 0.6 < slope < 1.4
    assert errors[-1] < 1e-5 * errors[0]


@pytest.mark.parametrize("solver", ["rk4", "dopri5"])
def test_the_checkpoint_gradient_of_a_random_field_is_that_of_what_was_solved(solver):
    """The second solve of a segment must draw the random numbers of the first one."""

    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.rate = nn.Parameter(torch.tensor(0.5))
            self.dropout = nn.Dropout(0.5)

        def forward(self, t, y):
            return -self.rate * self.dropout(y)

    found = []
    for gradient in (Gradient.DIRECT, Gradient.CHECKPOINT):
        field, y0 = Noisy(), torch.ones(4, 8, requires_grad=True)
        fixed = {"step_size": 0.25} if solver == "rk4" else {"rtol": 0.5, "atol": 0.5}
        solve = integrator(solver, gradient=gradient, segments=1, **fixed)
        torch.manual_seed(3)
        solve(field, y0, UNIT)[-1].square().sum().backward()
        found.append((y0.grad, field.rate.grad))
    for direct, checkpointed in zip(*found, strict=True):
        torch.testing.assert_close(checkpointed, direct)


class Counted(nn.Module):
    """A field that counts its own calls."""

    def __init__(self, field: nn.Module) -> None:
        super().__init__()
        self.field, self.calls = field, 0

    def forward(self, t, y):
        self.calls += 1
        return self.field(t, y)


@pytest.mark.parametrize("derivatives", [1, 2])
@pytest.mark.parametrize("needed", [True, False])
def test_checkpoints_take_a_field_that_differentiates_once_each_way(derivatives, needed):
    """One more call detects the derivative. The parameters get their gradient if the initial state needs none, too."""
    found, n, segments = [], 8, 2  # two steps of rk4, one in each segment
    for gradient in (Gradient.DIRECT, Gradient.CHECKPOINT):
        field, y0 = Counted(Differentiating(derivatives)), torch.ones(3, dtype=torch.float64, requires_grad=needed)
        solve = integrator("rk4", gradient=gradient, segments=segments, step_size=0.5)
        end = solve(field, y0, UNIT.double())[-1]
        assert field.calls == n + (gradient is Gradient.CHECKPOINT)
        end.square().sum().backward()
        found.append([field.field.rate.grad, *([y0.grad] if needed else [])])
    assert field.calls == 1 + 2 * n
    for direct, checkpointed in zip(*found, strict=True):
        torch.testing.assert_close(checkpointed, direct, rtol=1e-12, atol=1e-12)


def test_checkpoints_draw_what_direct_draws_in_a_field_that_differentiates():
    """The call that detects the derivative draws too, and its numbers are put back."""
    for direct, checkpointed in zip(with_dropout(Gradient.DIRECT), with_dropout(Gradient.CHECKPOINT), strict=True):
        torch.testing.assert_close(checkpointed, direct, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("by_state", "says"), [(True, r"incompatible with \.grad\(\)"), (False, "not have been used")])
def test_torch_refuses_autograd_grad_through_checkpoints_of_a_field_that_differentiates(by_state, says):
    field, y0 = Differentiating(), torch.ones(3, dtype=torch.float64, requires_grad=True)
    solve = integrator("rk4", gradient=Gradient.CHECKPOINT, segments=2, step_size=0.5)
    loss = solve(field, y0, UNIT.double())[-1].square().sum()
    with pytest.raises(RuntimeError, match=says):
        torch.autograd.grad(loss, y0 if by_state else field.rate)


def test_a_tensor_computed_before_the_solve_is_refused_with_the_reason():
    """A leaf is reached from each segment; a tensor with a graph of its own only once."""
    leaf = torch.ones(3, dtype=torch.float64, requires_grad=True)
    found = []
    for gradient in (Gradient.DIRECT, Gradient.CHECKPOINT):
        solve, leaf.grad = integrator("rk4", gradient=gradient, segments=2, step_size=0.5), None
        states = solve(Differentiating(factor=leaf), torch.ones(3, dtype=torch.float64), UNIT.double())
        states[-1].square().sum().backward()
        found.append(leaf.grad)
    torch.testing.assert_close(found[1], found[0], rtol=1e-12, atol=1e-12)
    states = solve(Differentiating(factor=leaf.exp()), torch.ones(3, dtype=torch.float64), UNIT.double())
    with pytest.raises(RuntimeError) as refused:
        states[-1].square().sum().backward()
    failed = solve.failure(refused.value)
    assert (failed.status, str(failed)) == (Status.UNSUPPORTED, COMPUTED_BEFORE)


@pytest.mark.parametrize("derivatives", [1, 2])
def test_non_reentrant_checkpoints_repeat_a_segment_at_each_derivative(derivatives):
    """A segment of n calls with k derivatives each takes n + k n (n + 1) / 2 calls in the forward pass."""
    calls = 0

    def chain(y):
        nonlocal calls
        for _ in range(4):
            calls += 1
            value = y.sin().sum()
            y = y + sum(torch.autograd.grad(value, y, create_graph=True)[0] for _ in range(derivatives))
        return y

    checkpoint(chain, torch.ones(3, requires_grad=True), use_reentrant=False)
    assert calls == 4 + derivatives * 4 * 5 // 2


@pytest.mark.parametrize(
    ("kind", "options"), [(Gradient.ADJOINT, {}), (Gradient.ADJOINT_SEMINORM, {"norm": "seminorm"})]
)
def test_the_backward_solve_is_the_librarys_own_with_its_own_norm(kind, options):
    """Gradient and evaluations of the library called by hand; the two norms take different steps."""
    tolerances = {"rtol": 1e-5, "atol": 1e-5, "adjoint_rtol": 1e-5, "adjoint_atol": 1e-7}
    field = Counted(Network(width=4).double())
    states = torchdiffeq.odeint_adjoint(
        field, Y0, TIMES, method="dopri5", **tolerances, adjoint_options={**options} if options else None
    )
    forward = field.calls
    states.pow(2).sum().backward()
    by_hand = torch.cat([p.grad.reshape(-1) for p in field.parameters()])

    ours = Network(width=4).double()
    solve = integrator("dopri5", gradient=kind, **tolerances)
    loss = solve(ours, Y0, TIMES).pow(2).sum()
    solve.counter.begin_backward()
    loss.backward()
    assert (solve.counter.forward, solve.counter.backward) == (forward, field.calls - forward)
    assert torch.equal(torch.cat([p.grad.reshape(-1) for p in ours.parameters()]), by_hand)


@pytest.mark.parametrize("solver", ["dopri5", pytest.param("diffrax:dopri5", marks=pytest.mark.slow)])
def test_the_seminorm_takes_other_steps_than_the_whole_norm(solver):
    if not is_installed(registry.adapters()[registry.parts_of(solver)[0]]):
        pytest.skip(f"{solver} is not installed")
    tolerances = {"rtol": 1e-6, "atol": 1e-6, "adjoint_rtol": 1e-7, "adjoint_atol": 1e-9}
    whole, semi = (gradient(solver, kind, **tolerances) for kind in (Gradient.ADJOINT, Gradient.ADJOINT_SEMINORM))
    assert not torch.equal(whole, semi)
    assert ((whole - semi).norm() / whole.norm()).item() < 1e-2
    assert find_solver(solver)[2].adaptive
