"""How many threads a trial gets when nobody says so: planted fields that gain or lose by a second thread."""

import json
import tomllib

import pytest

from nodebench.cores import default_threads, usable_cores
from nodebench.running.expand import multiply
from nodebench.running.threads import choose_threads
from nodebench.spec import DataSource, Grid, Limits

several_cores = pytest.mark.skipif(usable_cores() < 2, reason="one core only")


@pytest.fixture
def no_variable(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


def trial(fault):
    grid = Grid(task="test/faults", preset="smoke", solver="rk4", overrides={"fault": [fault]}, threads=1)
    return multiply(grid, DataSource())[0][0]


def chosen(fault, limits=None, jobs=1):
    return choose_threads(trial(fault), DataSource(), limits or Limits(), jobs)


@several_cores
@pytest.mark.parametrize(("fault", "threads"), [("threads-hurt", 1), ("threads-help", usable_cores())])
def test_the_faster_number_of_threads_is_taken(no_variable, fault, threads):
    found = chosen(fault)
    assert found.threads == threads
    assert "s with 1 thread and" in found.because


@several_cores
def test_what_cannot_be_compared_is_said(no_variable):
    found = chosen("raise")
    assert found.threads == usable_cores()
    assert "not compared with 1 thread" in found.because


@pytest.mark.parametrize(
    ("variable", "jobs", "threads"), [("1", 1, 1), ("1,4", 1, 1), ("99999", 1, usable_cores()), ("99999", 999, 1)]
)
def test_the_variable_wins_within_the_cores_of_a_job(monkeypatch, variable, jobs, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", variable)
    assert default_threads(jobs) == threads
    found = chosen("threads-help", jobs=jobs)
    assert (found.threads, found.because) == (threads, f"OMP_NUM_THREADS={variable}")


@pytest.mark.parametrize("variable", ["", "0", "-1", "many", "1.5"])
def test_a_variable_that_is_no_number_of_threads_is_ignored(monkeypatch, variable):
    monkeypatch.setenv("OMP_NUM_THREADS", variable)
    assert default_threads() == usable_cores()


RUN = ["run", "--task", "test/faults", "--preset", "smoke", "--solver", "rk4", "--set", "fault=threads-hurt"]


@several_cores
def test_a_run_keeps_the_choice_and_its_reason(nodebench, no_variable, monkeypatch, tmp_path):
    code, _, err = nodebench(*RUN)
    assert code == 0, err
    assert "threads of a trial: 1 (from a few steps, a trial of test/faults takes" in err
    (run,) = (tmp_path / "results").iterdir()
    (record,) = map(json.loads, (run / "records.jsonl").read_text().splitlines())
    choice = json.loads((run / "environment.json").read_text())["threads_choice"]
    assert (record["trial"]["threads"], record["environment"]["threads"], choice["threads"]) == (1, 1, 1)
    assert "s with 1 thread and" in choice["because"]
    assert tomllib.loads((run / "study.toml").read_text())["groups"]["typed"]["threads"] == 1
    # Resumed under another number, the run has the same trials.
    monkeypatch.setenv("OMP_NUM_THREADS", str(usable_cores()))
    code, _, err = nodebench("run", "--resume")
    assert code == 0, err
    assert len((run / "records.jsonl").read_text().splitlines()) == 1


@several_cores
def test_a_number_that_was_typed_wins_without_a_probe(nodebench, monkeypatch, tmp_path):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    code, _, err = nodebench(*RUN, "--threads", "2", "--step-size", "0.5", "--passes", "training")
    assert code == 0, err
    assert "threads of a trial" not in err
    (run,) = (tmp_path / "results").iterdir()
    assert json.loads((run / "records.jsonl").read_text())["trial"]["threads"] == 2
    assert "threads_choice" not in json.loads((run / "environment.json").read_text())
