"""The known fields under a batch of states, run as trials."""

import json

import pytest
import torch

from nodebench.models.systems import Sine, exact_states
from nodebench.tasks.flows import FlowOptions, flow_problem

RUN = "run --task toy/flow --preset smoke --threads 1 --json --dtype float64 --set solves=1"
LINE = "--model line --solver dopri5,euler --step-size 0.5,0.01 --set starts=200 --passes training"
OSCILLATOR = (
    "--model van-der-pol --rtol 1e-3 --atol 1e-3 --set mu=2 --set mu=6 --set starts=4 --passes training,numerics"
)


CYCLE = (
    "--model van-der-pol-cycle --solver dopri5,torchode:dopri5 --batching joint,each --rtol 1e-5 --set mu=6 "
    "--set starts=8 --passes training"
)


@pytest.fixture(scope="module")
def records(nodebench_in, tmp_path_factory):
    found = []
    for chosen in (LINE, OSCILLATOR, CYCLE):
        code, out, err = nodebench_in(tmp_path_factory.mktemp("flows"), *RUN.split(), *chosen.split())
        assert code == 0, err
        found += [json.loads(text) for text in out.splitlines()]
    return found


def of(records, **wanted):
    axes = ((r, r["trial"] | r["options"]) for r in records)
    (found,) = [r for r, trial in axes if all(trial.get(name) == value for name, value in wanted.items())]
    return found


def test_a_flow_keeps_the_order_and_a_coarse_step_does_not(records):
    assert of(records, model="line", solver="dopri5")["metrics"]["inversions"] == 0
    assert of(records, solver="euler", step_size=0.01)["metrics"]["inversions"] == 0
    assert of(records, solver="euler", step_size=0.5)["metrics"]["inversions"] > 0.2


def test_inversions_are_what_one_step_of_arithmetic_makes(records):
    """Two steps of 0.5 by hand, from the same starts."""
    starts = -2 + 4 * torch.rand(200, 1, generator=torch.Generator().manual_seed(0)).sort(0).values
    x = starts.double()
    for _ in range(2):
        x = x + 0.5 * Sine()(torch.tensor(0.0), x)
    by_hand = (x[:, 0].diff() < 0).double().mean().item()
    assert of(records, solver="euler", step_size=0.5)["metrics"]["inversions"] == pytest.approx(by_hand)


def test_a_stiff_batch_costs_more_than_its_members(records):
    soft, stiff = (of(records, model="van-der-pol", mu=mu)["costs"]["joint_over_single"] for mu in (2, 6))
    assert 1 < soft < stiff


def test_samples_that_pass_one_cycle_take_about_equal_evaluations_alone_and_more_together(records):
    """Each sample solves the same orbit, so that the longest takes hardly more than the mean."""
    joint = of(records, model="van-der-pol-cycle", solver="dopri5")["costs"]
    each = of(records, model="van-der-pol-cycle", solver="torchode:dopri5", batching="each")["costs"]
    assert each["sample_evaluations"] <= each["nfe_forward"] < 1.2 * each["sample_evaluations"]
    assert each["nfe_forward"] < 0.75 * joint["nfe_forward"]


def test_starts_on_the_cycle_are_drawn_with_the_seed_and_come_back_after_one_period():
    problem, again, other = (flow_problem("van-der-pol-cycle", FlowOptions(mu=3, starts=4), seed) for seed in (0, 0, 1))
    assert torch.equal(problem.starts, again.starts)
    assert not torch.equal(problem.starts, other.starts)
    for start in problem.starts:
        end = exact_states(problem.field, start, torch.tensor([0.0, problem.span]))[-1]
        assert torch.allclose(end, start, atol=1e-5)


def test_figures_that_a_known_field_does_not_have_are_null_with_a_reason(records):
    record = of(records, model="van-der-pol", mu=2)
    assert record["costs"]["gradient_error"] is None
    assert record["reasons"]["gradient_error"]["code"] == "no-training"
    assert record["metrics"]["inversions"] is None
