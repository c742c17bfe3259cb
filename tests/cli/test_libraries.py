"""Trials of other libraries, typed and read back from their records."""

import json

import pytest

from nodebench.solvers import registry

RUN = ["run", "--task", "toy/spiral", "--preset", "smoke", "--set", "epochs=1", "--json", "--threads", "1"]


@pytest.mark.slow
def test_what_jax_hides_is_null_with_its_reason(nodebench):
    chosen = ["--solver", "diffrax:euler", "--gradient", "checkpoint"]
    code, out, err = nodebench(*RUN, *chosen)
    assert code == 0, err
    record = json.loads(out)
    costs, reasons = record["costs"], record["reasons"]
    for name in ("tensor_peak_bytes", "saved_bytes", "vjp_calls", "nfe_backward"):
        assert costs[name] is None
        assert "JAX" in reasons[name]["message"] or "diffrax" in reasons[name]["message"]
    assert costs["nfe_forward"] == costs["sample_evaluations"] > 0
    assert costs["process_peak_bytes"] is not None
    assert costs["first_step_seconds"] > 0
    # Euler's own error, not the library's: the gradient is that of what was solved, and agrees with torch's Euler.
    code, out, _ = nodebench(*RUN, "--solver", "euler", "--gradient", "direct")
    torch = json.loads(out)
    assert costs["gradient_error"] == pytest.approx(torch["costs"]["gradient_error"], rel=1e-4)
    assert record["metrics"]["trajectory_error"] == pytest.approx(torch["metrics"]["trajectory_error"], rel=1e-3)
    assert record["passes_agree"] is True
    assert {"diffrax", "jax"} <= record["environment"]["packages"].keys()


def test_samples_that_step_on_their_own_are_counted_apart(nodebench):
    chosen = ["--solver", "dopri5,torchode:dopri5", "--gradient", "direct"]
    code, out, err = nodebench(*RUN, *chosen)
    assert code == 0, err
    joint, each = map(json.loads, out.splitlines())
    assert joint["trial"]["batching"] is None
    assert joint["costs"]["sample_evaluations"] == joint["costs"]["nfe_forward"]
    assert each["trial"]["batching"] == "each"
    assert each["costs"]["sample_evaluations"] < each["costs"]["nfe_forward"]
    assert each["costs"]["joint_over_single"] is None
    assert each["reasons"]["joint_over_single"]["message"] == "each sample has its own steps"
    assert each["passes_agree"] is True
    code, shown, _ = nodebench("show")
    assert "sample" in shown


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--batching", "each"], "solver dopri5 has no batching 'each': joint, worst only"),
        (["--solver", "rk4", "--batching", "worst"], "takes fixed steps, so batching 'worst' does not apply"),
        (["--solver", "rk4", "--gradient", "adjoint-seminorm"], "has no error norm to change"),
        (["--compile", "solver"], "solver dopri5 has no compile 'solver': eager, field only"),
        (["--solver", "torchode:tsit5", "--gradient", "adjoint-seminorm"], "has no gradient 'adjoint-seminorm'"),
        (["--gradient", "direct", "--segments", "4"], "only the gradient 'checkpoint' has segments"),
        (["--gradient", "checkpoint", "--segments", "0"], "--segments"),
        (["--batching", "joined"], "did you mean joint"),
        (["--gradient", "adjoint-semi"], "did you mean adjoint-seminorm"),
        (["--solver", "diffrax:tsit"], "did you mean diffrax:tsit5"),
        (["--solver", "diffraks:tsit5"], "did you mean"),
    ],
)
def test_what_a_library_does_not_offer_is_refused(nodebench, arguments, words):
    code, _, err = nodebench(*RUN[:-3], *arguments)
    assert code == 2
    assert words in err
    assert err.strip().count("\n") == 0


def test_an_absent_library_is_listed_with_its_command_and_refused(nodebench, monkeypatch):
    registry.find_solver.cache_clear()
    monkeypatch.setattr(registry, "find_spec", lambda name: None if name == "torchode" else True)
    code, out, _ = nodebench("list", "solvers")
    assert code == 0
    assert "torchode:tsit5" not in out
    assert "not installed: pip install torchode" in out
    code, _, err = nodebench(*RUN, "--solver", "torchode:tsit5")
    assert code == 2
    assert err.strip() == "nodebench: solver torchode:tsit5: torchode is not installed. pip install torchode"
