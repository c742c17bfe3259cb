import time

import pytest
import torch
from problems import UNIT, Network, integrator

from nodebench.instruments import (
    Budget,
    CountedField,
    NfeCounter,
)
from nodebench.spec import Gradient, SolveFailed, Status

Y0 = torch.ones(4, 3)

# Evaluations of one step, and of the first steps of a multistep method, from the methods' definitions.
STAGES = {"euler": 1, "midpoint": 2, "heun2": 2, "heun3": 3, "rk4": 4}


@pytest.mark.parametrize("solver", STAGES)
@pytest.mark.parametrize("steps", [1, 4, 7])
def test_fixed_steps_cost_their_stages(solver, steps):
    solve = integrator(solver, step_size=1 / steps)
    solve(Network(), Y0, UNIT)
    assert solve.counter.forward == STAGES[solver] * steps


@pytest.mark.parametrize("steps", [2, 3, 10])
def test_explicit_adams_costs_one_evaluation_after_its_two_runge_kutta_steps(steps):
    solve = integrator("explicit_adams", step_size=1 / steps)
    solve(Network(), Y0, UNIT)
    assert solve.counter.forward == 4 * min(steps, 2) + max(steps - 2, 0)


def test_without_a_step_size_there_is_one_step_per_output_interval():
    solve = integrator("rk4")
    solve(Network(), Y0, torch.linspace(0, 1, 6))
    assert solve.counter.forward == 4 * 5


def test_a_batch_counts_one():
    small, large = integrator("rk4"), integrator("rk4")
    small(Network(), torch.ones(1, 3), UNIT)
    large(Network(), torch.ones(500, 3), UNIT)
    assert small.counter.forward == large.counter.forward == 4


def test_the_adjoint_of_a_fixed_method_counts_backward_evaluations_and_their_vjps():
    counter = NfeCounter(count_vjps=True)
    solve = integrator("rk4", counter, step_size=0.25, gradient=Gradient.ADJOINT)
    loss = solve(Network(), Y0, UNIT)[-1].sum()
    counter.begin_backward()
    loss.backward()
    assert (counter.forward, counter.backward, counter.vjp) == (16, 16, 16)


def test_direct_solves_nothing_backwards_and_has_a_vjp_for_each_evaluation():
    counter = NfeCounter(count_vjps=True)
    solve = integrator("rk4", counter, step_size=0.25, gradient=Gradient.DIRECT)
    loss = solve(Network(), Y0, UNIT)[-1].sum()
    counter.begin_backward()
    loss.backward()
    assert (counter.forward, counter.backward, counter.vjp) == (16, 0, 16)


def test_rejected_steps_count_but_get_no_vjp():
    """Under direct, an evaluation that a rejected step threw away is not differentiated."""

    class Kink(Network):
        def forward(self, t, y):
            return super().forward(t, y) * (50.0 if t > 0.5 else 1.0)

    counter = NfeCounter(count_vjps=True)
    solve = integrator("dopri5", counter, rtol=1e-4, atol=1e-4, gradient=Gradient.DIRECT)
    loss = solve(Kink(), Y0, UNIT)[-1].sum()
    counter.begin_backward()
    loss.backward()
    assert 0 < counter.vjp < counter.forward


def test_each_solve_has_the_budget_anew():
    solve = integrator("rk4", NfeCounter(Budget(max_nfe=4)))
    for _ in range(3):
        solve(Network(), Y0, UNIT)
    assert solve.counter.forward == 12
    assert solve.counter.solves == 3


@pytest.mark.parametrize("solver", ["rk4", "dopri5", "scipy:RK45", "scipy:LSODA", "scipy:Radau"])
def test_the_budget_stops_a_solve_from_inside(solver):
    solve = integrator(solver, NfeCounter(Budget(max_nfe=10)), **({"step_size": 0.1} if solver == "rk4" else {}))
    with pytest.raises(SolveFailed) as stopped:
        solve(Network(), Y0, UNIT)
    assert stopped.value.status is Status.NFE_BUDGET
    assert solve.counter.forward == 10


def test_the_budget_stops_the_backward_solve():
    counter = NfeCounter(Budget(max_nfe=20))
    solve = integrator("rk4", counter, step_size=0.25, gradient=Gradient.ADJOINT)
    # 16 evaluations forward; three outputs more make the backward solve longer than the budget.
    loss = solve(Network(), Y0, torch.tensor([0.0, 0.1, 0.4, 0.7, 1.0]))[1:].sum()
    counter.begin_backward()
    with pytest.raises(SolveFailed) as stopped:
        loss.backward()
    assert stopped.value.status is Status.NFE_BUDGET
    assert counter.backward == 20


def test_the_deadline_stops_a_solve_from_inside():
    solve = integrator("rk4", NfeCounter(Budget(deadline=time.perf_counter() - 1)))
    with pytest.raises(SolveFailed) as stopped:
        solve(Network(), Y0, UNIT)
    assert stopped.value.status is Status.TIMEOUT


CPU = torch.device("cpu")


def test_what_a_library_counts_itself_goes_to_the_direction_begun_last():
    counter = NfeCounter()
    counter.add(10, idle=2.5)
    counter.add(5, idle=1.0)
    counter.begin_backward()
    counter.add(7, idle=9.0)
    assert (counter.forward, counter.backward, counter.idle, counter.samples) == (15, 7, 3.5, 11.5)


def test_what_a_library_counts_itself_may_use_up_the_budget_and_no_more():
    counter = NfeCounter(Budget(max_nfe=10))
    for _ in range(2):
        counter.begin_solve()
        counter.add(10)
    with pytest.raises(SolveFailed, match="more than 10 evaluations") as stopped:
        counter.add(1)
    assert stopped.value.status is Status.NFE_BUDGET


def test_a_step_of_training_begins_from_nothing():
    counter = NfeCounter(count_vjps=True)
    counter.blind = True
    counter.begin_solve()
    counter.add(3, idle=1.0)
    counter.on_step(UNIT[0], Y0, UNIT[1])
    counter.on_vjp(Y0)
    assert (counter.last_t, counter.last_dt, counter.vjp, counter.solves, counter.in_solve) == (0.0, 1.0, 1, 1, 3)
    counter.begin_backward()
    counter.add(2)
    assert counter.in_solve == 2
    counter.begin_forward()
    counts = (counter.forward, counter.backward, counter.vjp, counter.solves, counter.in_solve, counter.idle)
    assert counts == (0, 0, 0, 0, 0, 0.0)
    assert (counter.blind, counter.last_t, counter.last_dt) == (False, None, None)
    counter.on_call(UNIT[1])
    assert (counter.forward, counter.backward, counter.last_t) == (1, 0, 1.0)


def test_vjps_are_counted_only_where_asked_for():
    solve = integrator("rk4", NfeCounter(), step_size=0.25)
    solve(Network(), Y0, UNIT)[-1].sum().backward()
    assert (solve.counter.forward, solve.counter.vjp) == (16, 0)


def test_a_compiled_field_is_called_in_place_of_its_own_and_lends_no_parameters():
    field, compiled = Network(seed=0), Network(seed=1)
    for given, called in ((None, field), (compiled, compiled)):
        counted = CountedField(field, NfeCounter(), given)
        assert torch.equal(counted(UNIT[0], Y0), called(UNIT[0], Y0))
        assert list(map(id, counted.parameters())) == list(map(id, field.parameters()))


def test_a_backward_solve_before_the_end_of_the_forward_pass_counts_as_backward():
    """A loss may differentiate one solve, as a penalty on a gradient does, before it begins the next."""
    counter = NfeCounter()
    solve = integrator("rk4", counter, step_size=0.25, gradient=Gradient.ADJOINT)
    y0 = Y0.clone().requires_grad_()
    (slope,) = torch.autograd.grad(solve(Network(), y0, UNIT)[-1].sum(), y0)
    assert (counter.forward, counter.backward) == (16, 16)
    loss = solve(Network(), y0 + slope, UNIT)[-1].sum()
    assert (counter.forward, counter.backward, counter.in_solve) == (32, 16, 16)
    counter.begin_backward()
    loss.backward()
    assert (counter.forward, counter.backward, counter.solves) == (32, 32, 2)


def test_a_budget_holds_for_a_backward_solve_inside_the_forward_pass():
    counter = NfeCounter(Budget(max_nfe=16))
    solve = integrator("rk4", counter, step_size=0.25, gradient=Gradient.ADJOINT)
    y0 = Y0.clone().requires_grad_()
    first = solve(Network(), y0, UNIT)[-1].sum()
    torch.autograd.grad(first, y0)
    second = solve(Network(), y0, UNIT)[-1].sum()
    with pytest.raises(SolveFailed) as stopped:
        torch.autograd.grad(second, y0)
    assert stopped.value.status is Status.NFE_BUDGET
    assert (counter.forward, counter.backward, counter.in_solve) == (32, 16, 16)
