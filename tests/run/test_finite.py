"""Values that JSON cannot hold become None, each with its reason."""

import json
import math

from nodebench.spec import Reason, ReasonCode
from nodebench.trial.finite import with_finite_values


def test_each_value_that_is_not_finite_has_a_reason_and_the_others_stay():
    found = with_finite_values(
        {
            "status": "ok",
            "metrics": {"error": math.inf, "rate": -1.5, "order": None},
            "costs": {"gradient_error": math.nan, "nfe_forward": 7},
            "reasons": {"order": "the task does not define it"},
            "history": [{"epoch": 0, "error": 1.0}, {"epoch": 1, "error": -math.inf, "loss": math.nan}],
            "profile": [{"rtol": 0.1, "error": math.nan}],
        }
    )
    assert found["status"] == "ok"
    assert found["metrics"] == {"error": None, "rate": -1.5, "order": None}
    assert found["costs"] == {"gradient_error": None, "nfe_forward": 7}
    assert found["history"] == [{"epoch": 0, "error": 1.0}, {"epoch": 1, "error": None, "loss": None}]
    assert found["profile"] == [{"rtol": 0.1, "error": None}]
    reasons = found["reasons"]
    assert reasons.pop("order") == "the task does not define it"
    assert {name: reason.message for name, reason in reasons.items()} == {
        "error": "the value is inf",
        "gradient_error": "the value is nan",
        "history": "epoch 1: error is -inf",
        "profile": "rtol 0.1: error is nan",
    }
    assert all(isinstance(r, Reason) and r.code is ReasonCode.NOT_FINITE for r in reasons.values())


def test_metrics_of_a_real_trial_that_are_not_finite_have_their_reason(nodebench):
    trial = ["--task", "test/faults", "--preset", "smoke", "--solver", "rk4", "--threads", "1", "--json"]
    code, out, err = nodebench("run", *trial, "--set", "fault=infinite-metric")
    assert code == 0, err
    record = json.loads(out)
    assert record["metrics"]["final"] is None
    assert record["reasons"]["final"] == {"code": "not-finite", "message": "the value is inf"}
    assert record["reasons"]["history"]["message"] == "epoch 1: final is inf"


def test_too_few_batches_are_an_error_that_says_so(nodebench):
    trial = ["--task", "test/faults", "--preset", "smoke", "--solver", "rk4", "--threads", "1", "--json"]
    code, out, _ = nodebench("run", *trial, "--set", "fault=few-batches")
    assert code == 1
    record = json.loads(out)
    assert record["status"] == "error"
    assert record["failure"]["message"] == "the task yielded 2 batches in an epoch; its steps_per_epoch is 3"
