"""compare, reproduce, calibrate, doctor: on real trials."""

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from evidence import evidence

from nodebench.cli.reproduce import Choice
from nodebench.running import noise
from nodebench.spec import Gradient, Grid, Preset
from nodebench.spec.calibration import Calibration
from nodebench.spec.metrics import Kind, metric
from nodebench.store.calibrations import calibrations, keep
from nodebench.store.run_folder import RECORDS, RunFolder, replace_file, runs_below

ROOT = Path(__file__).parents[2]
TRIALS = "--seeds 2 --threads 1 --task toy/spiral --preset smoke --solver rk4 --gradient direct,adjoint"
TRIALS += " --set epochs=1 --set points=50 --set span=5"
# Trials of the tasks that calibrate measures, each of them shorter.
LOADS = (
    Grid(task="toy/spiral", preset=Preset.SMOKE, gradient=[Gradient.DIRECT], overrides={"points": [50], "span": [5.0]}),
    Grid(task="mnist", preset=Preset.SMOKE, model=["mlp"]),
)


@pytest.fixture(scope="module")
def command(nodebench_in):
    """Run a command in a folder, on a wide terminal, and check its exit code."""

    def run(folder: Path, *arguments: str, code: int | None = 0) -> subprocess.CompletedProcess:
        done = subprocess.CompletedProcess(arguments, *nodebench_in(folder, *arguments, COLUMNS="160"))
        assert code is None or done.returncode == code, done.stdout + done.stderr
        return done

    return run


@pytest.fixture(scope="module")
def folder(command, tmp_path_factory):
    """A folder with two runs of the same trials: ``results/a`` and ``results/b``."""
    where = tmp_path_factory.mktemp("checks")
    for name in ("a", "b"):
        command(where, "run", *TRIALS.split(), "--quiet")
        (made,) = [path for path in (where / "results").iterdir() if len(path.name) > 1]
        made.rename(where / "results" / name)
    return where


def planted(folder: Path, name: str, **changes) -> None:
    """A copy of run ``b`` with metrics changed, each by its function, as if measured on a quiet machine."""
    target = folder / "results" / name
    shutil.copytree(folder / "results" / "b", target, dirs_exist_ok=True)
    run = RunFolder(target)
    records = []
    for record in run.records():
        costs = record.costs | {key: change(record.costs[key]) for key, change in changes.items()}
        records.append(record.model_copy(update={"costs": costs, "drifted": False}))
    replace_file(run.folder / RECORDS, [record.line().encode() + b"\n" for record in records])


def test_two_runs_of_the_same_trials_have_no_difference(command, folder):
    assert "environment: the same" in command(folder, "compare", "a", "b").stdout
    found = json.loads(command(folder, "compare", "a", "b", "--json").stdout)
    # Whether times alike are called so is tested a hundred times over, in test_compare_runs.py.
    assert all(one["outcome"] == "identical" for one in found["changes"] if one["p_corrected"] is None)
    exact = {change["metric"] for change in found["changes"] if change["outcome"] == "identical"}
    assert {"nfe_forward", "nfe_backward", "tensor_peak_bytes", "gradient_error", "trajectory_error", "loss"} <= exact


def test_a_planted_evaluation_and_a_planted_delay_are_found(command, folder):
    planted(folder, "quiet")
    planted(folder, "c", nfe_forward=lambda nfe: nfe + 1, step_seconds=lambda seconds: 40 * seconds)
    done = command(folder, "compare", "quiet", "c", "--fail-on", "regression", code=1)
    assert re.search(r"worse +NFE fwd", done.stdout)
    found = json.loads(command(folder, "compare", "quiet", "c", "--json").stdout)
    assert {c["metric"] for c in found["changes"] if c["outcome"] == "worse"} == {"nfe_forward", "step_seconds"}
    command(folder, "compare", "c", "quiet", "--fail-on", "regression")  # the other way round it is an improvement
    command(folder, "compare", "c", "quiet", "--fail-on", "difference", code=1)


def test_a_record_is_reproduced_from_itself_alone(command, folder, tmp_path):
    record = RunFolder(folder / "results" / "a").records()[0]
    alone = tmp_path / "results" / "alone"
    alone.mkdir(parents=True)
    (alone / "records.jsonl").write_text(record.line() + "\n")
    (alone / "study.toml").write_text("")  # nothing of it is needed
    done = command(tmp_path, "reproduce", record.id[:8], "--json")
    (again,) = json.loads(done.stdout)["records"]
    assert again["id"] == record.id
    kinds = {name: one["outcome"] for name, one in again["metrics"].items() if one["kind"] != "sampled"}
    assert set(kinds.values()) == {"identical"}
    assert len(kinds) > 12
    stored = RunFolder(Path(tmp_path / json.loads(done.stdout)["run"]))
    assert [one.trial for one in stored.records()] == [record.trial]
    # It is no evidence of its own: what is asked for next is the original again, and claims pass it over.
    assert [run.folder.name for run in runs_below(tmp_path / "results")] == ["alone"]
    assert [run.folder for run in runs_below(stored.folder)] == [stored.folder]


def test_a_record_that_was_tampered_with_does_not_reproduce(command, folder):
    planted(folder, "d", nfe_forward=lambda nfe: nfe + 1)
    done = command(folder, "reproduce", "d", "--sample", "1", "--pick", "x", "--results", "results", code=1)
    assert re.search(r"NFE fwd: .*, no change explains it", done.stdout)


def test_a_sample_is_drawn_by_its_word():
    records = [evidence(seed) for seed in range(20)]

    def drawn(word):
        return [record.id for record in Choice(sample=5, pick=word).of(records)]

    assert len(set(drawn("one"))) == 5
    assert drawn("one") == drawn("one") != drawn("two")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["reproduce", "memory-constnt"], "did you mean the claim memory-constant?"),
        (["reproduce", "zzzz"], "'zzzz' is not a claim, a record id or a run in results; see 'nodebench claims list'"),
        (["reproduce", "memory-constant"], "has no record in results yet"),
        (["reproduce", "a", "--sample", "0"], "--sample 0: at least 1"),
        (["reproduce", "a", "--within", "0.001"], "none of the 4 records of 'a' takes 0.001 s or less"),
        (["compare", "a", "nothing"], "no run named 'nothing'"),
        (["compare", "a", "b", "--fail-on", "regresion"], "did you mean regression?"),
        (["calibrate", "--rounds", "1"], "--rounds 1: at least 2"),
        (["calibrate", "--threads", "0"], "--threads 0: this process may use"),
        (["calibrate", "--pause", "-1"], "--pause -1: at least 0"),
        (["calibrate", "--pause", "inf"], "--pause inf: at most 3600"),
    ],
)
def test_bad_input_is_one_line(command, folder, arguments, told):
    done = command(folder, *arguments, code=2)
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("loads", [LOADS, pytest.param(noise.LOADS, marks=pytest.mark.slow)], ids=["short", "whole"])
def test_the_noise_of_the_machine_is_measured_stored_and_used(command, folder, tmp_path, monkeypatch, loads):
    monkeypatch.setattr(noise, "LOADS", loads)
    done = command(tmp_path, "calibrate", "--rounds", "2", "--replicates", "2", "--pause", "0", "--threads", "1")
    assert "n = 5" in done.stdout
    assert re.search(r"^ *step  ", done.stdout, re.MULTILINE)
    (kept,) = calibrations(tmp_path / "results")
    assert set(kept.rounds) == {"toy/spiral", "mnist"}
    assert kept.unequal == ()  # counts and errors have no noise
    for metrics in kept.rounds.values():
        assert all(metric(name).kind is Kind.SAMPLED for name in metrics)
        assert [len(values) for values in metrics["step_seconds"]] == [2, 2]
    planted(folder, "quiet")
    shutil.copytree(folder / "results" / "quiet", tmp_path / "results" / "quiet")
    assert "nodebench calibrate" not in command(tmp_path, "compare", "quiet", "quiet").stdout
    assert "nodebench calibrate" in command(folder, "compare", "quiet", "quiet").stdout


def test_a_torn_calibration_is_dropped_and_a_broken_one_named(tmp_path, caplog):
    whole = Calibration(started="2026", environment={}, threads=1, rounds={})
    path = keep(tmp_path, whole)
    path.write_bytes(path.read_bytes() + b'{"started": "20')
    assert calibrations(tmp_path) == [whole]
    keep(tmp_path, whole)
    assert calibrations(tmp_path) == [whole, whole]
    path.write_bytes(b"\xff\n")
    assert calibrations(tmp_path) == []
    assert "calibrations.jsonl: 1 calibrations left out: line 1: " in caplog.text


@pytest.mark.slow
def test_a_calibration_that_was_stopped_is_not_stored(tmp_path):
    words = [sys.executable, "-m", "nodebench", "calibrate", "--replicates", "2", "--pause", "600", "--threads", "1"]
    with subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if line.startswith("[1/"):
                break
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Nothing was stored" in out
    assert not (tmp_path / "results" / "calibrations.jsonl").exists()


def test_a_run_without_records_cannot_be_reproduced(command, tmp_path):
    (tmp_path / "results" / "empty").mkdir(parents=True)
    (tmp_path / "results" / "empty" / "study.toml").write_text("")
    done = command(tmp_path, "reproduce", "empty", code=2)
    assert "'empty' has no record of a finished trial" in done.stderr


def test_the_doctor_finds_a_machine_that_tests_run_on_fit(command, tmp_path):
    done = command(tmp_path, "doctor")
    assert re.search(r"✓ a trial: ran in a process of its own, in \d", done.stdout)
    assert "✗" not in done.stdout
    assert "data mnist-5k: found" in done.stdout
    assert "data mnist-60k: not found" in done.stdout
    assert list(tmp_path.iterdir()) == []  # it leaves nothing behind


def test_the_doctor_says_what_is_missing_and_what_to_do(command, tmp_path):
    (tmp_path / "file").write_text("")
    done = command(tmp_path, "doctor", "--results", "file/results", code=1)
    assert "✗ runs in file/results: cannot be written" in done.stdout
    assert "choose another folder with --results DIR" in done.stdout


@pytest.mark.parametrize(
    ("studies", "number", "seconds"),
    [
        (("memory", "solvers"), "1", "3"),
        pytest.param(("memory", "solvers", "fig3"), "3", "6", marks=pytest.mark.slow),
    ],
    ids=["some", "more"],
)
def test_a_sample_of_the_committed_records_reproduces(command, tmp_path, studies, number, seconds):
    """Drawn by the commit, so that it changes. New code is no excuse here; other libraries or another processor are.

    An older record does not say which of several processors of one name it had. Another one rounds differently: counts
    stay the same, and a computed figure changes by a millionth at most (one that is a difference of numbers of size
    one, by the rounding of those) or, after training, stays within the interval of its replicates. An observed order is
    a slope of logarithms of errors, the smallest of which are near the rounding of the states.
    """
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    published = ROOT / "results" / "published"
    sample = [
        "--results",
        str(published),
        "--sample",
        number,
        "--within",
        seconds,
        "--pick",
        commit.stdout.strip(),
        "--json",
    ]
    excused = ("packages.", "cpu", "blas", "platform", "python")
    for study in studies:
        largest = max(published.glob(f"*-{study}/records.jsonl"), key=lambda path: path.stat().st_size)
        run = largest.parent
        for record in json.loads(command(tmp_path, "reproduce", str(run), *sample, code=None).stdout)["records"]:
            assert record["status"] == ["ok", "ok"]
            for name, one in record["metrics"].items():
                elsewhere = any(cause.startswith(excused) for cause in one["explained_by"])
                digits = {"abs": 1e-3} if name == "observed_order" else {"rel": 1e-6, "abs": 1e-14}
                millionth = one["second"] == pytest.approx(one["first"], **digits)
                close = millionth or one["outcome"] == "within the interval"
                rounded = "microarchitecture" in one["explained_by"] and one["kind"] == "computed" and close
                same = one["outcome"] == "identical" or rounded
                assert one["kind"] == "sampled" or same or elsewhere, (record["id"], name, one)
