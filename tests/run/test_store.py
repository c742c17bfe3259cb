import fcntl
import gc
import json
import os
from pathlib import Path

import pytest
from evidence import evidence

from nodebench.errors import BadInput
from nodebench.spec import DataSource, Grid, Limits, Record, Status, Study, Trial
from nodebench.spec.bounded import LINE
from nodebench.store.run_folder import (
    RECORDS,
    RunFolder,
    kept_records,
    list_runs,
    replace_file,
    runs_below,
)

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
    return RunFolder.create(tmp_path, STUDY, {"cpu": "test"})


def test_a_run_is_a_directory_named_after_time_and_task(run):
    assert run.folder.name.endswith("-toy-spiral")
    assert run.environment()["cpu"] == "test"
    assert run.study() == STUDY


def test_two_runs_of_one_second_get_two_directories(tmp_path):
    folders = {RunFolder.create(tmp_path, STUDY, {}).folder for _ in range(3)}
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
        with pytest.raises(BadInput, match="is being written by"), RunFolder(run.folder).writing():
            pass
        with (run.folder / "lock").open() as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with RunFolder(run.folder).writing():
        pass


def test_a_trial_that_ran_again_has_one_record(run):
    run.append(record(0).model_copy(update={"status": Status.INTERRUPTED}))
    run.append(record(1))
    run.append(record(0))
    assert [(r.trial.seed, r.status) for r in run.records()] == [(0, Status.OK), (1, Status.OK)]


BAD_LINES = {
    "no JSON": b"nonsense\n",
    "no UTF-8": b"\xff\xfe\x00\n",
    "nested deep": b"[" * 100_000 + b"\n",
    "integer of 5,000 digits": b'{"schema_version":1,"id":' + b"9" * 5000 + b"}\n",
    "lone surrogate": b'{"schema_version":1,"id":"\\ud800"}\n',
    "longer than a record may be": b'"' + b"a" * (LINE + 10) + b'"\n',
    "empty": b"\n",
}


@pytest.mark.parametrize("line", BAD_LINES.values(), ids=BAD_LINES)
def test_a_bad_line_in_the_middle_is_named_and_hides_no_other(run, line, caplog):
    run.append(record(0))
    with (run.folder / "records.jsonl").open("ab") as file:
        file.write(line)
    run.append(record(1))
    assert [r.trial.seed for r in run.records()] == [0, 1]
    (warning,) = caplog.messages
    assert "1 of 3 records left out: line 2: " in warning
    assert "\n" not in warning
    assert len(warning) < 1000


def test_only_a_newline_ends_a_line(run, caplog):
    """A lone carriage return inside a record once hid that record and all after it."""
    for seed in range(3):
        run.append(record(seed))
    path = run.folder / "records.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"status"', b'\r"status"', 1))
    assert [r.trial.seed for r in run.records()] == [1, 2]
    assert "1 of 3 records left out: line 1: " in caplog.text


def test_a_record_of_a_newer_schema_is_refused_by_name(run):
    run.append(record(0).model_copy(update={"schema_version": 7}))
    with pytest.raises(BadInput, match="line 1: a record of schema 7"):
        run.records()


@pytest.mark.parametrize("name", ["records.jsonl", "study.toml", "environment.json"])
def test_a_pipe_in_the_place_of_a_file_is_refused_without_waiting(run, name, caplog):
    (run.folder / name).unlink(missing_ok=True)
    os.mkfifo(run.folder / name)
    if name == "environment.json":
        assert run.environment() == {}
        assert "not a regular file" in caplog.text
        return
    with pytest.raises(BadInput, match="not a regular file"):
        _ = run.records() if name == "records.jsonl" else run.study()


@pytest.mark.parametrize(
    "content",
    [
        b"[]",
        b'"text"',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"cpu": []}',
        b'{"packages": "none"}',
        b'{"a":' * 40 + b"1" + b"}" * 40,
    ],
    ids=["list", "text", "no UTF-8", "nested deep", "a list for a text", "a text for a table", "nested too deep"],
)
def test_a_damaged_environment_is_named_and_taken_as_unknown(run, content, caplog):
    (run.folder / "environment.json").write_bytes(content)
    assert run.environment() == {}
    assert str(run.folder / "environment.json") in caplog.text
    assert RunFolder.open(run.folder.parent, None).folder == run.folder


@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe", b"a = " + b"[" * 100_000, b"a." * 100_000 + b"a = 1", b"a = " + b"9" * 5000, b"name = 3", b""],
    ids=["no UTF-8", "nested deep", "deep key", "integer of 5,000 digits", "a number for a name", "empty"],
)
def test_a_damaged_study_is_refused_by_its_path_in_one_line(run, content):
    (run.folder / "study.toml").write_bytes(content)
    with pytest.raises(BadInput) as refused:
        run.study()
    assert str(refused.value).startswith(str(run.folder / "study.toml"))
    assert "\n" not in str(refused.value)


def test_one_bad_run_hides_no_other(run, caplog):
    run.append(record(0))
    other = RunFolder.create(run.folder.parent, STUDY, {})
    other.append(record(1))
    (other.folder / "records.jsonl").unlink()
    (other.folder / "records.jsonl").mkdir()
    assert [r.trial.seed for r in kept_records(run.folder.parent)] == [0]
    assert str(other.folder / "records.jsonl") in caplog.text


def test_the_latest_run_is_the_one_that_was_created_last(tmp_path):
    """Names decide nothing: of runs of one second ``-10`` is the later one, and a task's name says no time."""
    runs = [RunFolder.create(tmp_path, STUDY, {}) for _ in range(11)]
    renamed = runs[-1].folder.rename(tmp_path / "2020-01-01T00-00-00-a")
    assert RunFolder.open(tmp_path, None).folder == renamed
    assert [run.folder for run in list_runs(tmp_path)] == [*(run.folder for run in runs[:-1]), renamed]


def test_runs_of_older_versions_are_ordered_by_their_records_or_names(tmp_path):
    """In autumn the clock turns back: the name of a later run may be the earlier one."""
    started = {
        "2026-10-25T02-50-00-first": "2026-10-25T00:50:00+00:00",
        "2026-10-25T02-10-00-second": "2026-10-25T01:10:00+00:00",
    }
    for name, time in started.items():
        run = RunFolder.create(tmp_path, STUDY, {})
        run.append(record(0).model_copy(update={"started": time}))
        (run.folder / "environment.json").write_text("{}")
        run.folder.rename(tmp_path / name)
    for name in ("2026-10-01T00-00-00-toy-9", "2026-10-01T00-00-00-toy-10"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "study.toml").write_text("")
    assert [run.folder.name for run in list_runs(tmp_path)] == [
        "2026-10-01T00-00-00-toy-9",
        "2026-10-01T00-00-00-toy-10",
        *started,
    ]


def victim(tmp_path) -> Path:
    path = tmp_path / "victim.txt"
    path.write_text("precious")
    return path


@pytest.mark.parametrize("name", ["lock", "records.jsonl", "records.jsonl.part", "arrays"])
def test_nothing_is_written_through_a_symbolic_link(tmp_path, name):
    run = RunFolder.create(tmp_path / "results", STUDY, {})
    (run.folder / name).symlink_to(target := victim(tmp_path))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(BadInput, match=f"{name} is a symbolic link"), run.writing():  # noqa: PT012
        run.append(record(0))
        replace_file(run.folder / RECORDS, [])
    assert target.read_text() == "precious"
    assert sorted(tmp_path.iterdir()) == before


def test_a_lock_that_is_a_pipe_ends_at_once(run):
    os.mkfifo(run.folder / "lock")
    with pytest.raises(BadInput, match="not a regular file"), run.writing():
        pass


def test_a_run_is_named_by_one_file_name_whatever_its_study_is_called(tmp_path):
    for name in ("a/b", "研究", "$x$ [b]", "n" * 200):
        folder = RunFolder.create(tmp_path / "results", STUDY.model_copy(update={"name": name}), {}).folder
        assert folder.parent == tmp_path / "results"
        assert "/" not in folder.name.replace("\\", "/")


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "a\x1b[31m", "\u202ex", " a", "a\nb", "x" * 201, "a//b", "."])
def test_a_run_whose_study_is_no_name_is_refused(run, name):
    text = (run.folder / "study.toml").read_text().replace('name = ""', f"name = {json.dumps(name)}")
    (run.folder / "study.toml").write_text(text)
    with pytest.raises(BadInput, match="cannot be read"):
        run.study()


def test_a_run_behind_a_symbolic_link_is_read_by_every_listing_and_written_by_none(tmp_path):
    run = RunFolder.create(tmp_path / "archive", STUDY, {})
    run.append(record(0))
    results = tmp_path / "results"
    results.mkdir()
    (results / "linked").symlink_to(run.folder)
    for listing in (list_runs, runs_below):
        assert [one.folder for one in listing(results)] == [results / "linked"]
    assert len(kept_records(results)) == 1
    assert RunFolder.open(results, "linked").records() == run.records()
    with pytest.raises(BadInput, match=f"symbolic link.*{run.folder}"), list_runs(results)[0].writing():
        pass


def test_a_run_that_is_there_as_a_link_too_counts_once(tmp_path):
    run = RunFolder.create(tmp_path, STUDY, {})
    run.append(record(0))
    (tmp_path / "0-latest").symlink_to(run.folder)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "up").symlink_to(tmp_path)
    assert [one.folder for one in list_runs(tmp_path)] == [run.folder]
    assert [one.folder for one in runs_below(tmp_path)] == [run.folder]


def test_a_folder_with_an_invalid_name_has_no_runs():
    for name in ("a\0b", "\udc80"):
        with pytest.raises(BadInput, match="no record in"):
            runs_below(Path(name))


def test_an_unknown_run_is_refused_with_the_latest_ones(run, tmp_path):
    with pytest.raises(BadInput, match=f"The latest there: {run.folder.name}"):
        RunFolder.open(tmp_path, "nope")


def test_an_empty_results_folder_says_what_to_do(tmp_path):
    with pytest.raises(BadInput, match="make one with 'nodebench run'"):
        RunFolder.open(tmp_path, None)


def test_results_that_cannot_be_written_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot write there"):
        RunFolder.create(tmp_path / "file", STUDY, {})


def test_the_records_of_a_run_share_what_they_have_in_common(tmp_path):
    run = RunFolder.create(tmp_path / "results", Study(groups={"typed": Grid(task="toy/spiral")}), {})
    written = [evidence(seed, options={"noise": 0.5}, costs={"step_seconds": 1.0 + seed}) for seed in range(3)]
    written.append(evidence(3, options={"noise": 0.1}))
    for one in written:
        run.append(one)
    first, second, third, other = found = run.records()
    assert found == written
    assert first.environment is second.environment is third.environment is other.environment
    assert first.trial.model_fields_set is second.trial.model_fields_set
    assert first.options is second.options
    assert other.options == {"noise": 0.1}
    assert gc.isenabled()
