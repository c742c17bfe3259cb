"""Fields of the kinds that users bring, through the three passes in this process."""

import pytest
import torch

from nodebench.instruments import Budget, NfeCounter
from nodebench.running.expand import multiply
from nodebench.spec import Batching, DataSource, FieldTrait, Gradient, Grid, SolveFailed, Status
from nodebench.tasks import find_task
from nodebench.trial.build import experiment_of, integrator_of
from nodebench.trial.draft import Draft
from nodebench.trial.passes import Passes

ERRORS = ("solution_error", "gradient_error", "gradient_cosine")


def passes(
    field: str, shape: str = "8", dtype: str = "float32", solver: str = "dopri5", batch: int = 8, **axes
) -> Passes:
    """Passes over a smoke trial of a field of ``own_fields``."""
    grid = Grid(
        task="field",
        preset="smoke",
        solver=[solver],
        threads=1,
        dtype=dtype,
        overrides={"field": [f"own_fields:{field}"], "state_shape": [shape], "batch_size": [batch]},
        **axes,
    )
    (trial,) = multiply(grid, DataSource())[0]
    solve = integrator_of(trial, NfeCounter())
    experiment = experiment_of(trial, solve, DataSource())
    return Passes(trial, find_task("field"), experiment, solve, Budget(max_nfe=5000), lambda row, pictures: None)


def measured(*args, **kwargs) -> Draft:
    running = passes(*args, **kwargs)
    running.timed()
    running.memory()
    running.numerics()
    return running.draft


def test_a_plain_field_has_all_errors_and_no_trait():
    draft = measured("Plain")
    assert all(0 < draft.costs[name] < 1e-3 for name in ERRORS[:2])
    assert draft.traits == {}
    assert not {"traits", "profile", *ERRORS} & draft.reasons.keys()


def test_a_complex_buffer_keeps_its_imaginary_part():
    """The advection is a rotation of each Fourier mode: the norm stays, and a real buffer would leave no motion."""
    draft = measured("ComplexBuffer", "16", batch=32)
    assert draft.costs["nfe_forward"] == 236
    assert draft.metrics["growth"] == pytest.approx(1, abs=1e-3)
    assert draft.costs["solution_error"] < 1e-3


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_complex_weight_is_measured_in_its_precision(dtype):
    running = passes("ComplexWeight", "16", dtype=dtype)
    weight = next(iter(running._experiment.counted()))
    assert weight.dtype is (torch.complex64 if dtype == "float32" else torch.complex128)
    assert weight.imag.abs().max() == 8
    running.timed()
    running.memory()
    running.numerics()
    assert running.draft.costs["gradient_error"] < 1e-3


def test_an_adjoint_of_complex_weights_is_refused():
    with pytest.raises(SolveFailed, match="complex parameters") as failed:
        passes("ComplexWeight", "16", gradient=[Gradient.ADJOINT]).timed()
    assert failed.value.status is Status.UNSUPPORTED


@pytest.mark.parametrize("field", ["PlainConstant", "NestedConstants", "KeepsActivation", "OldWeightNorm", "scripted"])
def test_what_has_a_float64_copy_has_true_errors(field):
    draft = measured(field)
    assert draft.costs["nfe_forward"] == 20
    assert 1e-7 < draft.costs["solution_error"] < 1e-4
    assert 1e-7 < draft.costs["gradient_error"] < 1e-3


def test_a_torchscript_field_has_the_errors_of_its_python_twin():
    twin, scripted = measured("Plain"), measured("scripted")
    for name in ERRORS:
        assert scripted.costs[name] == pytest.approx(twin.costs[name], rel=1e-3)


@pytest.mark.parametrize(
    ("field", "missing", "words"),
    [
        ("OpenFile", ERRORS, "log' cannot be copied"),
        ("NonLeaf", ERRORS[1:], "the attribute 'field.A' was computed from parameters once"),
        ("GlobalConstant", ERRORS, "double != float"),
    ],
)
def test_what_has_no_float64_copy_has_null_errors_with_the_reason(field, missing, words):
    draft = measured(field)
    assert [name for name in ERRORS if draft.costs[name] is None] == list(missing)
    assert all(words in str(draft.reasons[name]) for name in missing)
    assert draft.reasons[missing[0]].code == "no-reference"
    assert draft.passes_agree is True
    assert draft.costs["tensor_peak_bytes"] > 0


@pytest.mark.parametrize("solver", ["dopri5", "torchode:dopri5"])
@pytest.mark.parametrize("field", ["AssertsBatch", "Normed"])
def test_an_optional_probe_may_fail_with_any_exception(field, solver):
    pytest.importorskip("torchode")
    batching = [Batching.EACH] if solver.startswith("torchode") else []
    draft = measured(field, solver=solver, batching=batching)
    assert draft.costs["solution_error"] is not None
    assert draft.passes_agree is True


def test_a_probe_that_is_ended_by_an_exception_is_no_failed_solve():
    running = passes("Plain", solver="euler")
    running.timed()
    running.memory()

    def refuse(module, arguments):
        if arguments[1].dtype is torch.float32 and not module.training:
            raise LookupError("not in evaluation mode")

    running._experiment.model.field.register_forward_pre_hook(refuse)
    running.numerics()
    for name in ("reverse_error", "residual_error"):
        assert running.draft.costs[name] is None
        assert running.draft.reasons[name].code == "other"
        assert "LookupError: not in evaluation mode" in str(running.draft.reasons[name])
    assert "LookupError" in str(running.draft.reasons["profile"])
    assert running.draft.costs["solution_error"] > 0


def test_a_field_for_a_batch_of_its_own_is_marked():
    draft = measured("PerSample", batch=32)
    assert list(draft.traits) == [FieldTrait.FIXED_BATCH]
    assert "one of 33 cannot" in draft.traits[FieldTrait.FIXED_BATCH]
    assert draft.costs["gradient_error"] < 1e-3


def test_batch_normalisation_is_marked_and_left_as_it_was():
    running = passes("Normed")
    before = {name: value.clone() for name, value in running._experiment.model.state_dict().items()}
    running._close_epoch(0, {}, metrics=False)
    assert list(running.draft.traits) == [FieldTrait.UPDATES_BUFFERS]
    assert "norm.running_mean" in running.draft.traits[FieldTrait.UPDATES_BUFFERS]
    after = running._experiment.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(("field", "trait"), [("Dropout", FieldTrait.RANDOM), ("Counting", FieldTrait.STATEFUL)])
def test_a_field_that_differs_at_one_point_is_marked_and_has_no_errors(field, trait):
    draft = measured(field, solver="rk4")
    assert list(draft.traits) == [trait]
    for name in ERRORS:
        assert draft.costs[name] is None
        assert draft.reasons[name].code == "random-field"
        assert f"the field is {trait}" in str(draft.reasons[name])


def test_looking_for_traits_leaves_the_random_numbers_as_they_were():
    running = passes("Dropout", solver="rk4")
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    running._close_epoch(0, {}, metrics=False)
    assert torch.equal(torch.rand(3), expected)


def test_a_stateful_field_under_checkpoint_is_unsupported_where_the_solves_differ():
    running = passes("Counting", gradient=[Gradient.CHECKPOINT], rtol=[1e-3])
    with pytest.raises(Exception, match="checkpoint") as error:
        running.timed()
    failure = running._solve.failure(error.value)
    assert failure is not None
    assert failure.status is Status.UNSUPPORTED
    assert "changes its own state" in str(failure)


def test_a_lazy_layer_takes_its_shape_before_the_optimiser_is_made():
    draft = measured("Lazy")
    assert draft.metrics["parameters"] == 72
    assert draft.costs["gradient_error"] < 1e-3


def test_parameters_of_a_failed_trial_are_those_of_the_field():
    running = passes("Ends")
    with pytest.raises(SystemExit):
        running.timed()
    assert running.draft.metrics["parameters"] == 8 * 16 + 16 + 16 * 8 + 8
