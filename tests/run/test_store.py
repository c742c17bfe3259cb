import fcntl
import json
import os
from pathlib import Path

import pytest

from nodebench.errors import BadInput
from nodebench.run.store import Run, list_runs
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


def test_a_record_is_synced_to_disk_before_the_next_trial_starts(run, monkeypatch):
    """What was in the file when the system was asked to write it to disk is what a power failure leaves."""
    path, synced, sync = run.folder / "records.jsonl", [], os.fsync

    def observe(descriptor: int) -> None:
        sync(descriptor)
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            synced.append(path.read_bytes())

    monkeypatch.setattr(os, "fsync", observe)
    for seed in range(2):
        run.append(record(seed))
        assert synced[-1] == path.read_bytes()
        assert len(synced[-1].splitlines()) == seed + 1


def test_a_run_has_one_writer_at_a_time(run):
    with run.writing():
        with pytest.raises(BadInput, match="is being written by"), Run(run.folder).writing():
            pass
        with (run.folder / "lock").open() as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with Run(run.folder).writing():
        pass


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
