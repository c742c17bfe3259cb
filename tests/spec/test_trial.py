import random
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from nodebench.spec import Gradient, Trial

FIELDS = {
    "task": "mnist",
    "model": "odenet",
    "solver": "dopri5",
    "rtol": 1e-3,
    "atol": 1e-3,
    "gradient": "adjoint",
    "overrides": {"epochs": 2, "batch_size": 64},
    "seed": 3,
}


def test_id_does_not_depend_on_the_order_of_fields():
    for _ in range(20):
        items = list(FIELDS.items())
        random.shuffle(items)
        overrides = dict(reversed(FIELDS["overrides"].items()))
        assert Trial(**(dict(items) | {"overrides": overrides})).id == Trial(**FIELDS).id


@pytest.mark.parametrize("rtol", ["1e-3", "0.001", 0.001, "1.0E-3"])
def test_id_does_not_depend_on_how_a_number_is_written(rtol):
    assert Trial(**(FIELDS | {"rtol": rtol})).id == Trial(**FIELDS).id


def test_id_is_the_same_in_another_process():
    code = f"from nodebench.spec import Trial; print(Trial(**{FIELDS!r}).id)"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == Trial(**FIELDS).id


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 4},
        {"rtol": 2e-3},
        {"gradient": Gradient.DIRECT},
        {"dtype": "float64"},
        {"overrides": {"epochs": 3, "batch_size": 64}},
        {"dataset": "mnist-60k"},
    ],
)
def test_id_changes_with_what_is_run(change):
    assert Trial(**(FIELDS | change)).id != Trial(**FIELDS).id


def test_a_changed_copy_has_an_id_of_its_own():
    trial = Trial(**FIELDS)
    before = trial.id
    assert trial.model_copy(update={"seed": 4}).id == Trial(**(FIELDS | {"seed": 4})).id != before


def test_a_null_field_leaves_the_id_as_it_is():
    assert Trial(**FIELDS, dataset=None).id == Trial(**FIELDS).id


@given(rtol=st.floats(1e-12, 1.0), seed=st.integers(0, 2**31))
def test_a_trial_survives_json(rtol, seed):
    trial = Trial(**(FIELDS | {"rtol": rtol, "seed": seed}))
    again = Trial.model_validate_json(trial.model_dump_json())
    assert again == trial
    assert again.id == trial.id


@pytest.mark.parametrize(
    "wrong", [{"rtol": 0}, {"rtol": float("nan")}, {"dtype": "int8"}, {"colour": "red"}, {"seed": -1}]
)
def test_a_wrong_trial_is_refused(wrong):
    with pytest.raises(ValidationError):
        Trial(**(FIELDS | wrong))


def test_a_trial_is_frozen():
    with pytest.raises(ValidationError):
        Trial(**FIELDS).seed = 5


@pytest.mark.parametrize(
    ("fields", "label"),
    [
        ({"rtol": 1e-3, "atol": 1e-3}, "1e-3"),
        ({"rtol": 2.5e-7, "atol": 1e-9}, "2.5e-7/1e-9"),
        ({"rtol": None, "atol": None, "step_size": 0.25}, "h=0.25"),
        ({"rtol": None, "atol": None}, "h=outputs"),
        ({"step_size": 0.25}, "h=0.25 1e-3"),
        ({"first_step": 0.1}, "1e-3 h0=0.1"),
        ({"solver": None}, "–"),
    ],
)
def test_step_label(fields, label):
    assert Trial(**(FIELDS | fields)).step_label == label


def test_the_gradient_is_labelled_with_a_tolerance_of_its_own():
    equal = FIELDS | {"adjoint_rtol": 1e-3, "adjoint_atol": 1e-3}
    assert Trial(**equal).gradient_label == "adjoint"
    assert Trial(**(equal | {"adjoint_rtol": 1e-6, "adjoint_atol": 1e-6})).gradient_label == "adjoint 1e-6"
    assert Trial(**(FIELDS | {"gradient": "direct"})).gradient_label == "direct"
    assert Trial(task="mnist", model="mlp").gradient_label == "–"
