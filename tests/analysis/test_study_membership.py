"""Which studies a typed record is of."""

import pytest
from evidence import evidence

from nodebench.analysis.study_membership import is_value, studies_of_record
from nodebench.analysis.summary import by_study

STIFF = {"task": "toy/flow", "model": "van-der-pol", "rtol": 1e-5, "dtype": "float64"}
LOOP = {"task": "toy/flow", "model": "van-der-pol", "rtol": 1e-5, "solver": "torchode:dopri5"}
RK4 = {"solver": "rk4", "rtol": None, "atol": None, "step_size": 0.01575, "gradient": "checkpoint"}
# The study that asks for it asks its ODE-Net for a gradient, which this one does not have.
MLP = {"task": "mnist", "dataset": "mnist-5k", "model": "mlp"}
MLP |= {"solver": None, "gradient": None, "rtol": None, "atol": None, "overrides": {"epochs": 20}}
STEPS = {"training": "trajectory", "points": 5, "span": 2.52, "epochs": 1, "steps_per_epoch": 10}


@pytest.mark.parametrize(
    ("axes", "options", "expected"),
    [
        ({}, {}, ("toys",)),
        ({}, {"missing": 0.5, "irregular": False}, ("toys",)),
        ({"model": "deep"}, {}, ()),
        ({"task": "toy/exponential", "model": "line", "dtype": "float64"}, {}, ("solvers",)),
        ({"task": "toy/exponential", "model": "line"}, {}, ()),
        ({"compile": "field"}, {}, ()),
        ({"gradient": "checkpoint", "segments": 4}, {}, ()),
        ({"batching": "worst"}, {}, ()),
        ({"first_step": 0.1}, {}, ()),
        (STIFF | {"batching": "worst"}, {"mu": 1.0, "solves": 5}, ("batching",)),
        (LOOP | {"compile": "solver"}, {"mu": 2.0, "starts": 256, "solves": 30}, ("batching",)),
        (RK4 | {"segments": 4}, STEPS, ("gradients-all",)),
        (MLP, {"epochs": 20}, ("growth",)),
        (MLP | {"model": "no-block"}, {"epochs": 20}, ()),
        ({"gradient": "adjoint", "adjoint_rtol": 1e-3, "adjoint_atol": 1e-5}, {}, ("toys",)),
        ({"gradient": "adjoint", "adjoint_rtol": 1e-6, "adjoint_atol": 1e-5}, {}, ()),
        ({"gradient": "adjoint", "adjoint_rtol": 1e-3, "adjoint_atol": 1e-9}, {}, ()),
    ],
    ids=str,
)
def test_a_typed_record_is_of_the_studies_that_would_ask_for_it(axes, options, expected):
    assert studies_of_record(evidence(study=None, options=options, **axes)) == expected


def test_it_is_first_of_the_study_that_sets_least():
    assert studies_of_record(evidence(study=None, options={"missing": 0.0, "irregular": False})) == (
        "toys",
        "observations",
    )
    script = {"observations": 100, "variant": "script", "epochs": 1, "steps_per_epoch": 20}
    # One group of table2 sets the observations alone, another the variant too: the one that sets less counts.
    typed = evidence(study=None, task="latent-spirals", model="latent-ode", options=script)
    assert studies_of_record(typed) == ("table2", "gradients")


def test_a_number_is_the_one_asked_for_up_to_its_last_digits():
    assert is_value(0.1 + 0.2, 0.3)
    assert is_value(0.1 * 3 * 10, 3)  # 3.0000000000000004
    assert not is_value(0.3001, 0.3)


def test_the_name_of_a_shipped_study_makes_no_record_one_of_it():
    """A user's own toys.toml once changed published verdicts."""
    assert studies_of_record(evidence(study="toys")) == ("toys",)
    own = evidence(study="toys", model="deep")
    assert studies_of_record(own) == ()
    assert by_study([own]) == {"toys (not as shipped)": [own]}


@pytest.mark.parametrize(
    ("warm_up", "expected"), [({}, True), ({"warmup_epochs": 0}, True), ({"warmup_epochs": 1}, False)]
)
def test_a_record_that_is_older_than_an_option_has_it_switched_off(warm_up, expected):
    """Study memory asks for MNIST without a warm-up, an option that its first records did not have."""
    options = {"epochs": 1, "train_images": 128, "test_images": 64, "decay_epochs": "", **warm_up}
    axes = {"task": "mnist", "model": "odenet", "solver": "rk4", "rtol": None, "atol": None, "step_size": 0.25}
    record = evidence(study="memory", gradient="direct", options=options, **axes)
    assert ("memory" in studies_of_record(record)) is expected
