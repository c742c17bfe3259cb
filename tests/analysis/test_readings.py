import math

import pytest
from evidence import claim, evidence

from nodebench.analysis.readings import (
    at_epoch,
    at_step,
    at_tolerance,
    axis,
    change,
    exceeds,
    final,
    probed,
    profile_power,
    quotient,
    relative,
    scaled,
    total,
    within,
)
from nodebench.claims.contract import Arm, Part
from nodebench.spec.metrics import METRICS
from nodebench.spec.record import Interleaved

A, B = Arm("adjoint", {"gradient": "adjoint"}), Arm("direct", {"gradient": "direct"})
INF = math.inf


LOSS, SECONDS, ERROR = final("test_loss"), final("step_seconds"), final("test_error")


def test_a_figure_is_a_metric_or_a_cost():
    record = evidence(metrics={"test_loss": 0.5}, costs={"step_seconds": 2.0})
    assert (LOSS.get(record), SECONDS.get(record), ERROR.get(record)) == (0.5, 2.0, None)
    assert (SECONDS.timed, LOSS.timed) == (True, False)
    exact = {"tensor_peak_bytes", "saved_bytes", "parameters", "inversions", "residual_error", "sensitivity"}
    assert {name for name in METRICS if final(name).exact} == exact
    assert not any(reading.exact for reading in (at_epoch("loss", 0), probed("solution_error"), axis("rtol")))


def test_a_metric_that_was_no_number_lies_on_its_worse_side_unless_it_says_why():
    lost = evidence(metrics={"test_loss": None, "elbo": None}, costs={"step_seconds": None})
    assert (LOSS.get(lost), final("elbo").get(lost), SECONDS.get(lost)) == (INF, -INF, None)
    assert (LOSS.failed, final("elbo").failed) == (INF, -INF)
    known = evidence(metrics={"test_loss": None}, reasons={"test_loss": "the model has none"})
    assert LOSS.get(known) is None


def test_a_probe_that_failed_is_beyond_all_others_and_one_that_was_not_made_is_none():
    reading = probed("solution_error")
    assert reading.get(evidence(costs={"solution_error": 0.5})) == 0.5
    assert reading.get(evidence(reasons={"solution_error": "the probe failed: dt"})) == INF
    assert reading.get(evidence(reasons={"solution_error": "the model has no ODE"})) is None
    assert reading.get(evidence()) is None


def test_a_figure_of_the_history_is_at_its_epoch_or_the_last():
    rows = [{"epoch": float(i), "loss": 10.0 - i} for i in range(4)]
    record = evidence(history=rows)
    assert [at_epoch("loss", epoch).get(record) for epoch in (-1, 0, 2, 9)] == [7.0, 10.0, 8.0, None]
    assert at_epoch("loss", -1).get(evidence()) is None
    labels = [at_epoch("loss", epoch).label.removeprefix(LABEL).strip() for epoch in (-1, 0, 2)]
    assert labels == ["after training", "before training", "after epoch 2"]


LABEL = at_epoch("loss", 0).label.removesuffix("before training")


def test_a_figure_at_a_tolerance_is_of_that_row_of_the_profile():
    rows = [{"rtol": rtol, "nfe": 1 / rtol, "test_error": None} for rtol in (1e-1, 1e-3)] + [{"step_size": 0.5}]
    record = evidence(profile=rows)
    assert at_tolerance("nfe_forward", 1e-3).get(record) is None
    assert at_tolerance("test_error", 1e-3).get(record) == INF
    assert at_tolerance("test_error", 1e-5).get(record) is None
    numbers = evidence(profile=[row | {"test_error": 2.0 * i} for i, row in enumerate(rows)])
    assert [at_tolerance("test_error", rtol).get(numbers) for rtol in (1e-1, 1e-3)] == [0.0, 2.0]


def test_an_axis_is_an_override_an_option_or_a_number_of_the_trial():
    record = evidence(options={"points": 9, "noise": 0.5, "variant": "script"}, overrides={"points": 3})
    assert [axis(name).get(record) for name in ("points", "noise", "rtol", "threads")] == [3.0, 0.5, 1e-3, 1.0]
    assert [axis(name).get(record) for name in ("variant", "solver", "step_size", "nothing")] == [None] * 4


def test_readings_of_readings_need_all_their_parts():
    record = evidence(metrics={"test_loss": 6.0, "test_error": 2.0}, costs={"step_seconds": 0.0})
    none = final("growth")
    assert (total(LOSS, ERROR).get(record), total(LOSS, none).get(record), total(none, LOSS).get(record)) == (
        8,
        None,
        None,
    )
    assert total(LOSS, SECONDS, ERROR).get(record) == 8.0
    assert [total(*two).timed for two in ((LOSS, SECONDS), (SECONDS, LOSS))] == [False, True]
    assert (quotient(LOSS, ERROR).get(record), quotient(SECONDS, LOSS).get(record)) == (3.0, 0.0)
    assert [quotient(*two).get(record) for two in ((LOSS, SECONDS), (none, LOSS), (LOSS, none))] == [None] * 3
    assert (change(LOSS, ERROR).get(record), change(SECONDS, LOSS).get(record)) == (4.0, -6.0)
    assert [change(*two).get(record) for two in ((none, LOSS), (LOSS, none))] == [None] * 2


def test_a_share_counts_what_is_beyond_a_limit():
    records = [evidence(metrics={"test_loss": 7.0, "test_error": error}) for error in (1.0, 2.0, 3.0)]
    assert [exceeds(ERROR, 2.0).get(record) for record in records] == [0.0, 0.0, 1.0]
    assert exceeds(ERROR, 2.0).get(evidence()) is None
    assert exceeds(ERROR, 2.0).failed == 1.0


def test_a_share_counts_what_is_within_a_limit():
    assert [within(ERROR, 2.0).get(evidence(metrics={"test_error": e})) for e in (1.0, 2.0, 3.0)] == [1.0, 1.0, 0.0]
    assert (within(ERROR, 2.0).failed, within(ERROR, 2.0).get(evidence())) == (0.0, None)


def test_a_figure_at_a_step_and_a_multiple_of_one():
    record = evidence(profile=[{"rtol": 1e-3, "nfe": 20.0}, {"step_size": 0.25, "nfe": 8.0}])
    assert [at_step("nfe", step).get(record) for step in (0.25, 0.5)] == [8.0, None]
    assert scaled(at_step("nfe", 0.25), 0.5, "half").get(record) == 4.0


def test_the_power_of_a_tolerance_is_the_slope_over_the_profile():
    rows = [{"rtol": 10.0**-i, "solution_error": 3 * 10.0 ** (-0.8 * i)} for i in range(1, 6)]
    assert profile_power("solution_error").get(evidence(profile=rows)) == pytest.approx(0.8)
    assert profile_power("solution_error").get(evidence(profile=rows[:2])) is None


def test_an_interleaved_cost_is_read_against_the_baseline_that_is_named():
    baseline = evidence(gradient="direct").trial
    paired = Interleaved(baseline=baseline, blocks=10, steps=1, ratios={"step_seconds": 1.5, "nfe_forward": 2.0})
    record = evidence(gradient="adjoint", interleaved=paired)
    assert relative(gradient="direct").get(record) == 1.5
    assert relative("nfe_forward", gradient="direct").get(record) == 2.0
    assert relative("backward_seconds", gradient="direct").get(record) is None
    assert relative(gradient="checkpoint").get(record) is None
    assert relative(gradient="direct").get(evidence()) is None
    assert (relative(gradient="direct").timed, relative("nfe_forward", gradient="direct").timed) == (True, False)


@pytest.mark.parametrize(
    ("unit", "value", "text"),
    [
        ("", 0.12345, "0.123"),
        ("", -1e-5, "−1e−5"),
        ("%", 0.5, "50"),
        ("points", 1.5, "+1.50"),
        ("points", -0.25, "−0.25"),
        ("×", INF, "∞"),
        ("×", -INF, "−∞"),
    ],
)
def test_a_number_is_told_in_its_unit(unit, value, text):
    part = Part("{}", LOSS, B, unit=unit)
    assert (part.number(value), part.suffix) == (text, f" {unit}" if unit else "")


def test_the_command_of_a_claim_names_its_studies_and_its_scale():
    part = Part("{}", LOSS, B)
    assert claim(part).command == "nodebench study run toys"
    large = claim(part, studies=("toys", "fig3"), preset="paper")
    assert large.command == "nodebench study run toys --preset paper; nodebench study run fig3 --preset paper"
    assert (large.name, A.but("other", rtol=1.0)) == (
        "planted (default)",
        Arm("other", {"gradient": "adjoint", "rtol": 1.0}),
    )
