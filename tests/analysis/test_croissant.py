"""The metadata of exported records: valid for mlcroissant, and true of the file."""

import hashlib
import json

import mlcroissant
import pandas as pd
import pytest

from nodebench.analysis.croissant import about
from nodebench.spec.axes import AXES
from nodebench.spec.metrics import METRICS


@pytest.fixture(scope="module")
def exported(tmp_path_factory, nodebench_in):
    folder = tmp_path_factory.mktemp("export")
    arguments = ["run", "toy/spiral", "--preset", "smoke", "--set", "epochs=1", "--passes", "training", "--seeds", "2"]
    assert nodebench_in(folder, *arguments, "--quiet")[0] == 0
    assert nodebench_in(folder, "export", "--format", "parquet", "--out", "all.parquet", "--croissant")[0] == 0
    return folder


def test_it_describes_every_column_and_names_the_hash_of_the_file(exported):
    metadata = json.loads((exported / "all.croissant.json").read_text())
    table = pd.read_parquet(exported / "all.parquet")
    (file,), (rows,) = metadata["distribution"], metadata["recordSet"]
    assert file["sha256"] == hashlib.sha256((exported / "all.parquet").read_bytes()).hexdigest()
    assert [field["source"]["extract"]["column"] for field in rows["field"]] == list(table.columns)
    types = {field["name"]: field["dataType"] for field in rows["field"]}
    assert (types["seed"], types["nfe_forward"], types["solver"]) == ("sc:Integer", "sc:Float", "sc:Text")
    assert len(table) == 2


def test_mlcroissant_reads_the_records_through_it(exported):
    dataset = mlcroissant.Dataset(str(exported / "all.croissant.json"))
    assert [row["records/seed"] for row in dataset.records("records")] == [0, 1]


def test_figures_and_axes_are_described_in_their_own_words():
    assert about("nfe_forward").endswith(f"{METRICS['nfe_forward'].about} (unit: calls)")
    assert about("gradient") == AXES["gradient"].help


def test_only_a_parquet_file_has_metadata(nodebench_in, exported):
    code, _, errors = nodebench_in(exported, "export", "--format", "csv", "--croissant")
    assert code == 2
    assert "--croissant requires a Parquet file, not csv" in errors
