import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from evidence import evidence

from nodebench.claims.verdict_file import VerdictFile

ROOT = Path(__file__).parents[2]


@pytest.fixture
def results(tmp_path):
    """Exact records that support one claim, and a network that fits but too seldom for a verdict."""
    folder = tmp_path / "results" / "kept" / "a-run"
    folder.mkdir(parents=True)
    records = [
        evidence(
            seed,
            task="toy/spiral",
            solver="euler",
            rtol=None,
            atol=None,
            step_size=step,
            gradient="direct",
            dtype="float64",
            overrides={"epochs": 1, "steps_per_epoch": 5},
            options=SPIRAL,
            costs={"residual_error": 0.0},
        )
        for step in (0.1, 0.05)
        for seed in range(3)
    ]
    (folder / "records.jsonl").write_text("".join(record.line() + "\n" for record in records))
    return tmp_path / "results"


# All options of toy/spiral at preset quick, with what study flows overrides.
SPIRAL = {
    "epochs": 1,
    "steps_per_epoch": 5,
    "learning_rate": 0.005,
    "schedule": "linear",
    "loss_scale": 1.0,
    "span": 25.0,
    "points": 200,
    "noise": 0.0,
    "missing": 0.0,
    "irregular": False,
    "training": "windows",
    "batch_size": 20,
    "window": 10,
    "window_times": "own",
}


def test_check_prints_a_verdict_for_each_claim_as_json(nodebench, results):
    code, out, _ = nodebench("claims", "check", "--json")
    verdicts = {(v["id"], v["scope"]): v for v in json.loads(out)}
    assert code == 0
    euler = verdicts["resnet-is-euler", "default"]
    assert (euler["verdict"], euler["exact"], euler["line"]) == ("supported", True, "supported in both conditions")
    assert [c["effects"][0]["n"] for c in euler["conditions"]] == [3, 3]
    untested = verdicts["mnist-parity", "paper"]
    assert (untested["verdict"], untested["why"]["code"]) == ("not tested", "no-records")
    ends = [e["low"] for v in verdicts.values() for c in v["conditions"] for e in c["effects"]]
    assert not any(math.isinf(end or 0) for end in ends)


def test_a_report_has_the_same_verdicts_in_a_file_of_the_documented_schema(nodebench, results):
    assert nodebench("report", "--format", "csv", "--out", "report")[0] == 0
    file = json.loads(Path("report/verdicts.json").read_text())
    assert file["verdicts"] == json.loads(nodebench("claims", "check", "--json")[1])
    schema = json.loads((ROOT / "docs/reference/verdicts.schema.json").read_text())
    assert schema == VerdictFile.model_json_schema(mode="serialization")
    assert len(VerdictFile.model_validate(file).verdicts) == len(file["verdicts"])


def test_published_records_count_only_where_there_are_no_others(nodebench, results):
    (results / "kept").rename(results / "published")
    alone = json.loads(nodebench("claims", "check", "--json")[1])
    mine = results / "mine"
    mine.mkdir()
    (mine / "records.jsonl").write_text(evidence(7, task="toy/random").line() + "\n")
    beside = json.loads(nodebench("claims", "check", "--json")[1])
    verdicts = [
        next(one["verdict"] for one in found if (one["id"], one["scope"]) == ("resnet-is-euler", "default"))
        for found in (alone, beside)
    ]
    assert verdicts == ["supported", "not tested"]
    told = "results/published is left out; judge it separately with --results results/published"
    assert told in nodebench("claims", "check")[1]
    assert nodebench("claims", "show", "seed-euler-resnet")[2].endswith("is now named 'resnet-is-euler'\n")
    assert "did you mean the claim resnet-is-euler" in nodebench("reproduce", "seed-euler-resnet")[2]
    code, out, _ = nodebench("claims", "show", "resnet-is-euler")
    assert (code, "not tested" in out, told in out) == (0, True, True)
    code, out, _ = nodebench("claims", "show", "resnet-is-euler", "--results", "results/published")
    assert ("supported in both conditions" in out, "left out; judge it separately with --results" in out) == (
        True,
        False,
    )
    assert "has no record in results yet" in nodebench("reproduce", "resnet-is-euler")[2]
    assert "resnet-is-euler" in nodebench("claims", "settle", "resnet-is-euler", "--dry-run")[1]


def test_check_fails_on_the_verdicts_it_is_given(nodebench, results):
    assert nodebench("claims", "check", "--fail-on", "supported")[0] == 1
    assert nodebench("claims", "check", "--fail-on", "refuted,depends")[0] == 0
    code, _, err = nodebench("claims", "check", "--fail-on", "refused")
    assert (code, "did you mean refuted?" in err) == (2, True)


def test_list_and_show_need_no_records(nodebench):
    assert "memory-constant" in nodebench("claims", "list")[1]
    code, out, _ = nodebench("claims", "show", "anode-memory-gradient")
    assert code == 0
    for word in (
        "not tested",
        "Gholami",
        "home condition:",
        "control:",
        "other explanation:",
        "nodebench study run gradients",
    ):
        assert word in out


@pytest.mark.parametrize("command", [("show",), ("settle", "--dry-run")])
def test_an_unknown_claim_is_refused_with_the_nearest(nodebench, command):
    code, _, err = nodebench("claims", command[0], "mnist-party", *command[1:])
    assert (code, err.count("\n")) == (2, 1)
    assert "did you mean mnist-parity?" in err


def test_the_declarations_are_frozen(nodebench):
    assert nodebench("claims", "freeze", "--check") == (0, "", "")


def test_a_dry_run_lists_what_would_decide_and_measures_nothing(nodebench, results):
    code, out, _ = nodebench("claims", "settle", "fits-spiral", "memory-constant", "--dry-run")
    assert code == 0
    assert "fits-spiral" in out
    assert "memory-constant" in out
    assert "conditions could be decided" in out
    assert sorted(path.name for path in results.iterdir()) == ["kept"]


def test_settling_measures_what_is_missing_and_decides(nodebench, results):
    """An exact claim of two tiny trials a condition: one of its conditions has no record yet."""
    path = results / "kept" / "a-run" / "records.jsonl"
    lines = [line for line in path.read_text().splitlines() if json.loads(line)["trial"]["step_size"] == 0.1]
    path.write_text("\n".join(lines) + "\n")
    code, out, err = nodebench("claims", "settle", "resnet-is-euler", "--hours", "0.2", "--jobs", "1", "--quiet")
    assert code == 0, err
    assert "decided: resnet-is-euler (default): supported in both conditions" in out
    made = [run for run in results.iterdir() if run.name != "kept"]
    records = [json.loads(line) for run in made for line in (run / "records.jsonl").read_text().splitlines()]
    assert {(record["trial"]["step_size"], record["trial"]["seed"]) for record in records} == {(0.05, 0), (0.05, 1)}
    code, out, _ = nodebench("claims", "settle", "resnet-is-euler", "--hours", "0.2", "--quiet")
    assert "0 more claims are decided" in out


@pytest.mark.parametrize("hours", ["0", "-1", "nan", "inf"])
def test_settling_takes_a_positive_number_of_hours(nodebench, results, hours):
    code, _, err = nodebench("claims", "settle", "--hours", hours)
    assert (code, err) == (2, f"nodebench: --hours {hours}: not a positive, finite number\n")


def test_check_needs_no_torch(results):
    script = (
        "import sys; sys.argv = ['nodebench', 'claims', 'check']\n"
        "from nodebench.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], cwd=results.parent, check=True, capture_output=True)
