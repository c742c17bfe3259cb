"""What ``import nodebench`` offers, as a program or a notebook uses it."""

import json
import shutil
import subprocess
import sys

import matplotlib as mpl
import pytest

import nodebench
from nodebench.spec import Status
from nodebench.store.run_folder import RECORDS, replace_file

mpl.use("Agg")

SMOKE = {"preset": "smoke", "threads": 1, "progress": False}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return tmp_path_factory.mktemp("api") / "results"


@pytest.fixture(scope="module")
def run(results):
    return nodebench.run("toy/spiral", solver="rk4", gradient=["direct", "adjoint"], seeds=2, results=results, **SMOKE)


def test_the_import_loads_neither_torch_nor_pandas():
    program = "import sys, nodebench; print(sorted({'torch', 'pandas', 'scipy', 'rich'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_each_public_name_is_there_and_no_package_hides_it():
    """A package of the name of a function would replace it as soon as one of its modules is imported."""
    for name in nodebench.__all__:
        assert callable(getattr(nodebench, name)), name
        with pytest.raises(ModuleNotFoundError):
            __import__(f"nodebench.{name}.anything")
    assert set(nodebench.__all__) <= set(dir(nodebench))
    with pytest.raises(AttributeError, match="no attribute 'rum'"):
        _ = nodebench.rum


def test_a_grid_multiplies_into_trials(run):
    assert len(run.records) == 4
    found = {(one.trial.solver, one.trial.gradient, one.trial.seed) for one in run.records}
    assert found == {("rk4", gradient, seed) for gradient in ("direct", "adjoint") for seed in (0, 1)}
    assert all(one.status is Status.OK for one in run.records)


def test_a_run_is_the_one_that_the_command_line_reads(run, results, nodebench_in):
    code, shown, err = nodebench_in(results.parent, "show", "--results", str(results))
    assert code == 0, err
    assert run.name in shown.replace("\n", "")
    again = nodebench.load(results=results)
    assert (again.name, again.records) == (run.name, run.records)
    assert nodebench.load(run.name, results=results).name == nodebench.load(run.folder).name == run.name


def test_the_frame_has_the_figures_of_the_records(run):
    frame = run.frame()
    assert len(frame) == 4
    for row, record in zip(frame.to_dict("records"), run.records, strict=True):
        assert row["id"] == record.id
        assert row["nfe_forward"] == record.costs["nfe_forward"]
        assert row["trajectory_error"] == record.metrics["trajectory_error"]
        assert (row["gradient"], row["seed"]) == (record.trial.gradient, record.trial.seed)


def test_the_summary_has_what_tells_trials_apart(run):
    summary = run.summary()
    assert {"gradient", "seed", "status", "trajectory_error", "nfe_forward"} <= set(summary.columns)
    assert not {"task", "solver", "device"} & set(summary.columns)  # the same in all
    html = run._repr_html_()
    assert html.count("<tr") == 5
    assert "adjoint" in html
    assert "adjoint" in run.table()


def test_a_plot_shows_each_trial_with_labels(run):
    axes = run.plot("nfe_forward", "gradient_error", by="gradient")
    (points,) = axes.collections
    frame = run.frame()
    for found, wanted in zip(points.get_offsets().T, (frame.nfe_forward, frame.gradient_error), strict=True):
        assert sorted(found) == pytest.approx(sorted(wanted))
    assert axes.get_xlabel() == "NFE fwd (calls)"
    assert axes.get_legend().get_title().get_text() == "gradient"
    with pytest.raises(nodebench.BadInput, match="did you mean nfe_forward"):
        run.plot("nfe_forwards", "gradient_error")


def test_times_that_may_not_be_used_are_not_drawn(run, tmp_path):
    folder = tmp_path / "spoiled"
    shutil.copytree(run.folder, folder)
    records = [one.model_copy(update={"drifted": one.trial.seed == 0}) for one in run.records]
    replace_file(folder / RECORDS, [one.line().encode() + b"\n" for one in records])
    spoiled = nodebench.load(folder)
    assert len(spoiled.plot("nfe_forward", "step_seconds").collections[0].get_offsets()) == 2
    assert len(spoiled.plot("nfe_forward", "tensor_peak_bytes").collections[0].get_offsets()) == 4


def test_what_cannot_be_run_is_refused_before_anything_is_written(tmp_path):
    for wanted, message in (
        ({"task": "toy/spirl"}, "did you mean toy/spiral"),
        ({"task": "toy/spiral", "solvr": "rk4"}, "no axis named 'solvr'; did you mean solver"),
        ({"task": "toy/spiral", "rtol": -1}, "rtol"),
        ({"task": "toy/spiral", "preset": "fast"}, "no preset named 'fast'"),
        ({"task": "toy/spiral", "passes": ["trainin"]}, "did you mean training"),
        ({"task": "toy/spiral", "passes": ["memory"]}, "--passes 'memory': 'training' is required"),
        ({"task": "toy/spiral", "seeds": 0}, "--seeds 0: at least 1"),
        ({"task": "toy/spiral", "seeds": []}, "nothing to run: the study has no trial"),
        ({"task": "toy/spiral", "options": {"epoch": 3}}, "did you mean epochs"),
        ({"task": "toy/spiral", "options": {"epochs": None}}, r"options\['epochs'\] = None: input should be"),
    ):
        with pytest.raises(nodebench.BadInput, match=message):
            nodebench.run(**(SMOKE | {"results": tmp_path / "results"} | wanted))
    assert list(tmp_path.iterdir()) == []


def test_options_and_passes_reach_the_trials(tmp_path):
    run = nodebench.run(
        "toy/spiral", options={"steps_per_epoch": [1, 2]}, passes=["training"], results=tmp_path, **SMOKE
    )
    assert sorted(one.options["steps_per_epoch"] for one in run.records) == [1, 2]
    assert all(one.costs["tensor_peak_bytes"] is None for one in run.records)


def test_a_failed_trial_has_a_record_and_runs_again(tmp_path):
    limits = nodebench.Limits(max_nfe=3)
    run = nodebench.run("toy/spiral", solver="rk4", limits=limits, results=tmp_path, **SMOKE)
    assert [one.status for one in run.records] == [Status.NFE_BUDGET]
    (before,) = (run.folder / "records.jsonl").read_text().splitlines()
    again = nodebench.resume(run, retry_failed=True, progress=False)
    assert len(again.records) == 1
    first, second = (run.folder / "records.jsonl").read_text().splitlines()
    assert first == before
    assert json.loads(second)["id"] == run.records[0].id


def test_verdicts_are_found_by_id_and_by_scope(results, run):
    found = nodebench.verdicts(results)
    assert len(found) == len(found.frame()) == len({one.claim.name for one in found})
    assert found["memory-constant"].claim.id == "memory-constant"
    assert found["memory-constant (default)"].claim.scope == "default"
    with pytest.raises(nodebench.BadInput, match="did you mean memory-constant"):
        found["memory-constnt"]
    assert "memory-constant" in found._repr_html_()
