"""The interleaved pass: the order of blocks and what is made of them, and two arms that train for real."""

import math
from collections.abc import Callable

import pytest

from nodebench.errors import BadInput
from nodebench.instruments import Budget
from nodebench.running.baseline import baseline_of
from nodebench.running.expand import multiply
from nodebench.spec import DataSource, Gradient, Grid, Limits, Preset, ReasonCode, Request, Status, Trial
from nodebench.trial.interleaved import SCHEDULES, Schedule, alternate, compare, interleave
from nodebench.trial.isolation import run_isolated

NOTHING = DataSource()


def trial(task: str = "toy/spiral", **grid) -> Trial:
    """The one trial of a smoke grid."""
    (found,) = multiply(Grid(task=task, preset="smoke", **grid), NOTHING)[0]
    return found


class Machine:
    """A machine with a clock of its own, which is slower by a share of its first speed in each second."""

    def __init__(self, slowing: float = 0.0) -> None:
        self.now = 0.0
        self.ran: list[tuple[str, int]] = []
        self._slowing = slowing

    def arm(self, name: str, work: float) -> Callable[[int], dict[str, float]]:
        """An arm whose block takes ``work`` seconds at the first speed."""

        def block(number: int) -> dict[str, float]:
            self.ran.append((name, number))
            seconds = work * (1 + self._slowing * self.now)
            self.now += seconds
            return {"step_seconds": seconds, "nfe_forward": 20.0 * work}

        return block


def test_blocks_alternate_as_a_b_b_a():
    machine = Machine()
    alternate(machine.arm("A", 1.0), machine.arm("B", 1.0), 4)
    assert machine.ran == [(name, pair) for pair, names in enumerate(("AB", "BA", "AB", "BA")) for name in names]


def test_each_pair_has_the_costs_of_the_two_blocks_of_its_number_this_arm_first():
    def arm(name: str) -> Callable[[int], dict[str, float]]:
        return lambda number: {"step_seconds": {"A": 10.0, "B": 20.0}[name] + number}

    pairs = alternate(arm("A"), arm("B"), 4)
    assert [(a["step_seconds"], b["step_seconds"]) for a, b in pairs] == [(10 + i, 20 + i) for i in range(4)]


@pytest.mark.parametrize("slowing", [0.0, 0.02, -0.01])
def test_a_planted_slow_down_of_5_percent_is_found_on_a_machine_whose_speed_changes(slowing):
    """Blocks one after another would see the change of the machine; pairs in the order A B B A do not."""
    machine = Machine(slowing)
    ratios, _ = compare(alternate(machine.arm("A", 0.105), machine.arm("B", 0.1), 20))
    assert ratios["step_seconds"] == pytest.approx(1.05, abs=1e-3)
    assert ratios["nfe_forward"] == pytest.approx(1.05)
    if slowing:
        assert abs(slowing * machine.now) > 0.03


def test_spread_is_the_relative_half_width_of_the_middle_half_of_the_ratios():
    pairs = [({"step_seconds": value}, {"step_seconds": 2.0}) for value in (2.0, 4.0, 6.0, 8.0, 10.0)]
    ratios, spread = compare(pairs)
    assert ratios == {"step_seconds": 3.0}
    assert spread == {"step_seconds": pytest.approx((4.0 - 2.0) / 2 / 3.0)}


def test_a_cost_that_one_arm_does_not_have_is_left_out():
    """Nothing trained has no backward pass; a blind counter has no evaluations; no ODE has 0 of them."""
    full = {"step_seconds": 1.0, "forward_seconds": 0.5, "backward_seconds": 0.5, "nfe_forward": 20.0}
    without = {"step_seconds": 1.0, "forward_seconds": 1.0, "nfe_forward": 0.0}
    assert compare([(full, without)] * 4)[0] == {"step_seconds": 1.0, "forward_seconds": 0.5}
    assert compare([(without, full)] * 4)[0] == {"step_seconds": 1.0, "forward_seconds": 2.0}


@pytest.mark.parametrize(
    ("step_seconds", "sizes"),
    [(0.001, (200, 20)), (0.05, (4, 20)), (0.3, (1, 14)), (5.0, (1, 10))],
)
def test_blocks_have_their_length_or_one_step_and_there_is_an_even_number_of_pairs(step_seconds, sizes):
    assert Schedule(block=0.2, total=8.0, pairs=10).sizes(step_seconds) == sizes


def test_an_arm_against_itself_has_equal_evaluations_in_every_block():
    """Both arms take equal weights, batches and random numbers: also where a model draws them."""
    for task, grid in (("toy/spiral", {}), ("latent-spirals", {}), ("toy/exponential", {})):
        arm = trial(task, **grid)
        paired = interleave(arm, arm, NOTHING, Budget())
        assert paired.baseline == arm
        assert (paired.ratios["nfe_forward"], paired.spread["nfe_forward"]) == (1.0, 0.0)
        assert paired.blocks >= SCHEDULES[Preset.SMOKE].pairs
        assert ("backward_seconds" in paired.ratios) == (task != "toy/exponential")


def test_5_percent_more_evaluations_are_found_exactly():
    """rk4 takes 21 steps over [0, 1] in one arm and 20 in the other, of four evaluations each."""
    fine, coarse = (trial("test/faults", solver="rk4", step_size=1 / steps) for steps in (20.5, 19.5))
    paired = interleave(fine, coarse, NOTHING, Budget())
    assert (paired.ratios["nfe_forward"], paired.spread["nfe_forward"]) == (21 / 20, 0.0)
    assert paired.ratios["step_seconds"] > 0


def test_a_trial_stores_the_ratios_of_its_interleaved_pass():
    arm = trial(gradient="adjoint", solver="rk4", overrides={"steps_per_epoch": 2})
    baseline = baseline_of(arm, {"gradient": "direct"})
    record, _ = run_isolated(arm, Limits(), NOTHING, lambda progress: None, request=Request(against=baseline))
    assert record.status is Status.OK
    assert record.interleaved is not None
    assert record.interleaved.baseline == baseline
    assert record.interleaved.ratios["nfe_forward"] == 1.0
    assert record.interleaved.ratios["backward_seconds"] > 0
    assert record.answers(Request(against=baseline))
    assert not record.answers(Request(against=arm))


def test_a_baseline_that_fails_leaves_a_reason_and_the_record():
    """The solver of the baseline does not exist."""
    arm = trial("toy/flow", model="line", solver="dopri5", overrides={"solves": 2})
    baseline = arm.model_copy(update={"solver": "scipy:nothing"})
    record, _ = run_isolated(arm, Limits(), NOTHING, lambda progress: None, request=Request(against=baseline))
    assert record.status is Status.OK
    assert record.interleaved is None
    assert record.reasons["interleaved"].code is ReasonCode.OTHER
    assert record.answers(Request(against=baseline))


# --- the baseline of a trial


def test_axes_that_follow_the_tolerance_follow_it_into_the_baseline():
    arm = trial(gradient="adjoint", rtol=1e-5)
    baseline = baseline_of(arm, {"rtol": 1e-3})
    assert baseline == trial(gradient="adjoint", rtol=1e-3)
    assert (baseline.adjoint_rtol, baseline.adjoint_atol) == (baseline.rtol, baseline.atol)


def test_axes_that_were_given_apart_stay_in_the_baseline():
    arm = trial(gradient="adjoint", rtol=1e-5, atol=1e-9, adjoint_rtol=1e-7, adjoint_atol=1e-8)
    baseline = baseline_of(arm, {"rtol": 1e-3})
    assert (baseline.atol, baseline.adjoint_rtol, baseline.adjoint_atol) == (1e-9, 1e-7, 1e-8)


def test_axes_for_which_another_solver_has_no_room_have_their_defaults():
    arm = trial(solver="torchode:dopri5", gradient="direct", rtol=1e-5, compile="solver")
    assert arm.compile == "solver"
    fixed = baseline_of(arm, {"solver": "rk4"})
    assert fixed == trial(solver="rk4", gradient="direct")
    assert (fixed.rtol, fixed.batching, fixed.compile) == (None, None, None)
    adaptive = baseline_of(fixed, {"solver": "dopri5"})
    assert adaptive == trial(solver="dopri5", gradient="direct")


def test_a_trial_is_its_own_baseline_where_it_has_the_axes_already():
    arm = trial(solver="dopri5", rtol=1e-5, gradient="direct")
    assert baseline_of(arm, {"solver": "dopri5", "rtol": 1e-5, "gradient": "direct"}) == arm


@pytest.mark.parametrize(
    ("arm", "against", "message"),
    [
        ({"solver": "rk4"}, {"rtol": 1e-3}, "takes fixed steps"),
        ({}, {"solver": "scipy:RK45", "gradient": "direct"}, "no gradient 'direct'"),
        ({}, {"gradient": "directt"}, "gradient"),
        ({}, {"solver": "dopri6"}, "dopri5"),
    ],
)
def test_a_baseline_that_cannot_be_is_refused_in_one_line(arm, against, message):
    with pytest.raises(BadInput, match=message) as refused:
        baseline_of(trial(**arm), against)
    assert "\n" not in str(refused.value)


def test_a_model_without_an_ode_has_no_gradient_to_compare():
    with pytest.raises(BadInput, match="no ODE"):
        baseline_of(trial("mnist", model="mlp"), {"gradient": Gradient.DIRECT.value})


def test_ratios_are_finite_numbers():
    arm = trial(solver="rk4")
    paired = interleave(arm, arm, NOTHING, Budget())
    assert all(math.isfinite(value) and value > 0 for value in paired.ratios.values())
