"""The three passes, in this process."""

import math
from base64 import b64decode
from dataclasses import replace
from statistics import fmean

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from nodebench.instruments import Budget, NfeCounter, stopwatch
from nodebench.running.expand import multiply
from nodebench.solvers import StepControl, find_solver
from nodebench.spec import DataSource, Gradient, Grid, Pass, ReasonCode, SolveFailed, Status
from nodebench.tasks import find_task
from nodebench.trial.build import experiment_of, integrator_of
from nodebench.trial.numerics import REFERENCE_MAX_NFE
from nodebench.trial.passes import Passes
from nodebench.trial.step import Checkpoint, Step, training_step


def passes(task: str, breaks=None, budget: Budget | None = None, **grid) -> Passes:
    """Passes over a smoke trial, ready to run; ``breaks`` may change the experiment."""
    if task == "toy/spiral":
        grid["overrides"] = {"steps_per_epoch": 4}
    (trial,) = multiply(Grid(task=task, preset="smoke", **grid), DataSource())[0]
    solve = integrator_of(trial, NfeCounter())
    experiment = experiment_of(trial, solve, DataSource())
    if breaks:
        breaks(experiment)
    return Passes(trial, find_task(task), experiment, solve, budget or Budget(), lambda row, pictures: None)


def measured(*args, **kwargs):
    running = passes(*args, **kwargs)
    running.timed()
    running.memory()
    running.numerics()
    return running.draft


@pytest.mark.parametrize("gradient", [["direct"], ["adjoint"]])
@pytest.mark.parametrize("solver", ["dopri5", "rk4"])
def test_the_passes_agree(gradient, solver):
    draft = measured("toy/spiral", solver=[solver], gradient=gradient)
    assert draft.passes_agree is True


@pytest.mark.parametrize(
    ("task", "axes"),
    [
        ("density", {"model": ["ffjord"], "solver": ["dopri5"], "gradient": ["checkpoint"]}),
        ("toy/spiral", {"solver": ["rk4"], "gradient": ["interpolated"]}),
    ],
)
def test_the_passes_agree_where_a_graph_costs_an_evaluation(task, axes):
    """One extra call detects the derivative in the field; the cubic of fixed steps needs one more slope, at the end."""
    assert measured(task, **axes).passes_agree is True


def test_a_field_with_a_hidden_state_makes_the_passes_disagree():
    """What changes from one call to the next cannot be measured in passes, and the record says so."""

    def breaks(experiment):
        calls = [0]

        def drift(module, arguments, output):
            calls[0] += 1
            return output * (1 + calls[0] / 1000)

        experiment.model.field.register_forward_hook(drift)

    assert measured("toy/spiral", breaks, solver=["rk4"]).passes_agree is False


def test_evaluation_and_probe_never_share_the_training_counter():
    draft = measured("toy/spiral", solver=["rk4"], gradient=["adjoint"])
    assert draft.costs["nfe_forward"] == draft.costs["nfe_backward"] == draft.costs["vjp_calls"] == 9 * 4
    assert [row["nfe_probe"] for row in draft.history] == [36, 36, 36]


def test_direct_has_no_backward_evaluations_and_says_why():
    draft = measured("toy/spiral", solver=["rk4"], gradient=["direct"])
    assert draft.costs["nfe_backward"] is None
    assert str(draft.reasons["nfe_backward"]) == "direct has no backward solve"
    assert all(row.get("nfe_backward") is None for row in draft.history)


def test_a_model_without_an_ode_has_null_figures_with_reasons():
    draft = measured("mnist", model=["mlp"])
    for name in ("nfe_forward", "nfe_backward", "vjp_calls", "solution_error", "gradient_error"):
        assert draft.costs[name] is None
        assert str(draft.reasons[name]) == "the model has no ODE"
    assert draft.metrics["parameters"] == 238_510


def test_every_null_figure_has_a_reason():
    for grid in ({"task": "toy/exponential"}, {"task": "toy/spiral"}, {"task": "mnist", "model": ["no-block"]}):
        draft = measured(**grid)
        nulls = [name for name, value in (draft.costs | draft.metrics).items() if value is None]
        unexplained = [name for name in nulls if name not in draft.reasons and not name.endswith("seconds")]
        assert unexplained == []


def test_the_same_seed_gives_the_same_losses_and_nfe():
    first, second = (measured("toy/spiral", seed=[4]).history for _ in range(2))
    for name in ("loss", "nfe_forward", "nfe_backward", "nfe_probe", "trajectory_error"):
        assert [row.get(name) for row in first] == [row.get(name) for row in second]


def test_solution_error_is_the_error_against_the_closed_form():
    running = passes("toy/exponential", solver=["rk4"], dtype="float64", step_size=[0.5])
    running.timed()
    running.numerics()
    closed_form = running._experiment.loss(running._experiment.model, running._experiment.probe).item()
    assert running.draft.costs["solution_error"] == pytest.approx(closed_form, rel=1e-6)
    assert closed_form > 1e-5


@pytest.mark.parametrize(
    "gradient",
    [
        gradient if gradient in (Gradient.DIRECT, Gradient.ADJOINT) else pytest.param(gradient, marks=pytest.mark.slow)
        for gradient in Gradient
        if gradient is not Gradient.ADJOINT_SEMINORM
    ],
)
def test_gradient_error_falls_with_the_order_of_the_method(gradient):
    euler, rk4 = (
        measured("toy/spiral", dtype="float64", solver=[solver], gradient=[gradient]).costs
        for solver in ("euler", "rk4")
    )
    assert euler["gradient_error"] > 1e-3
    assert rk4["gradient_error"] < 1e-4
    assert euler["gradient_cosine"] < rk4["gradient_cosine"] < 1 + 1e-12


def test_gradient_error_finds_a_planted_error():
    """A gradient scaled by 1.5 has a relative error of 0.5 and a cosine of 1."""

    def breaks(experiment):
        for parameter in experiment.model.parameters():
            if parameter.dtype is torch.float64:
                parameter.register_hook(lambda gradient: gradient * 1.5)

    draft = measured("toy/spiral", breaks, dtype="float64", rtol=[1e-9], gradient=["direct"])
    assert draft.costs["gradient_error"] == pytest.approx(0.5, rel=1e-4)
    assert draft.costs["gradient_cosine"] == pytest.approx(1, abs=1e-6)


def adaptive_error(trained_with: str) -> float:
    """The metric of a network trained with one solver, solved by SciPy's DOP853 at a tight tolerance."""
    running = passes("toy/spiral", solver=[trained_with])
    running.timed()
    adapter, method, _ = find_solver("scipy:DOP853")
    control = StepControl(method, rtol=1e-8, atol=1e-8)
    with torch.no_grad(), running._solve.using(NfeCounter(), control, adapter):
        return running._experiment.metrics(running._experiment.model)["trajectory_error"]


def test_the_profile_solves_the_trained_network_otherwise():
    adaptive = [row for row in measured("toy/spiral", solver=["dopri5"]).profile if "rtol" in row]
    assert [row["rtol"] for row in adaptive] == [1e-1, 1e-2, 1e-3, 1e-4, 1e-5]
    assert [row["nfe"] for row in adaptive] == sorted(row["nfe"] for row in adaptive)
    *fixed, tight = measured("toy/spiral", solver=["rk4"]).profile
    assert [row["nfe"] / fixed[0]["nfe"] for row in fixed] == pytest.approx([1, 2, 4])
    # The last row is dopri5's, and a tenth of its tolerance would not change the metric.
    assert (tight["rtol"], "step_size" in tight) == (1e-5, False)
    assert tight["trajectory_error"] == pytest.approx(adaptive_error("rk4"), rel=1e-3)


@pytest.fixture(scope="module")
def odenet():
    """What was measured of a network that an adaptive method trained, at a tolerance of 1e-3."""
    return measured("mnist", model=["odenet"], rtol=[1e-3])


def test_a_network_trained_with_an_adaptive_method_is_solved_by_the_midpoint_method_too(odenet):
    """Two evaluations a step over [0, 1], and an error of order 2."""
    rows = [row for row in odenet.profile if "step_size" in row]
    assert [(row["step_size"], row["nfe"]) for row in rows] == [(0.5, 4), (0.25, 8), (0.125, 16)]
    errors = [row["solution_error"] for row in rows]
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.5)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.5)
    assert all(row["test_error"] is not None for row in rows)


def test_rows_of_the_profile_have_the_error_of_the_probe_batch(odenet):
    """At the tolerance of the training it is the trial's own; it falls with the tolerance."""
    errors = {row["rtol"]: row["solution_error"] for row in odenet.profile if "rtol" in row}
    assert errors[1e-3] == odenet.costs["solution_error"]
    assert list(errors.values()) == sorted(errors.values(), reverse=True)
    assert errors[1e-1] > 10 * errors[1e-5] > 0


def test_a_row_whose_solve_fails_has_a_null_error_and_one_without_a_reference_has_none():
    """Null counts as a failed solve; a row as tight as the reference has nothing to be compared with."""
    failed = measured("mnist", budget=Budget(max_nfe=30), model=["odenet"], rtol=[1e-3])
    errors = {row["rtol"]: row["solution_error"] for row in failed.profile if "rtol" in row}
    assert errors[1e-3] == failed.costs["solution_error"] > 0
    assert errors[1e-5] is None
    assert failed.history[-1]["nfe_probe_tight"] is None
    assert failed.reasons["nfe_probe_tight"].code is ReasonCode.PROBE_FAILED

    def breaks(experiment):
        experiment.model.field.register_forward_hook(lambda module, arguments, out: out + 1e-3 * torch.randn(()))

    random = measured("toy/spiral", breaks, solver=["rk4"])
    assert random.reasons["solution_error"].code is ReasonCode.RANDOM_FIELD
    assert all("solution_error" not in row for row in random.profile)


def test_the_history_has_the_evaluations_of_the_probe_batch_at_a_tight_tolerance():
    running = passes("mnist", model=["odenet"], rtol=[1e-2])
    running.timed()
    experiment, counter = running._experiment, NfeCounter()
    adapter, method, _ = find_solver("dopri5")
    with torch.no_grad(), running._solve.using(counter, StepControl(method, rtol=1e-5, atol=1e-5), adapter):
        experiment.loss(experiment.model, experiment.probe)
    first, last = (running.draft.history[i] for i in (0, -1))
    assert last["nfe_probe_tight"] == counter.forward > last["nfe_probe"]
    assert first["nfe_probe_tight"] > 0
    assert "nfe_probe_tight" not in running.draft.metrics


def test_fixed_steps_and_tasks_that_train_nothing_have_no_tight_count():
    for grid in ({"task": "toy/spiral", "solver": ["rk4"]}, {"task": "toy/exponential"}):
        running = passes(**grid)
        running.timed()
        assert all("nfe_probe_tight" not in row for row in running.draft.history)


def test_the_tight_count_leaves_the_random_numbers_of_the_training_as_they_were():
    def breaks(experiment):
        experiment.model.register_forward_hook(lambda module, arguments, out: out + 0 * torch.randn(()))

    running = passes("toy/spiral", breaks)
    experiment, before = running._experiment, torch.get_rng_state()
    assert running._tight_nfe() > 0
    assert torch.equal(torch.get_rng_state(), before)
    experiment.loss(experiment.model, experiment.probe)
    assert not torch.equal(torch.get_rng_state(), before)


@pytest.mark.slow
def test_what_trains_nothing_has_its_error_known_where_a_batch_is_stiff():
    """The float64 reference takes more evaluations than the reference of a gradient may."""
    few = {"mu": [60.0], "solves": 1, "starts": 2}
    running = passes("toy/flow", model=["van-der-pol"], dtype="float64", rtol=[1e-5], overrides=few)
    running.timed()
    running.numerics()
    assert running.draft.costs["solution_error"] is not None
    adapter, _, _ = find_solver(running._task.reference.method)
    experiment, counter = running._experiment, NfeCounter()
    with torch.no_grad(), running._solve.using(counter, running._task.reference, adapter):
        experiment.loss(experiment.model, experiment.probe)
    assert counter.forward > REFERENCE_MAX_NFE


def test_the_test_items_that_are_wrong_are_kept():
    running = passes("mnist", model=["no-block"])
    running.timed()
    experiment = running._experiment
    images, labels = experiment._test
    with torch.no_grad():
        wrong = (experiment.model.eval()(images).argmax(1) != labels).tolist()
    packed = np.frombuffer(b64decode(running.draft.wrong), np.uint8)
    assert np.unpackbits(packed)[: len(wrong)].astype(bool).tolist() == wrong
    assert running.draft.metrics["test_error"] == 100 * sum(wrong) / len(wrong)


def test_passes_that_are_left_out_leave_nulls_with_that_reason():
    running = passes("toy/spiral", solver=["rk4"])
    running.timed()
    running.leave_out(Pass.MEMORY)
    running.leave_out(Pass.NUMERICS)
    for name in ("tensor_peak_bytes", "saved_bytes", "vjp_calls", "solution_error", "gradient_error", "reverse_error"):
        assert running.draft.costs[name] is None
        assert running.draft.reasons[name].code is ReasonCode.NOT_REQUESTED
    assert running.draft.costs["step_seconds"] > 0
    assert running.draft.passes_agree is None
    assert running.draft.profile == []


def test_numerics_without_memory_say_whether_these_two_passes_agree():
    running = passes("toy/spiral", solver=["rk4"])
    running.timed()
    running.leave_out(Pass.MEMORY)
    running.numerics()
    assert running.draft.passes_agree is True


def test_a_figure_that_has_no_meaning_keeps_its_own_reason_where_a_pass_is_left_out():
    running = passes("toy/exponential")
    running.timed()
    running.leave_out(Pass.MEMORY)
    assert str(running.draft.reasons["vjp_calls"]) == "the task has no training"


def test_the_numerics_leave_the_trained_weights_as_they_are():
    running = passes("toy/spiral")
    running.timed()
    before = {name: value.clone() for name, value in running._experiment.model.state_dict().items()}
    running.memory()
    running.numerics()
    after = running._experiment.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_loss_that_is_not_finite_ends_the_training():
    def breaks(experiment):
        loss = experiment.loss
        experiment.loss = lambda model, batch: loss(model, batch) * float("inf")

    running = passes("toy/spiral", breaks, solver=["rk4"], gradient=[Gradient.DIRECT])
    with pytest.raises(SolveFailed) as failed:
        running.timed()
    assert failed.value.status is Status.NON_FINITE


def test_observed_order_is_a_metric_of_the_exponential():
    assert measured("toy/exponential", solver=["rk4"]).metrics["observed_order"] == pytest.approx(4, abs=0.1)
    lsoda = measured("toy/exponential", solver=["scipy:LSODA"])
    assert lsoda.metrics["observed_order"] is None
    assert "observed_order" in lsoda.reasons


def test_the_loss_is_also_evaluated_without_gradients_as_the_contract_says():
    seen = []

    def breaks(experiment):
        loss = experiment.loss

        def noted(model, batch):
            seen.append((torch.is_grad_enabled(), model.training, batch is experiment.probe))
            return loss(model, batch)

        experiment.loss = noted

    running = passes("toy/spiral", breaks, solver=["rk4"], gradient=["direct"])
    running.timed()
    evaluation, training = (False, False, True), (True, True, False)
    assert seen == [evaluation, *[training] * 4, evaluation, *[training] * 4, evaluation]
    seen.clear()
    running.memory()
    assert seen == [training]
    running.numerics()
    assert (False, True, False) in seen


@pytest.mark.parametrize(
    ("changes", "agrees"),
    [
        ({}, True),
        ({"loss": 2.0 * (1 + 1e-7)}, True),
        ({"loss": 2.0 * (1 + 1e-5)}, False),
        ({"loss": -2.0}, False),
        ({"loss": math.nan}, False),
        ({"nfe_forward": 11}, False),
        ({"nfe_backward": 21}, False),
    ],
)
def test_two_steps_agree_in_loss_and_evaluations(changes, agrees):
    step = Step(2.0, 10, 20)
    assert step.agrees(replace(step, **changes)) is agrees
    assert replace(step, **changes).agrees(step) is agrees


@pytest.mark.parametrize("disturbed", ["memory", "numerics"])
def test_a_difference_in_either_pass_makes_them_disagree(disturbed):
    """The loss is another one in one pass alone."""
    inflated = [1.0]

    def breaks(experiment):
        loss = experiment.loss
        experiment.loss = lambda model, batch: loss(model, batch) * inflated[0]

    running = passes("toy/spiral", breaks, solver=["rk4"], gradient=["direct"])
    running.timed()
    for name in ("memory", "numerics"):
        inflated[0] = 1.001 if name == disturbed else 1.0
        getattr(running, name)()
    assert running.draft.passes_agree is False


def test_a_step_that_draws_random_numbers_is_repeated_with_the_same_ones():
    """As a dropout layer does: each draw scales the loss."""

    def breaks(experiment):
        loss = experiment.loss
        experiment.loss = lambda model, batch: loss(model, batch) * (1 + torch.rand(()))

    running = passes("toy/spiral", breaks, solver=["rk4"], gradient=["direct"])
    running.timed()
    losses = {row["loss"] for row in running.draft.history if "loss" in row}
    torch.rand(5)  # whatever else is drawn in between
    running.memory()
    assert running.draft.passes_agree is True
    torch.rand(5)
    running.numerics()
    assert running.draft.passes_agree is True
    assert len(losses) == 2


def test_a_checkpoint_brings_back_weights_optimiser_batch_and_random_state():
    running = passes("toy/spiral", solver=["rk4"], gradient=["direct"])
    experiment, counter = running._experiment, NfeCounter()
    batch = next(iter(experiment.batches(0)))
    training_step(experiment, batch, counter, lambda part: None)  # so that the optimiser has a state
    kept = Checkpoint.take(experiment, batch)
    drawn = torch.rand(3)
    first = training_step(experiment, batch, counter, lambda part: None)
    after = [p.detach().clone() for p in experiment.model.parameters()]
    batch[0].mul_(2)
    restored = kept.restore(experiment)
    assert torch.equal(torch.rand(3), drawn)
    again = training_step(experiment, restored, counter, lambda part: None)
    assert again.loss == first.loss
    assert all(torch.equal(a, b) for a, b in zip(after, experiment.model.parameters(), strict=True))


def test_solution_error_is_that_of_the_final_state_against_scipy():
    """Trajectories of many output times, solved by SciPy with the trained network in NumPy's float64."""
    running = passes("toy/spiral", solver=["euler"], step_size=[0.05], gradient=["direct"])
    running.timed()
    running.numerics()
    experiment, solve = running._experiment, running._solve
    trace = []
    with torch.no_grad(), solve.using(NfeCounter(), trace=trace):
        experiment.loss(experiment.model, experiment.probe)
    ((field, y0, times, states),) = trace
    assert len(times) > 2
    field = field.double()

    def slope(t, y):
        with torch.no_grad():
            return field(torch.tensor(t).double(), torch.tensor(y.reshape(y0.shape))).numpy().ravel()

    start, span = y0.double().numpy().ravel(), (float(times[0]), float(times[-1]))
    exact = solve_ivp(slope, span, start, method="DOP853", rtol=1e-11, atol=1e-11).y[:, -1]
    expected = np.linalg.norm(states[-1].double().numpy().ravel() - exact) / np.linalg.norm(exact)
    assert expected > 1e-6
    assert running.draft.costs["solution_error"] == pytest.approx(expected, rel=1e-3)


class Clock:
    """A clock that moves only when it is told to."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now


def test_history_has_the_mean_loss_of_each_epoch_and_each_epoch_is_begun():
    told = []

    def breaks(experiment):
        loss, begin = experiment.loss, experiment.begin_epoch

        def noted(model, batch):
            value = loss(model, batch)
            if torch.is_grad_enabled():
                told.append(value.item())
            return value

        experiment.loss = noted
        experiment.begin_epoch = lambda epoch: (told.append(f"epoch {epoch}"), begin(epoch))

    running = passes("toy/spiral", breaks, solver=["rk4"], gradient=["direct"])
    running.timed()
    assert told[0] == "epoch 0"
    assert told[5] == "epoch 1"
    first, second = told[1:5], told[6:]
    assert len(second) == 4
    assert len(set(first)) == 4
    assert [row.get("loss") for row in running.draft.history] == [None, fmean(first), fmean(second)]


def test_seconds_are_those_of_the_steps_and_the_first_two_warm_up(monkeypatch):
    """By a clock that each part of a step moves by an amount of its own, and the kept state by far more."""
    clock, steps = Clock(), [0]
    monkeypatch.setattr(stopwatch, "time", clock)
    take = Checkpoint.take

    def slow(experiment, batch):
        clock.now += 1e6
        return take(experiment, batch)

    monkeypatch.setattr(Checkpoint, "take", slow)

    def breaks(experiment):
        loss = experiment.loss

        def timed(model, batch):
            if torch.is_grad_enabled():
                steps[0] += 1
                clock.now += 100.0 if steps[0] <= 2 else steps[0]
            return loss(model, batch)

        experiment.loss = timed

    running = passes("toy/spiral", breaks, solver=["rk4"], gradient=["direct"])
    running.timed()
    costs = running.draft.costs
    assert costs["timed_steps"] == 2 * 4 - 2
    assert costs["first_step_seconds"] == 100.0
    assert (costs["step_seconds"], costs["forward_seconds"], costs["backward_seconds"]) == (5.5, 5.5, 0.0)
    assert (costs["step_seconds_q1"], costs["step_seconds_q3"]) == (4.25, 6.75)
    assert [row.get("seconds") for row in running.draft.history] == [None, 207.0, 26.0]


def test_the_profile_keeps_the_ratio_of_the_tolerances():
    running = passes("toy/spiral", solver=["dopri5"], rtol=[1e-3], atol=[1e-7], gradient=["direct"])
    running.timed()
    with running._evaluating() as counter:
        running._experiment.metrics(running._experiment.model)
    running.numerics()
    (row,) = (row for row in running.draft.profile if row["rtol"] == 1e-3)
    assert row["atol"] == pytest.approx(1e-7)
    assert row["nfe"] == counter.forward / counter.solves


def test_a_tolerance_as_tight_as_the_references_has_no_error_and_says_why():
    """Nine times the reference's tolerance of 1e-11 is too near to it, eleven times is not."""
    tight, loose = (
        passes("toy/spiral", solver=["dopri8"], dtype="float64", rtol=[rtol], gradient=["direct"])
        for rtol in (9e-11, 1.1e-10)
    )
    for running in (tight, loose):
        running.timed()
        running.memory()
        running.numerics()
    names = ("solution_error", "gradient_error", "gradient_cosine")
    assert [tight.draft.costs[name] for name in names] == [None] * 3
    assert all("as tight as the reference's" in str(tight.draft.reasons[name]) for name in names)
    assert all(loose.draft.costs[name] is not None for name in names)
