"""Records as a table for other programs: every number as it was measured, in the units of the records."""

import json

import pandas as pd
import pytest
from evidence import ENVIRONMENT, evidence

from nodebench.analysis.frame import export
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
    path.write_bytes(export(records(), format))
    table = read(path)
    for name, value in (COSTS | METRICS).items():
        assert list(table[name]) == [value] * 2
    assert list(table["duration_seconds"]) == [1.0, 2.5]
    assert list(table["rtol"]) == [1e-3] * 2


def test_json_has_the_records_themselves(tmp_path):
    (tmp_path / "records.json").write_bytes(export(records(), "json"))
    kept = json.loads((tmp_path / "records.json").read_text())
    assert [one["costs"] for one in kept] == [COSTS] * 2
    assert [one["metrics"] for one in kept] == [METRICS] * 2


def test_a_row_says_which_of_its_times_cannot_be_compared(tmp_path):
    (tmp_path / "records.csv").write_bytes(export(records(), "csv"))
    table = pd.read_csv(tmp_path / "records.csv")
    assert list(table["drifted"].fillna(value=False)) == [False, True]
    assert list(table["shared_cores"]) == [False, True]
    assert list(table["machine"]) == ["a processor, 2 cores", "a processor"]
