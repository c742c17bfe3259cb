"""Records as a table for other programs: every number as it was measured, in the units of the records."""

import json

import pandas as pd
import pytest
from evidence import ENVIRONMENT, evidence

from nodebench.analysis.frame import export, frame, table
from nodebench.errors import BadInput
from nodebench.spec.record import Place

COSTS = {"step_seconds": 0.0125, "tensor_peak_bytes": 73_600, "nfe_forward": 20.5, "first_step_seconds": 1.75}
METRICS = {"trajectory_error": 0.125, "test_error": 5.25}


def records():
    busy = evidence(1, costs=COSTS, metrics=METRICS, drifted=True)
    return [
        evidence(0, costs=COSTS, metrics=METRICS, environment=ENVIRONMENT | {"cores": {"usable": 2}}),
        busy.model_copy(update={"place": Place(shared=True), "duration_seconds": 2.5}),
    ]


@pytest.mark.parametrize(("format", "read"), [("csv", pd.read_csv), ("parquet", pd.read_parquet)])
def test_figures_are_exported_in_the_units_of_the_records(tmp_path, format, read):
    path = tmp_path / f"records.{format}"
    path.write_bytes(export(frame(records()), records(), format))
    table = read(path)
    for name, value in (COSTS | METRICS).items():
        assert list(table[name]) == [value] * 2
    assert list(table["duration_seconds"]) == [1.0, 2.5]
    assert list(table["rtol"]) == [1e-3] * 2


def test_json_has_the_records_themselves(tmp_path):
    (tmp_path / "records.json").write_bytes(export(frame(records()), records(), "json"))
    kept = json.loads((tmp_path / "records.json").read_text())
    assert [one["costs"] for one in kept] == [COSTS] * 2
    assert [one["metrics"] for one in kept] == [METRICS] * 2


def test_a_row_says_which_of_its_times_cannot_be_compared(tmp_path):
    (tmp_path / "records.csv").write_bytes(export(frame(records()), records(), "csv"))
    table = pd.read_csv(tmp_path / "records.csv")
    assert list(table["drifted"].fillna(value=False)) == [False, True]
    assert list(table["shared_cores"]) == [False, True]
    assert list(table["machine"]) == ["a processor, 2 cores", "a processor"]


def with_history(seed: int):
    history = [{"epoch": 1, "loss": 2.0, "test_error": None}, {"epoch": 2, "loss": 1.0, "test_error": 7.5}]
    return evidence(seed, costs=COSTS, metrics=METRICS, history=history)


def test_a_history_has_one_row_an_epoch_beside_the_axes_of_its_trial():
    some = [with_history(0), with_history(1)]
    found = table(frame(some), some, "history")
    assert list(found["history.epoch"]) == [1, 2] * 2
    assert list(found["history.loss"]) == [2.0, 1.0] * 2
    assert list(found["seed"]) == [0, 0, 1, 1]
    assert not {*COSTS, *METRICS} & {*found.columns}  # which are of the whole trial


def test_columns_are_chosen_in_order_and_misspelt_ones_refused():
    some = records()
    assert list(table(frame(some), some, columns=["seed", "rtol"]).columns) == ["seed", "rtol"]
    with pytest.raises(BadInput, match="no column named 'sed'; did you mean seed"):
        table(frame(some), some, columns=["sed"])
    with pytest.raises(BadInput, match="no table named 'histori'; did you mean history"):
        table(frame(some), some, "histori")


def test_latex_is_a_table_with_four_digits_that_tex_can_read():
    some = [evidence(0, costs={"step_seconds": 1 / 3}, overrides={"name": "50 % & more_"})]
    text = export(frame(some), some, "latex", columns=["step_seconds", "set.name", "first_step"]).decode()
    assert text.startswith("\\begin{tabular}")
    assert "step\\_seconds & set.name & first\\_step \\\\" in text
    assert "0.3333 & 50 \\% \\& more\\_ & -- \\\\" in text
