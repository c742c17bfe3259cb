import json
import math
import subprocess
import sys
import tomllib

import pytest
from evidence import evidence

from nodebench.spec import Preset, load_study

OPTIONS = {"training": "windows", "missing": 0.0, "irregular": False, "noise": 0.0, "loss_scale": 1.0}


@pytest.fixture
def results(tmp_path):
    """Records that refute one claim, support another, and leave a third without a verdict."""
    folder = tmp_path / "results" / "kept" / "a-run"
    folder.mkdir(parents=True)
    known = {"rtol": 1e-7, "atol": 1e-9, "study": "toys", "options": OPTIONS}
    records = [
        evidence(seed, task=task, metrics={"trajectory_error": error * (1 + seed / 50), "growth": 2.0}, **known)
        for task, error, seeds in (("toy/spiral", 0.02, 5), ("toy/nonlinear", 0.02, 5), ("toy/random", 0.02, 3))
        for seed in range(seeds)
    ]
    (folder / "records.jsonl").write_text("".join(record.line() + "\n" for record in records))
    return tmp_path / "results"


def test_check_prints_a_verdict_for_each_claim_as_json(nodebench, results):
    code, out, _ = nodebench("claims", "check", "--json")
    verdicts = {(v["id"], v["scope"]): v for v in json.loads(out)}
    assert code == 0
    spiral = verdicts["seed-fits-spiral", "default"]
    assert (spiral["verdict"], spiral["n"], len(spiral["records"])) == ("supported", 5, 5)
    assert spiral["estimate"] == pytest.approx(0.0208, rel=1e-3)
    assert spiral["low"] < spiral["estimate"] < spiral["high"] < 0.1
    assert verdicts["seed-nonlinear-hard", "default"]["verdict"] == "refuted"
    assert verdicts["seed-fits-random", "default"]["verdict"] == "inconclusive"
    untested = verdicts["mnist-parity", "paper"]
    assert (untested["verdict"], untested["estimate"], untested["n"]) == ("not tested", None, 0)
    assert not any(math.isinf(v["low"] or 0) for v in verdicts.values())


def test_check_fails_on_the_words_that_it_is_told_to(nodebench, results):
    assert nodebench("claims", "check", "--fail-on", "refuted")[0] == 1
    (results / "kept" / "a-run" / "records.jsonl").write_text(evidence().line() + "\n")
    assert nodebench("claims", "check", "--fail-on", "refuted,supported")[0] == 0
    code, _, err = nodebench("claims", "check", "--fail-on", "refused")
    assert (code, "did you mean refuted?" in err) == (2, True)


def test_list_and_show_need_no_records(nodebench):
    assert "memory-constant" in nodebench("claims", "list")[1]
    code, out, _ = nodebench("claims", "show", "anode-memory-gradient")
    assert code == 0
    for word in ("not tested", "Gholami", "control:", "trap:", "failures:", "nodebench study run gradients"):
        assert word in out


def test_an_unknown_claim_is_refused_with_the_nearest(nodebench):
    for command in ("show", "plan"):
        code, _, err = nodebench("claims", command, "mnist-party")
        assert (code, err.count("\n")) == (2, 1)
        assert "did you mean mnist-parity?" in err


def test_plan_prints_a_study_of_what_is_missing_alone(nodebench, results, tmp_path):
    code, out, _ = nodebench("claims", "plan", "seed-fits-random")
    assert code == 0
    (tmp_path / "missing.toml").write_text(out)
    study = load_study(str(tmp_path / "missing.toml"), Preset.QUICK)
    assert {name: grid.seed for name, grid in study.groups.items()} == {"random": [3, 4]}
    assert "seed-fits-random (default): inconclusive" in out
    assert "2 trials" in out
    assert "Nothing needs to be run" in nodebench("claims", "plan", "seed-fits-spiral")[1]


def test_plan_keeps_to_the_arms_of_the_claim(nodebench):
    _, out, _ = nodebench("claims", "plan", "anode-memory-gradient")
    groups = tomllib.loads(out)["groups"]
    assert list(groups) == ["contracting"]
    assert groups["contracting"]["overrides"]["rate"] == [1.0, 10.0]


def test_plan_asks_for_no_value_that_the_claim_does_not_compare(nodebench):
    """The study also steps a batch by its worst sample; this claim compares two other ways."""
    _, out, _ = nodebench("claims", "plan", "torchode-batching")
    assert tomllib.loads(out)["groups"]["stiffness"]["batching"] == ["joint", "each"]


def test_plan_at_paper_scale_asks_for_the_data(nodebench):
    assert "--data DIR or --download" in nodebench("claims", "plan", "mnist-parity")[1]


def test_check_needs_no_torch(results):
    script = (
        "import sys; sys.argv = ['nodebench', 'claims', 'check']\n"
        "from nodebench.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], cwd=results.parent, check=True, capture_output=True)
