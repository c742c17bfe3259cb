"""``nodebench export``, and several runs in Python."""

import pandas as pd
import pytest
from evidence import evidence

import nodebench as nb
from nodebench.errors import BadInput
from nodebench.spec import Grid, Study
from nodebench.store.run_folder import RunFolder


@pytest.fixture
def runs(tmp_path) -> list[RunFolder]:
    """Two runs of two trials each."""
    found = []
    for name, solver in (("first", "dopri5"), ("second", "rk4")):
        run = RunFolder.create(tmp_path / "results", Study(groups={"a": Grid(task="toy/spiral")}), {})
        run = RunFolder(run.folder.rename(tmp_path / "results" / name))
        for seed in range(2):
            run.append(
                evidence(seed, solver=solver, costs={"nfe_forward": 10 + seed}, history=[{"epoch": 1, "loss": 1.0}])
            )
        found.append(run)
    return found


def test_every_run_is_one_table(nodebench, runs, tmp_path):
    code, out, err = nodebench("export", "--all", "--format", "parquet")
    assert code == 0, err
    assert out == "4 records · results/records.parquet\n"
    table = pd.read_parquet(tmp_path / "results" / "records.parquet")
    assert list(table["run"]) == ["first", "first", "second", "second"]
    assert list(table["nfe_forward"]) == [10, 11, 10, 11]
    code, out, _ = nodebench("show", "first")  # the table in the folder is no run
    assert code == 0


def test_columns_and_history_of_one_run(nodebench, runs, tmp_path):
    code, _, err = nodebench("export", "first", "--columns", "seed,nfe_forward", "--out", "few.csv")
    assert code == 0, err
    assert (tmp_path / "few.csv").read_text() == "seed,nfe_forward\n0,10\n1,11\n"
    code, _, _ = nodebench("export", "second", "--table", "history", "--columns", "seed,history.loss")
    assert code == 0
    assert (runs[1].folder / "history.csv").read_text() == "seed,history.loss\n0,1.0\n1,1.0\n"


def test_a_table_for_a_paper_has_eight_columns_at_most(nodebench, runs, tmp_path):
    code, _, err = nodebench("export", "--all", "--format", "latex")
    assert code == 0, err
    header = (tmp_path / "results" / "records.tex").read_text().splitlines()[2]
    assert "solver" in header
    assert header.count("&") < 8


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["first", "--all"], "--all exports every run in results: leave out first"),
        (["--format", "xls"], "no format named 'xls'"),
        (["--columns", "sed"], "did you mean seed?"),
        (["--table", "epochs"], "no table named 'epochs'"),
        (["--all", "--results", "nowhere"], "nowhere"),
    ],
)
def test_bad_input_ends_in_one_line(nodebench, runs, arguments, told):
    code, _, err = nodebench("export", *arguments)
    assert code == 2
    assert told in err
    assert len(err.splitlines()) == 1


def test_several_runs_are_a_value_in_python(runs, tmp_path):
    found = nb.load_runs(tmp_path / "results")
    assert [run.name for run in found] == ["first", "second"]
    assert [run.name for run in found[1:]] == ["second"]
    assert list(found.frame()["run"]) == ["first", "first", "second", "second"]
    assert "dopri5" in found.table()
    assert found.export(tmp_path / "all.tex").read_text().startswith("\\begin{tabular}")
    with pytest.raises(BadInput, match="no format named 'none'"):
        found.export(tmp_path / "all")
    with pytest.raises(BadInput, match="no record in"):
        nb.load_runs(tmp_path / "nowhere")
