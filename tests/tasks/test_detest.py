"""The task of the DETEST problems, run as a trial."""

import json
import math

import pytest


def test_its_error_is_that_of_the_closed_form(nodebench_in, tmp_path):
    """Euler's method on y' = -y: (1 - h)ⁿ against exp(-20)."""
    command = (
        "run --task toy/detest --solver euler --step-size 0.5 --dtype float64 --preset smoke --passes training --json"
    )
    code, out, err = nodebench_in(tmp_path, *command.split())
    assert code == 0, err
    record = json.loads(out)
    assert record["metrics"]["rms_error"] == pytest.approx(abs(0.5**40 - math.exp(-20)), rel=1e-9)
    assert record["costs"]["nfe_forward"] == 40


def test_an_unknown_problem_is_refused(nodebench_in, tmp_path):
    code, _, err = nodebench_in(tmp_path, "run", "--task", "toy/detest", "--set", "problem=F1", "--preset", "smoke")
    assert code == 2
    assert "problem" in err
    assert "'A1'" in err
