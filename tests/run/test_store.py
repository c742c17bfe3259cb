import json
import os
from pathlib import Path

import pytest

from nodebench.errors import BadInput
from nodebench.run.store import Run, kept_records, list_runs, runs_below
from nodebench.spec import DataSource, Grid, Limits, Record, Status, Study, Trial

STUDY = Study(
    groups={"typed": Grid(task="toy/spiral", rtol=[1e-3], seed=[0, 1], overrides={"epochs": "2"}, threads=2)},
    limits=Limits(timeout=60),
    data=DataSource(folder=Path("/data")),
)


def record(seed: int) -> Record:
    trial = Trial(task="toy/spiral", model="small", seed=seed)
    return Record(id=trial.id, trial=trial, status=Status.OK, started="2026-01-01", duration_seconds=1.0)


@pytest.fixture
def run(tmp_path):
    return Run.create(tmp_path, STUDY, {"cpu": "test"})


def test_a_run_is_a_directory_named_after_time_and_task(run):
    assert run.folder.name.endswith("-toy-spiral")
    assert json.loads((run.folder / "environment.json").read_text()) == {"cpu": "test"}
    assert run.study() == STUDY


def test_two_runs_of_one_second_get_two_directories(tmp_path):
    folders = {Run.create(tmp_path, STUDY, {}).folder for _ in range(3)}
    assert len(folders) == 3


def test_records_come_back_in_order(run):
    for seed in range(3):
        run.append(record(seed))
    assert [r.trial.seed for r in run.records()] == [0, 1, 2]


@pytest.mark.parametrize("torn", [b'{"schema_version": 1, "id"', b"\xff\xfe", b"{}"])
def test_a_torn_last_line_is_dropped_and_written_over(run, torn):
    run.append(record(0))
    with (run.folder / "records.jsonl").open("ab") as file:
        file.write(torn)
    assert [r.trial.seed for r in run.records()] == [0]
    run.append(record(1))
    assert [r.trial.seed for r in run.records()] == [0, 1]


def test_a_trial_that_ran_again_has_one_record(run):
    run.append(record(0).model_copy(update={"status": Status.INTERRUPTED}))
    run.append(record(1))
    run.append(record(0))
    assert [(r.trial.seed, r.status) for r in run.records()] == [(0, Status.OK), (1, Status.OK)]


def test_a_broken_line_in_the_middle_is_refused_by_its_number(run):
    run.append(record(0))
    with (run.folder / "records.jsonl").open("ab") as file:
        file.write(b"nonsense\n")
    run.append(record(1))
    with pytest.raises(BadInput, match="line 2"):
        run.records()


def test_a_newer_record_is_refused_by_its_schema(run):
    newer = json.loads(record(0).line()) | {"schema_version": 7}
    (run.folder / "records.jsonl").write_text(json.dumps(newer) + "\n")
    with pytest.raises(BadInput, match="schema 7"):
        run.records()


def test_the_latest_run_is_the_default(tmp_path):
    for name in ("2026-01-01T00-00-00-b", "2026-01-02T00-00-00-a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "study.toml").write_text("")
    assert Run.open(tmp_path, None).folder.name == "2026-01-02T00-00-00-a"
    assert len(list_runs(tmp_path)) == 2


def victim(tmp_path) -> Path:
    path = tmp_path / "victim.txt"
    path.write_text("precious")
    return path


@pytest.mark.parametrize("name", ["lock", "records.jsonl", "records.jsonl.part", "arrays"])
def test_nothing_is_written_through_a_symbolic_link(tmp_path, name):
    run = Run.create(tmp_path / "results", STUDY, {})
    (run.folder / name).symlink_to(target := victim(tmp_path))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(BadInput, match=f"{name} is a symbolic link"), run.writing():  # noqa: PT012
        run.append(record(0))
        run.rewrite([])
    assert target.read_text() == "precious"
    assert sorted(tmp_path.iterdir()) == before


def test_a_lock_that_is_a_pipe_ends_at_once(run):
    os.mkfifo(run.folder / "lock")
    with pytest.raises(BadInput, match="not a regular file"), run.writing():
        pass


def test_a_run_is_named_by_one_file_name_whatever_its_study_is_called(tmp_path):
    for name in ("a/b", "研究", "$x$ [b]", "n" * 200):
        folder = Run.create(tmp_path / "results", STUDY.model_copy(update={"name": name}), {}).folder
        assert folder.parent == tmp_path / "results"
        assert "/" not in folder.name.replace("\\", "/")


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "a\x1b[31m", "\u202ex", " a", "a\nb", "x" * 201, "a//b", "."])
def test_a_run_whose_study_is_no_name_is_refused(run, name):
    text = (run.folder / "study.toml").read_text().replace('name = ""', f"name = {json.dumps(name)}")
    (run.folder / "study.toml").write_text(text)
    with pytest.raises(BadInput, match="cannot be read"):
        run.study()


def test_a_run_behind_a_symbolic_link_is_read_by_every_listing_and_written_by_none(tmp_path):
    run = Run.create(tmp_path / "archive", STUDY, {})
    run.append(record(0))
    results = tmp_path / "results"
    results.mkdir()
    (results / "linked").symlink_to(run.folder)
    for listing in (list_runs, runs_below):
        assert [one.folder for one in listing(results)] == [results / "linked"]
    assert len(kept_records(results)) == 1
    assert Run.open(results, "linked").records() == run.records()
    with pytest.raises(BadInput, match=f"symbolic link.*{run.folder}"), list_runs(results)[0].writing():
        pass


def test_a_run_that_is_there_as_a_link_too_counts_once(tmp_path):
    run = Run.create(tmp_path, STUDY, {})
    run.append(record(0))
    (tmp_path / "0-latest").symlink_to(run.folder)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "up").symlink_to(tmp_path)
    assert [one.folder for one in list_runs(tmp_path)] == [run.folder]
    assert [one.folder for one in runs_below(tmp_path)] == [run.folder]


def test_an_unknown_run_is_refused_with_the_latest_ones(run, tmp_path):
    with pytest.raises(BadInput, match=f"The latest there: {run.folder.name}"):
        Run.open(tmp_path, "nope")


def test_an_empty_results_folder_says_what_to_do(tmp_path):
    with pytest.raises(BadInput, match="make one with 'nodebench run'"):
        Run.open(tmp_path, None)


def test_results_that_cannot_be_written_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot write there"):
        Run.create(tmp_path / "file", STUDY, {})
