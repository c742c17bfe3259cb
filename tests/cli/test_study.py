"""``nodebench study`` as it is typed."""

import json

import pytest

from nodebench.cli import confirm
from nodebench.spec import Record

STUDY = """
about = "two solvers of the exponential"
source = "a test"
claims = ["error-follows-tolerance"]
seeds = 2
timing = false
passes = ["training"]

[groups.fixed]
task = "toy/exponential"
solver = ["euler", "rk4"]
overrides = { solves = 1 }
exclude = [{ reason = "planted", solver = "rk4" }]

[groups.adaptive]
task = "toy/exponential"
solver = "dopri5"
overrides = { solves = 1 }
"""


@pytest.fixture
def study(tmp_path, nodebench):
    (tmp_path / "mine.toml").write_text(STUDY)
    return lambda verb, *arguments: nodebench("study", verb, "mine.toml", "--preset", "smoke", *arguments)


def test_studies_are_listed_and_shown(nodebench, study):
    _, out, _ = nodebench("study", "list")
    assert all(name in out for name in ("table1", "fig3", "toys", "ecg"))
    code, out, _ = study("show")
    assert code == 0
    for text in ("two solvers of the exponential", "error-follows-tolerance", "euler, rk4", "left out: planted"):
        assert text in out


def test_a_plan_says_what_there_is_and_what_is_not_known(study):
    code, out, _ = study("plan")
    assert code == 0
    assert "left out: planted" in out
    assert "4 trials" in out
    assert "unknown" in out
    _, out, _ = study("plan", "--probe")
    assert "about" in out
    assert "(4 known)" in out


def test_threads_that_are_typed_are_those_of_every_trial(study, tmp_path):
    study("run", "--quiet", "--threads", "1", "--seeds", "1", "--device", "cpu")
    (records,) = (tmp_path / "results").glob("*/records.jsonl")
    found = [json.loads(line)["trial"] for line in records.read_text().splitlines()]
    assert [(trial["threads"], trial["device"], trial["seed"]) for trial in found] == [(1, "cpu", 0)] * 2
    assert "2 of them in" in study("plan", "--seeds", "1")[1]  # with the threads of that run


def test_a_study_runs_and_is_gone_on_with_and_planned_from_its_records(study, tmp_path):
    code, out, _ = study("run", "--quiet")
    assert code == 0
    (run,) = (tmp_path / "results").iterdir()
    assert run.name.endswith("-mine")
    lines = (run / "records.jsonl").read_text().splitlines(keepends=True)
    records = [json.loads(line) for line in lines]
    assert [record["place"]["study"] for record in records] == ["mine"] * 4
    assert {group for record in records for group in record["place"]["groups"]} == {"fixed", "adaptive"}
    (run / "records.jsonl").write_text("".join(lines[:3]))
    _, out, _ = study("plan")
    assert f"4 trials, 3 of them in {run.name}" in out
    assert "(1 known)" in out
    code, out, _ = study("run", "--resume", "--quiet")
    assert code == 0
    assert "4 ok" in out
    assert len((run / "records.jsonl").read_text().splitlines()) == 4
    assert len(list((tmp_path / "results").iterdir())) == 1


def test_results_are_verified_merged_and_pruned(nodebench, study, tmp_path):
    study("run", "--quiet")
    study("run", "--quiet", "--seeds", "3")
    first, second = (run.name for run in sorted((tmp_path / "results").iterdir()))
    assert nodebench("results", "verify")[:2] == (0, "2 runs: nothing wrong\n")
    code, out, _ = nodebench("results", "merge", first, second)
    assert code == 0
    assert out.startswith("6 records, 4 of them in both · results/")
    with (tmp_path / "results" / first / "records.jsonl").open("a") as file:
        file.write("torn")
    code, out, _ = nodebench("results", "verify", first)
    assert code == 1
    assert "line 5 is truncated" in out
    assert "Nothing was removed" in nodebench("results", "prune")[1]
    assert nodebench("results", "prune", "--yes")[0] == 0
    assert nodebench("results", "verify")[0] == 0
    assert "nothing to remove" in nodebench("results", "prune")[1]


def test_an_option_given_twice_is_an_axis(nodebench):
    arguments = ["--set", "solves=1", "--set", "solves=2", "--set", "x0=2", "--solver", "euler", "--threads", "1"]
    code, out, _ = nodebench("run", "--task", "toy/exponential", "--preset", "smoke", *arguments, "--quiet")
    assert code == 0
    assert "2 ok" in out
    assert "solves" in out
    assert "x0=2.0" in out


@pytest.mark.parametrize("verb", ["plan", "run", "show"])
def test_a_study_of_a_billion_seeds_is_refused_at_once(study, nodebench, tmp_path, verb):
    (tmp_path / "huge.toml").write_text('seeds = 1_000_000_000\n[groups.one]\ntask = "toy/spiral"\n')
    code, _, err = nodebench("study", verb, "huge.toml")
    assert code == 2
    assert "a study has at most 1,000,000 trials" in err
    if verb != "show":
        assert study(verb, "--seeds", "1000000000")[0] == 2


def test_a_long_axis_is_shown_by_its_ends(nodebench, tmp_path):
    (tmp_path / "long.toml").write_text('seeds = 1000\n[groups.one]\ntask = "toy/spiral"\n')
    _, out, _ = nodebench("study", "show", "long.toml")
    assert "19, … 999 (1,000 values)" in " ".join(out.split())


def test_many_trials_start_only_with_yes(study, nodebench, tmp_path, monkeypatch):
    assert confirm.MANY == 100_000
    monkeypatch.setattr(confirm, "MANY", 100)
    code, _, err = study("run", "--quiet", "--seeds", "60")
    assert code == 2
    assert "this is 120 trials; start it with --yes" in err
    assert not list((tmp_path / "results").glob("*"))
    code, _, err = nodebench("run", "--task", "toy-exponential", "--seeds", "1000001")
    assert (code, "at most 1,000,000 trials" in err) == (2, True)


def test_many_hours_of_work_start_only_with_yes(study, tmp_path):
    study("run", "--quiet", "--seeds", "1", "--threads", "1")
    (path,) = (tmp_path / "results").glob("*/records.jsonl")
    slow = [Record.parse(line).model_copy(update={"duration_seconds": 50_000.0}) for line in path.open("rb")]
    path.write_text("".join(f"{record.line()}\n" for record in slow))
    code, _, err = study("run", "--quiet", "--seeds", "1", "--threads", "1", "--jobs", "1")
    assert code == 2
    assert "of work; start it with --yes" in err
    assert study("run", "--quiet", "--seeds", "1", "--threads", "1", "--yes")[0] == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["show", "x" * 5000],
        ["show", "--results", "x" * 5000],
        ["results", "list", "--results", "x/" * 5000],
        ["claims", "check", "--results", "x" * 300],
        ["report", "--results", "x" * 5000],
        ["study", "plan", "x" * 5000 + ".toml"],
        ["show", "nul\0"],
        ["results", "list", "--results", "/proc"],
        ["claims", "check", "--results", "/proc"],
        ["results", "list", "--results", "/dev/null"],
    ],
    ids=lambda arguments: " ".join(arguments)[:30],
)
def test_paths_that_no_run_can_have_are_refused_in_one_line(nodebench, arguments):
    code, out, err = nodebench(*arguments)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert len(err) < 2500
