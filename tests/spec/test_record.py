import json
import math
from base64 import b64encode

import numpy as np
import pytest

from nodebench.errors import BadInput
from nodebench.spec import METRICS, Record, Status, Trial
from nodebench.spec.metrics import metric, percent
from nodebench.spec.record import NAMES, DataCard, Interleaved

TRIAL = Trial(task="t", model="m")
RECORD = Record(
    id="0" * 12,
    trial=TRIAL,
    status=Status.OK,
    started="2026-01-01T00:00:00+00:00",
    duration_seconds=1.5,
    metrics={"test_error": 1.25},
    history=[{"epoch": 0, "loss": None}],
)


def test_a_record_survives_its_line():
    line = RECORD.line()
    assert "\n" not in line
    assert Record.parse(line) == RECORD


def test_a_number_that_is_not_finite_is_null_in_the_line():
    line = RECORD.model_copy(update={"metrics": {"loss": float("nan")}}).line()
    assert json.loads(line)["metrics"]["loss"] is None


def test_a_newer_schema_is_refused_by_name():
    newer = json.loads(RECORD.line()) | {"schema_version": 99}
    with pytest.raises(BadInput, match="schema 99; this nodebench reads up to 4"):
        Record.parse(json.dumps(newer))


@pytest.mark.parametrize("text", ["[]", "{}", '{"schema_version": 1, "id": 3}'])
def test_what_is_no_record_is_refused(text):
    with pytest.raises(BadInput, match="not a record"):
        Record.parse(text)


@pytest.mark.parametrize("version", [99.0, "99", -1, 0, None, True, [4], 10**30])
def test_a_schema_is_a_known_whole_number(version):
    text = json.dumps(json.loads(RECORD.line()) | {"schema_version": version})
    with pytest.raises(BadInput):
        Record.parse(text)


@pytest.mark.parametrize(
    "change",
    [
        {"metrics": {str(n): 1.0 for n in range(NAMES + 1)}},
        {"costs": {"timed_steps": 2**64}},
        {"started": "yesterday"},
        {"history": [{"loss": 1.0}]},
        {"history": [{"epoch": 0.0}, {"epoch": None, "loss": 1.0}]},
        {"environment": {"cores": [2]}},
        {"options": {"deep": json.loads("[" * 40 + "]" * 40)}},
        {"data": DataCard(name="d", train=1, test=10**12, sha256="0"), "wrong": "AAAA"},
        {"calibration": [0.0, 0.01]},
        {"interleaved": Interleaved.model_construct(baseline=TRIAL, blocks=2, steps=1, ratios={"step_seconds": -1.0})},
        {"interleaved": Interleaved.model_construct(baseline=TRIAL, blocks=0, steps=1, ratios={})},
    ],
    ids=[
        "too many metrics",
        "beyond 64 bits",
        "no time",
        "no epoch",
        "an epoch that is null",
        "environment",
        "nested deep",
        "test items without bits",
        "a load without seconds",
        "a negative ratio",
        "no blocks",
    ],
)
def test_what_is_out_of_bounds_is_refused_though_its_checksum_is_right(change):
    with pytest.raises(BadInput):
        Record.parse(RECORD.model_copy(update=change).line())


def test_every_status_has_a_sentence():
    assert all(status.sentence for status in Status)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("test_error", 3.14159, "3.14 %"),
        ("nfe_forward", 26.0, "26"),
        ("nfe_backward", 31.25, "31.2"),
        ("step_seconds", 0.01234, "12.3 ms"),
        ("step_seconds", 2.5, "2.50 s"),
        ("step_seconds", 12e-6, "12 µs"),
        ("tensor_peak_bytes", 872, "872 B"),
        ("tensor_peak_bytes", 46_528_732, "46.5 MB"),
        ("tensor_peak_bytes", 999_600, "1 MB"),
        ("tensor_peak_bytes", 3.2e9, "3.2 GB"),
        ("parameters", 208266, "208,266"),
        ("solution_error", None, "–"),
    ],
)
def test_a_figure_is_formatted_with_its_unit(name, value, text):
    assert METRICS[name].format(value) == text


def test_a_third_party_metric_needs_no_entry():
    assert metric("beat_error").label == "beat error"
    assert not metric("beat_error").is_time
    assert metric("decode_seconds").is_time  # so that other load spoils it
    assert metric("decode_seconds").format(0.002) == "2 ms"


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.031, "3.1 %"), (2e-11, "2e-9 %"), (-0.2, "-20 %"), (1.404, "140 %"), (math.inf, "> 1000 %")],
)
def test_a_share_is_told_with_two_digits(share, text):
    assert percent(share) == text


def test_reasons_of_older_records_get_their_code_from_the_wording():
    old = json.loads(RECORD.line()) | {
        "schema_version": 1,  # of records without a checksum
        "reasons": {"reverse_error": "the probe failed: dt", "nfe_backward": "the model has no ODE", "x": "other"},
    }
    del old["checksum"], old["place"]
    reasons = Record.parse(json.dumps(old)).reasons
    assert [reason.code for reason in reasons.values()] == ["probe-failed", "no-ode", "other"]
    assert str(reasons["reverse_error"]) == "the probe failed: dt"


def test_wrong_items_are_read_back_bit_by_bit():
    wrong = [True, False, False, True, False, False, False, False, True]
    packed = b64encode(np.packbits(wrong).tobytes()).decode()
    record = RECORD.model_copy(update={"wrong": packed, "data": DataCard(name="d", train=1, test=9, sha256="0")})
    assert Record.parse(record.line()).wrong_items() == wrong
    assert RECORD.wrong_items() is None
