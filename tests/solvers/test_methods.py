"""Every solver against closed forms and against its library's own statistics."""

import math

import pytest
import scipy.integrate
import torch
import torchdiffeq
import torchdiffeq._impl.scipy_wrapper as wrapper
from problems import UNIT, Logistic, Network, integrator
from torchdiffeq._impl.dopri8 import Dopri8Solver
from torchdiffeq._impl.odeint import SOLVERS

from nodebench.errors import BadInput
from nodebench.instruments import NfeCounter
from nodebench.solvers import canonical_name, find_solver, solver_names
from nodebench.spec import Gradient, SolveFailed, Status
from nodebench.tasks.exponential import RelaxationField

ADAPTIVE_RK = [
    name
    for name, (adapter, method) in solver_names().items()
    if adapter.backend == "torchdiffeq" and adapter.methods()[method].adaptive
]
# Those whose step can be held; of diffrax, which compiles each for seconds, one of each kind.
WITH_ORDER = [
    name
    for name, (adapter, method) in solver_names().items()
    if adapter.methods()[method].order
    and (adapter.holds_steps or not adapter.methods()[method].adaptive)
    and (adapter.backend != "diffrax" or method in {"euler", "tsit5", "kvaerno3"})
]
NAMES = list(solver_names())
COMPILED = {"diffrax:euler", "diffrax:kvaerno3"}
X0 = torch.tensor([0.1, 0.5], dtype=torch.float64)


def test_the_library_is_asked_for_its_methods():
    listed = {name for name, (adapter, _) in solver_names().items() if adapter.backend == "torchdiffeq"}
    assert listed == {name for name, solver in SOLVERS.items() if solver.__module__.startswith("torchdiffeq")} - {
        "scipy_solver"
    }


def test_an_alias_is_the_solver_it_stands_for():
    assert canonical_name("fixed_adams") == canonical_name("torchdiffeq:implicit_adams") == "implicit_adams"


def test_an_unknown_solver_is_refused_with_the_nearest():
    with pytest.raises(BadInput, match="did you mean dopri8"):
        find_solver("dopry8")


# Each method of diffrax takes seconds to compile.
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if "diffrax" in name and name not in COMPILED else name
        for name in NAMES
    ],
)
def test_every_solver_solves_the_logistic_equation_forwards_and_backwards(name):
    method = find_solver(name)[2]
    tight = (1e-8, 1e-10) if (method.order or 5) > 2 else (1e-6, 1e-8)
    control = dict(zip(("rtol", "atol"), tight, strict=True)) if method.adaptive else {"step_size": 1 / 512}
    solve, field = integrator(name, **control), Logistic()
    bound = 1e-3 if method.order == 1 else 1e-4 if method.order == 2 else 1e-5
    solution = solve(field, X0, UNIT.double())
    assert solution.shape == (2, 2)
    assert (solution[-1] - field.solution(X0, 1.0)).abs().max() < bound
    back = solve(field, field.solution(X0, 1.0), UNIT.double().flip(0))
    assert (back[-1] - X0).abs().max() < bound
    if name in COMPILED:  # of an implicit method nobody can count the evaluations
        assert solve.counter.blind == (name == "diffrax:kvaerno3")


def observed_order(name: str, field, x0: torch.Tensor, end: float, exact: torch.Tensor) -> float:
    times, errors = torch.tensor([0.0, end], dtype=torch.float64), []
    for halvings in range(1, 10):  # enough for every method; each further one doubles the time
        solution = integrator(name, step_size=end / 2**halvings)(field, x0, times)[-1]
        errors.append(((solution - exact) / exact).abs().max().item())
        if errors[-1] < 1e-13:
            errors.pop()
            break
    return math.log2(errors[-2] / errors[-1])


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name in COMPILED else name
        for name in WITH_ORDER
        if name != "dopri8"
    ],
)
def test_observed_order_is_the_nominal_order(name):
    """With the step held constant, on x' = 1 - x, in float64.

    dopri8 is left to the next tests. Of the others, the Adams methods of torchdiffeq raise their order with
    every step to 11 and 12, and SciPy's BDF and LSODA change it by the error: they have no order to observe.
    """
    field, x0 = RelaxationField(), torch.tensor([3.0], dtype=torch.float64)
    exact = field.solution(x0, torch.tensor([0.0, 4.0], dtype=torch.float64))[-1]
    assert observed_order(name, field, x0, 4.0, exact) == pytest.approx(find_solver(name)[2].order, abs=0.25)


def test_dopri8_has_order_8_on_a_nonlinear_field():
    x0 = torch.tensor([0.1], dtype=torch.float64)
    exact = Logistic().solution(x0, 4.0)
    assert observed_order("dopri8", Logistic(), x0, 4.0, exact) == pytest.approx(8, abs=0.25)


def test_dopri8_nearly_has_order_9_on_a_linear_field():
    """Why toy/exponential shows more than 8: the stability function agrees with exp to 0.13 % at order 9."""
    tableau = Dopri8Solver.tableau
    stages = len(tableau.alpha) + 1
    matrix = torch.zeros(stages, stages, dtype=torch.float64)
    for row, beta in enumerate(tableau.beta, start=1):
        matrix[row, : len(beta)] = beta
    power = torch.linalg.matrix_power(matrix, 8) @ torch.ones(stages, dtype=torch.float64)
    assert (tableau.c_sol @ power).item() * math.factorial(9) == pytest.approx(1, abs=2e-3)


def test_the_runge_kutta_start_limits_implicit_adams():
    """Its order rises to 12 with the steps taken, but two steps of rk4 leave an error of order 5."""
    x0 = torch.tensor([0.1], dtype=torch.float64)
    exact, times, errors = Logistic().solution(x0, 1.0), torch.tensor([0.0, 1.0], dtype=torch.float64), []
    for steps in (64, 128):
        solution = integrator("implicit_adams", step_size=1 / steps, rtol=1e-12, atol=1e-14)(Logistic(), x0, times)
        errors.append((solution[-1] - exact).abs().item())
    assert math.log2(errors[0] / errors[1]) == pytest.approx(5, abs=0.5)


# Evaluations at the start (the field and, to choose the first step, once more) and in each attempt.
ATTEMPT_COST = {"dopri5": 6, "dopri8": 13, "bosh3": 3, "fehlberg2": 2, "adaptive_heun": 1}


@pytest.mark.parametrize("name", ADAPTIVE_RK)
@pytest.mark.parametrize("rtol", [1e-3, 1e-6])
def test_nfe_is_what_the_librarys_step_attempts_imply(name, rtol):
    """torchdiffeq calls back at each attempt; its dopri5 costs 2 + 6 × attempts."""

    class Attempts(Network):
        accepted = rejected = 0

        def forward(self, t, y):
            return super().forward(t, y) * (20.0 if t > 0.5 else 1.0)

        def callback_accept_step(self, t0, y0, dt):
            self.accepted += 1

        def callback_reject_step(self, t0, y0, dt):
            self.rejected += 1

    library = Attempts()
    torchdiffeq.odeint(library, torch.ones(4, 3), UNIT, method=name, rtol=rtol, atol=rtol)
    solve = integrator(name, rtol=rtol, atol=rtol)
    solve(Attempts(), torch.ones(4, 3), UNIT)
    assert library.rejected > 0
    assert solve.counter.forward == 2 + ATTEMPT_COST[name] * (library.accepted + library.rejected)


@pytest.mark.parametrize("method", ["RK45", "RK23", "DOP853", "Radau", "BDF", "LSODA"])
def test_nfe_agrees_with_scipys_own_statistics(method, monkeypatch):
    """Radau and BDF also evaluate the field for each Jacobian, column by column, and BDF once more at its
    base point: SciPy leaves these out of nfev."""
    results, columns = [], []

    def spy(*args, **kwargs):
        results.append(scipy.integrate.solve_ivp(*args, **kwargs))
        return results[-1]

    real_jacobian = scipy.integrate._ivp.common.num_jac

    def jacobian(fun, *args, **kwargs):
        def counted(t, y):
            columns.append(y.shape[1])
            return fun(t, y)

        return real_jacobian(counted, *args, **kwargs)

    monkeypatch.setattr(wrapper, "solve_ivp", spy)
    monkeypatch.setattr(scipy.integrate._ivp.radau, "num_jac", jacobian)
    monkeypatch.setattr(scipy.integrate._ivp.bdf, "num_jac", jacobian)
    solve = integrator(f"scipy:{method}", rtol=1e-5, atol=1e-7)
    solve(Network(), torch.ones(2, 3), UNIT)
    assert len(results) == 1
    assert solve.counter.forward == results[0].nfev + sum(columns) + (results[0].njev if method == "BDF" else 0)


def test_scipy_that_gives_up_is_a_failed_solve():
    class BlowUp(torch.nn.Module):
        def forward(self, t, y):
            return y**2  # no solution past t = 1 from y(0) = 1

    with pytest.raises(SolveFailed) as failed:
        integrator("scipy:RK45")(BlowUp(), torch.ones(1), torch.tensor([0.0, 2.0]))
    assert failed.value.status is Status.DT_UNDERFLOW


@pytest.mark.parametrize(("value", "status"), [(float("nan"), Status.NON_FINITE), (float("inf"), Status.NON_FINITE)])
def test_torchdiffeq_tells_nan_from_underflow(value, status):
    class Breaks(torch.nn.Module):
        def forward(self, t, y):
            return -y if t < 0.5 else y * value

    solve = integrator("dopri5")
    with pytest.raises(AssertionError) as error:
        solve(Breaks(), torch.ones(1), UNIT)
    assert solve.failure(error.value).status is status


def test_torchdiffeq_underflow_is_recognised():
    class BlowUp(torch.nn.Module):
        def forward(self, t, y):
            return y**2

    solve = integrator("dopri5", NfeCounter())
    with pytest.raises(AssertionError) as error:
        solve(BlowUp(), torch.ones(1), torch.tensor([0.0, 2.0]))
    assert solve.failure(error.value).status is Status.DT_UNDERFLOW
    assert float(solve.counter.last_t) == pytest.approx(1.0, abs=1e-3)
    assert 0 < float(solve.counter.last_dt) < 1e-6


@pytest.mark.parametrize("solver", ["dopri5", "rk4", "implicit_adams", "scipy:LSODA"])
def test_field_parameters_get_gradients_through_the_counter(solver):
    field = Network()
    control = {"step_size": 0.1} if solver in {"rk4", "implicit_adams"} else {}
    loss = integrator(solver, gradient=Gradient.ADJOINT, **control)(field, torch.ones(2, 3), UNIT)[-1].sum()
    loss.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in field.parameters())
