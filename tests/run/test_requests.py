"""What is measured of a trial: in studies, in plans, from the command line and on resume."""

import json

import pytest

from nodebench.errors import BadInput
from nodebench.running.baseline import baseline_of
from nodebench.running.plan import plan
from nodebench.running.sweep import missing
from nodebench.spec import Grid, Interleaved, Pass, Preset, Record, Request, Status, Study, Trial, load_study
from nodebench.spec.request import attempts
from nodebench.store.run_folder import RunFolder

RUN = ("run", "--task", "test/faults", "--solver", "rk4", "--preset", "smoke", "--threads", "1", "--quiet")


def grid(**changes) -> Grid:
    return Grid(**({"task": "toy/spiral", "preset": "smoke", "threads": 1, "gradient": "adjoint"} | changes))


def record(trial: Trial, **changes) -> Record:
    return Record(id=trial.id, trial=trial, status=Status.OK, started="", duration_seconds=1.0, **changes)


def test_a_trial_that_is_planned_has_the_passes_of_its_study_and_the_baseline_of_its_group(monkeypatch):
    monkeypatch.delenv("NODEBENCH_ATTEMPTS")
    study = Study(
        passes=[Pass.NUMERICS, Pass.TRAINING], timing=False, groups={"a": grid(against={"gradient": "direct"})}
    )
    (one,) = plan(study).planned
    baseline = baseline_of(one.trial, {"gradient": "direct"})
    assert one.request == Request(passes=("training", "numerics"), against=baseline, attempts=1)
    assert plan(study.model_copy(update={"timing": True})).planned[0].request.attempts == 3


def test_a_trial_whose_times_are_not_read_is_planned_to_run_once(monkeypatch):
    monkeypatch.delenv("NODEBENCH_ATTEMPTS")
    (one,) = plan(Study(groups={"a": grid(against={"gradient": "direct"})})).planned
    assert (one.request.attempts, one.once().request.attempts) == (3, 1)
    assert one.once().request.model_copy(update={"attempts": 3}) == one.request
    assert one.once().trial == one.trial


def test_what_is_measured_is_no_part_of_the_id():
    bare, full = grid(), grid(against={"gradient": "direct"})
    assert plan(Study(groups={"a": bare})).trials == plan(Study(passes=["training"], groups={"a": full})).trials


def test_two_groups_may_not_compare_a_trial_with_different_baselines():
    study = Study(groups={"a": grid(against={"gradient": "direct"}), "b": grid(against={"rtol": 1e-7})})
    with pytest.raises(BadInput, match="groups a, b: they have trial"):
        plan(study)


def test_a_record_without_a_pass_or_baseline_that_is_asked_for_is_missing():
    study = Study(groups={"a": grid(against={"gradient": "direct"})})
    (one,) = plan(study).planned
    ratios = Interleaved(baseline=one.request.against, blocks=10, steps=1, ratios={"step_seconds": 2.0})
    other = ratios.model_copy(update={"baseline": one.trial})
    reason = {"interleaved": "the interleaved pass failed"}
    for there, lacks in [
        (record(one.trial), True),
        (record(one.trial, interleaved=other), True),
        (record(one.trial, interleaved=ratios, passes=["training"]), True),
        (record(one.trial, interleaved=ratios), False),
        (record(one.trial, reasons=reason), False),
    ]:
        assert missing([one], [there]) == ([one] if lacks else [])


def test_a_failed_record_is_missing_only_where_failed_trials_are_tried_again():
    (one,) = plan(Study(groups={"a": grid()})).planned
    failed = record(one.trial, passes=["training"]).model_copy(update={"status": Status.ERROR})
    assert missing([one], [failed]) == []
    assert missing([one], [failed], retry_failed=True) == [one]


def test_passes_that_are_typed_are_run_and_others_have_their_reason(nodebench, tmp_path):
    assert nodebench(*RUN, "--passes", "training")[0] == 0
    (first,) = RunFolder.open(tmp_path / "results", None).records()
    assert first.passes == ("training",)
    assert first.costs["tensor_peak_bytes"] is None
    assert first.reasons["tensor_peak_bytes"].code == "not-requested"
    assert first.history[-1]["final"] == first.metrics["final"]

    assert nodebench("run", "--resume", "--quiet")[0] == 0
    assert len((RunFolder.open(tmp_path / "results", None).folder / "records.jsonl").read_text().splitlines()) == 1

    assert nodebench("run", "--resume", "--quiet", "--passes", "training,memory")[0] == 0
    lines = (RunFolder.open(tmp_path / "results", None).folder / "records.jsonl").read_text().splitlines()
    assert [json.loads(line)["passes"] for line in lines] == [["training"], ["training", "memory"]]
    (second,) = RunFolder.open(tmp_path / "results", None).records()
    assert second.costs["tensor_peak_bytes"] > 0
    assert second.metrics == first.metrics


@pytest.mark.parametrize(
    ("typed", "message"),
    [("memory", "'training' is required"), ("trainig", "training"), ("training,,memory", "empty value")],
)
def test_passes_that_cannot_be_are_refused_in_one_line(nodebench, typed, message):
    code, _, err = nodebench(*RUN, "--passes", typed)
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('passes = ["memory"]', "passes: 'training' is required"),
        ('passes = ["trainings"]', "passes"),
    ],
)
def test_a_study_with_impossible_passes_is_refused(tmp_path, line, message):
    path = tmp_path / "mine.toml"
    path.write_text(f'{line}\n[groups.a]\ntask = "toy/spiral"\n')
    with pytest.raises(BadInput, match=message):
        load_study(str(path), Preset.SMOKE)


@pytest.mark.parametrize(("axis", "message"), [("seed = 1", "cannot differ in 'seed'"), ("devise = 1", "'devise'")])
def test_a_study_whose_baseline_differs_in_what_it_may_not_is_refused(tmp_path, axis, message):
    path = tmp_path / "mine.toml"
    path.write_text(f'[groups.a]\ntask = "toy/spiral"\nagainst = {{ {axis} }}\n')
    with pytest.raises(BadInput, match=message):
        load_study(str(path), Preset.SMOKE)


@pytest.mark.parametrize("text", ["0", "-1", "three"])
def test_a_number_of_attempts_that_is_none_is_refused(monkeypatch, text):
    monkeypatch.setenv("NODEBENCH_ATTEMPTS", text)
    with pytest.raises(BadInput, match=f"NODEBENCH_ATTEMPTS={text}: must be a whole number, at least 1"):
        attempts()


def test_a_run_whose_seconds_do_not_matter_runs_each_trial_once(nodebench, monkeypatch, tmp_path):
    monkeypatch.delenv("NODEBENCH_ATTEMPTS")
    code, _, err = nodebench(*RUN, "--no-timing", "--passes", "training", "--set", "fault=drift")
    assert code == 0, err
    (run,) = (RunFolder(folder) for folder in (tmp_path / "results").iterdir())
    assert run.study().timing is False
    (record,) = run.records()
    assert (record.drifted, record.place.attempts) == (True, 1)
    code, _, err = nodebench("run", "--resume", "--no-timing")
    assert (code, "leave out --no-timing" in err) == (2, True)
