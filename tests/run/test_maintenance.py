"""Each fault of a store is planted, and found by name; merging and pruning lose and double nothing."""

import json
import re
import signal
import subprocess
import sys

import numpy as np
import pytest

from nodebench.errors import BadInput
from nodebench.spec import Grid, Record, Status, Study, Trial, bounded
from nodebench.spec.record import SCHEMA_VERSION, Place
from nodebench.spec.study import REPRODUCED
from nodebench.spec.trajectories import Trajectories
from nodebench.store.maintenance import ASIDE, merge, prune, repair, verify
from nodebench.store.run_folder import RunFolder, kept_records, list_runs
from nodebench.store.snapshots import save_snapshots

LINE = np.zeros((1, 3, 2))
FILM = {1: Trajectories(np.arange(3.0), LINE, LINE, np.zeros((1, 3)), LINE, (0.0, 1.0), "time", ("x", "y"))}


def record(seed: int, status: Status = Status.OK, started: str = "2026-01-01", seconds: float = 1.0) -> Record:
    trial = Trial(task="toy/spiral", model="small", seed=seed)
    place = Place(groups=("typed",))
    return Record(id=trial.id, trial=trial, status=status, started=started, duration_seconds=seconds, place=place)


def make(results, seeds, **changes) -> RunFolder:
    study = Study(groups={"typed": Grid(task="toy/spiral", seed=list(seeds), **changes)})
    run = RunFolder.create(results, study, {"cpu": "test"})
    for seed in seeds:
        run.append(record(seed), FILM)
    return run


@pytest.fixture
def run(tmp_path):
    return make(tmp_path, range(3))


def lines_of(run):
    return run.folder / "records.jsonl"


def tear(run):
    lines_of(run).write_bytes(lines_of(run).read_bytes()[:-20])


def garble(run):
    lines_of(run).write_text("nonsense\n" + lines_of(run).read_text())


def edit(run):
    text = lines_of(run).read_text()
    lines_of(run).write_text(text.replace('"duration_seconds":1.0', '"duration_seconds":0.5', 1))


def edit_seed(run):
    lines_of(run).write_text(re.sub(r'"seed":0', '"seed":9', lines_of(run).read_text(), count=1))


def double(run):
    text = lines_of(run).read_text()
    lines_of(run).write_text(text + text.splitlines(keepends=True)[0])


def edit_with_a_space(run):
    """The line then has no checksum in its place; it once counted as one of the first schema."""
    text = lines_of(run).read_text()
    lines_of(run).write_text(text.replace('"duration_seconds":1.0', '"duration_seconds":0.5', 1).replace(",", ", "))


def downgrade(run):
    text = lines_of(run).read_text()
    lines_of(run).write_text(
        re.sub(r',"checksum":"\w+"', "", text.replace(f'"schema_version":{SCHEMA_VERSION}', '"schema_version":1'))
    )


def foreign(run):
    other = record(7)
    run.append(other.model_copy(update={"place": Place(groups=("elsewhere",))}))


def newer(run):
    run.append(record(5).model_copy(update={"schema_version": 99}))


FAULTS = [
    (tear, "line 3 is truncated"),
    (garble, "line 1 cannot be read"),
    (edit, "was modified"),
    (edit_with_a_space, "was modified"),
    (downgrade, "was modified"),
    (edit_seed, "belongs to another trial"),
    (double, "occurs 2 times"),
    (foreign, r"group elsewhere is not in the study"),
    (newer, "schema 99"),
]


@pytest.mark.parametrize(("damage", "says"), FAULTS, ids=[damage.__name__ for damage, _ in FAULTS])
def test_a_planted_fault_is_found(run, damage, says):
    assert verify(run) == []
    damage(run)
    assert any(re.search(says, finding) for finding in verify(run)), verify(run)


def test_a_record_of_the_first_schema_has_no_checksum_and_is_no_fault(run):
    old = json.loads(record(5).line()) | {"schema_version": 1}
    del old["checksum"], old["place"]
    with lines_of(run).open("a") as file:
        file.write(json.dumps(old) + "\n")
    assert verify(run) == []
    assert len(run.records()) == 4


def test_a_trial_that_failed_and_ran_again_is_no_double(run):
    run.append(record(4, Status.CRASHED))
    run.append(record(4))
    assert verify(run) == []


def test_merging_has_every_trial_once(tmp_path):
    first, second = make(tmp_path, range(3)), make(tmp_path, range(2, 6))
    merged, doubles = merge(first, second, tmp_path)
    assert sorted(r.trial.seed for r in merged.records()) == [0, 1, 2, 3, 4, 5]
    assert doubles == 1
    assert merged.study().groups["typed"].seed == [0, 1, 2, 3, 4, 5]
    assert verify(merged) == []
    assert all(merged.snapshots(r) for r in merged.records())
    again, doubles = merge(merged, merged, tmp_path)
    assert (len(again.records()), doubles) == (6, 6)
    assert len(lines_of(again).read_text().splitlines()) == 6


def test_merging_prefers_what_ended_well_and_then_what_is_later(tmp_path):
    first, second = make(tmp_path, []), make(tmp_path, [])
    first.append(record(0, Status.OK, "2026-01-01"))
    second.append(record(0, Status.TIMEOUT, "2026-01-02"))
    first.append(record(1, Status.OK, "2026-01-01", seconds=1))
    second.append(record(1, Status.OK, "2026-01-02", seconds=2))
    for one, other in ((first, second), (second, first)):
        merged, _ = merge(one, other, tmp_path)
        assert {r.trial.seed: (r.status, r.duration_seconds) for r in merged.records()} == {
            0: (Status.OK, 1),
            1: (Status.OK, 2),
        }


def test_runs_whose_groups_differ_are_not_merged(tmp_path):
    first, second = make(tmp_path, [0]), make(tmp_path, [1], solver=["rk4"])
    with pytest.raises(BadInput, match="both have a group 'typed' with different settings"):
        merge(first, second, tmp_path)


def test_pruning_removes_what_no_record_needs_and_nothing_else(tmp_path):
    run, empty = make(tmp_path, range(3)), make(tmp_path, [])
    run.append(record(3, Status.INTERRUPTED))
    run.append(record(3), FILM)
    save_snapshots(run.folder / "arrays" / "0123456789ab.npz", FILM)
    before = run.records()
    found = prune(tmp_path, remove=False)
    assert len(found) == 3
    assert empty.folder.is_dir()
    assert len(lines_of(run).read_text().splitlines()) == 5
    assert prune(tmp_path, remove=True) == found
    assert not empty.folder.exists()
    assert run.records() == before
    assert len(lines_of(run).read_text().splitlines()) == 4
    assert len(list((run.folder / "arrays").iterdir())) == 4
    assert verify(run) == []
    assert prune(tmp_path, remove=True) == []


def project(folder):
    """A user's own project, which happens to hold a study."""
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "thesis.py").write_text("years of work")
    (folder / "study.toml").write_text('about = "mine"\n[groups.a]\ntask = "toy/spiral"\n')


def with_notes(folder):
    """A run without a record in which the user keeps notes."""
    make(folder.parent, []).folder.rename(folder)
    (folder / "notes.txt").write_text("mine")
    (folder / "lock").touch()


def with_arrays_elsewhere(folder):
    """A run whose arrays lie behind a symbolic link, among files of the user's."""
    make(folder.parent, [0]).folder.rename(folder)
    elsewhere = folder.parent / "elsewhere"
    (folder / "arrays").rename(elsewhere)
    (folder / "arrays").symlink_to(elsewhere)
    save_snapshots(elsewhere / "0123456789ab.npz", FILM)


def with_strange_arrays(folder):
    """A run with files in ``arrays/`` that are no load_snapshots, by name or by content, and a link."""
    make(folder.parent, [0]).folder.rename(folder)
    (folder / "arrays" / "mine.npz").write_bytes(b"PK")
    (folder / "arrays" / "0123456789ab.npz").write_bytes(b"not a snapshots")
    (folder / "arrays" / "0123456789ac.npz").symlink_to(folder / "study.toml")
    (folder / "lock").touch()


def linked(folder):
    """A symbolic link to a run elsewhere that has superseded lines."""
    run = make(folder.parent.parent / "archive", [0])
    double(run)
    folder.symlink_to(run.folder)


def with_linked_records(folder):
    """A run whose records are a symbolic link, and have a superseded line."""
    run = make(folder.parent, [0])
    double(run)
    run.folder.rename(folder)
    (folder / "records.jsonl").rename(folder.parent / "archive.jsonl")
    (folder / "records.jsonl").symlink_to(folder.parent / "archive.jsonl")


def content(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


FOREIGN = [project, with_notes, with_arrays_elsewhere, with_strange_arrays, linked, with_linked_records]


@pytest.mark.parametrize("plant", FOREIGN, ids=[plant.__name__ for plant in FOREIGN])
def test_pruning_leaves_alone_what_is_not_its_own(tmp_path, plant):
    results = tmp_path / "results"
    results.mkdir()
    plant(results / "a-run")
    before = content(tmp_path)
    for remove in (False, True):
        prune(results, remove=remove)
        assert content(tmp_path) == before


def test_a_record_without_snapshots_does_not_keep_those_of_an_earlier_attempt(run):
    assert run.snapshots_path(record(1)).is_file()
    run.append(record(1, Status.NON_FINITE))
    assert not run.snapshots_path(record(1)).exists()
    assert run.snapshots_path(record(0)).is_file()


def test_a_run_without_a_record_is_removed_whole(tmp_path):
    run = make(tmp_path, [0])
    lines_of(run).write_text("torn")
    prune(tmp_path, remove=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("id", ["../../../x", "/tmp/x", "0123456789a", "0123456789aB", "x" * 12])
def test_a_record_whose_id_is_none_is_refused_and_merge_writes_nothing(tmp_path, id):
    first, second = make(tmp_path / "results", [0]), make(tmp_path / "results", [1])
    hostile = json.loads(record(2).line()) | {"id": id}
    del hostile["checksum"]
    with lines_of(second).open("a") as file:
        file.write(json.dumps(hostile) + "\n")
    before = content(tmp_path)
    with pytest.raises(BadInput, match="not an id"):
        merge(first, second, tmp_path / "results")
    assert content(tmp_path).items() >= before.items()
    assert not list(tmp_path.rglob("x.npz"))


def test_an_edited_record_stays_known_as_one(run):
    edit(run)
    run.append(record(2, started="2026-01-02"))
    prune(run.folder.parent, remove=True)
    assert any("was modified" in finding for finding in verify(run))
    with pytest.raises(BadInput, match="records that were modified"):
        merge(run, run, run.folder.parent)


def test_edited_records_are_left_out_of_what_is_read_and_counted(run, caplog):
    edit(run)
    assert [r.trial.seed for r in run.records()] == [1, 2]
    (warning,) = caplog.messages
    assert f"1 of 3 records left out: line 1: record {record(0).id} was modified" in warning


@pytest.mark.parametrize("version", [99.0, "99", -1, 0, None, True])
def test_a_schema_that_is_no_known_number_is_refused(run, version, caplog):
    content = json.loads(record(5).line()) | {"schema_version": version}
    with lines_of(run).open("a") as file:
        file.write(json.dumps(content) + "\n")
    assert len(run.records()) == 3
    assert "schema_version: must be a whole number" in caplog.text


def test_repairing_sets_bad_lines_aside_and_keeps_all_others(run):
    before = lines_of(run).read_bytes()
    first, second, third = before.splitlines(keepends=True)
    bad = b"\xff nonsense\r{}\n"
    edited = second.replace(b'"duration_seconds":1.0', b'"duration_seconds":0.5')
    newer = record(8).model_copy(update={"schema_version": 99}).line().encode() + b"\n"
    long = b'"' + b"a" * (bounded.LINE + 5) + b'"\n'
    lines_of(run).write_bytes(first + bad + edited + long + third + newer + b'{"torn"')
    assert repair(run) == (3, 4)
    assert lines_of(run).read_bytes() == first + third + newer
    assert (run.folder / ASIDE).read_bytes() == bad + edited + long + b'{"torn"'
    assert repair(run) == (3, 0)
    run.append(record(1))
    assert not any("cannot be read" in finding for finding in verify(run) if "schema" not in finding)


def test_pruning_leaves_a_run_with_bad_lines_as_it_is(tmp_path):
    """Their arrays and their bytes may still be wanted."""
    run, bad = make(tmp_path, range(3)), make(tmp_path, [])
    edit(run)
    run.append(record(2, started="2026-01-02"))
    lines_of(bad).write_text("nonsense\n")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.name != "lock"}
    found = prune(tmp_path, remove=True)
    assert len(found) == 2
    assert all("repair" in line for line in found)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.name != "lock"}


def test_what_reproduce_wrote_is_not_foreign(tmp_path):
    """Its study has a group for each trial; its records keep the groups of the original."""
    again = record(3)
    study = Study(name=REPRODUCED, groups={again.id: Grid(task="toy/spiral", model=["small"], seed=[3])})
    run = RunFolder.create(tmp_path, study, {"cpu": "test"})
    run.append(again)
    assert verify(run) == []
    run.append(record(4))
    assert any("does not match the run" in finding for finding in verify(run))


MERGE = """
import resource, signal, sys
from pathlib import Path
from nodebench.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))  # a file beyond this size cannot be written,
if sys.argv.pop(1) == "killed":
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # and who tries is killed
main()
"""


def nodebench_merge(results, first, second, how):
    # Without -B Python writes compiled modules that are cut off at the limit, and later tests cannot load them.
    command = [sys.executable, "-B", "-c", MERGE, how, "results", "merge", first, second, "--results", str(results)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_merging_onto_a_full_disk_leaves_nothing(tmp_path):
    names = [make(tmp_path, seeds).folder.name for seeds in (range(3), range(3, 6))]
    ended = nodebench_merge(tmp_path, *names, "full")
    assert ended.returncode == 3, ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert "cannot write there" in ended.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def test_a_merge_that_was_killed_is_no_run(tmp_path, nodebench):
    """The system kills it while it writes: what is left is named by verify, read by nothing, and pruned."""
    results = tmp_path / "results"
    runs = make(results, range(3)), make(results, range(3, 6))
    names = [run.folder.name for run in runs]
    assert nodebench_merge(results, *names, "killed").returncode == -signal.SIGXFSZ
    assert [run.folder for run in list_runs(tmp_path / "results")] == [run.folder for run in runs]
    assert len(kept_records(tmp_path / "results")) == 6
    code, out, _ = nodebench("results", "verify")
    assert code == 1
    assert "left by a merge that was killed" in out
    assert nodebench("results", "prune", "--yes")[0] == 0
    assert nodebench("results", "verify")[0] == 0
    assert len(list((tmp_path / "results").iterdir())) == 2


def test_a_run_that_is_being_written_is_not_pruned(run):
    other = make(run.folder.parent, [0])
    lines_of(other).write_text("torn")
    with run.writing():
        found = prune(run.folder.parent, remove=True)
    assert any(f"{run.folder.name}: not removed: " in line and "is being written by process" in line for line in found)
    assert not other.folder.exists()  # one run does not keep the others from being pruned


def test_a_trial_that_ran_again_for_a_better_time_is_no_double(run):
    drifted = record(7).model_copy(update={"drifted": True})
    better = record(7, started="2026-01-02").model_copy(update={"drifted": False})
    run.append(drifted)
    run.append(better)
    assert verify(run) == []
    run.append(better)
    assert verify(run) == [f"record {better.id} occurs 2 times"]


def test_a_drifted_record_that_was_copied_is_a_double(run):
    drifted = record(7).model_copy(update={"drifted": True})
    run.append(drifted)
    run.append(drifted)
    assert verify(run) == [f"record {drifted.id} occurs 2 times"]
