"""Each fault of a store is planted, and found by name; merging and pruning lose and double nothing."""

import json
import re

import numpy as np
import pytest

from nodebench.errors import BadInput
from nodebench.run.store import Run
from nodebench.run.upkeep import merge, prune, verify
from nodebench.spec import Grid, Record, Status, Study, Trial
from nodebench.spec.record import Place
from nodebench.spec.trajectories import Trajectories

LINE = np.zeros((1, 3, 2))
FILM = {1: Trajectories(np.arange(3.0), LINE, LINE, np.zeros((1, 3)), LINE, (0.0, 1.0), "time", ("x", "y"))}


def record(seed: int, status: Status = Status.OK, started: str = "2026-01-01", seconds: float = 1.0) -> Record:
    trial = Trial(task="toy/spiral", model="small", seed=seed)
    place = Place(groups=("typed",))
    return Record(id=trial.id, trial=trial, status=status, started=started, duration_seconds=seconds, place=place)


def make(results, seeds, **changes) -> Run:
    study = Study(groups={"typed": Grid(task="toy/spiral", seed=list(seeds), **changes)})
    run = Run.create(results, study, {"cpu": "test"})
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


def foreign(run):
    other = record(7)
    run.append(other.model_copy(update={"place": Place(groups=("elsewhere",))}))


def newer(run):
    run.append(record(5).model_copy(update={"schema_version": 99}))


FAULTS = [
    (tear, "line 3 is torn"),
    (garble, "line 1 cannot be read"),
    (edit, "was edited"),
    (edit_seed, "is of another trial"),
    (double, "is there 2 times"),
    (foreign, r"group elsewhere is not here"),
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
    assert all(merged.film(r) for r in merged.records())
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
    with pytest.raises(BadInput, match="both have a group 'typed', and they differ"):
        merge(first, second, tmp_path)


def test_pruning_removes_what_no_record_needs_and_nothing_else(tmp_path):
    run, empty = make(tmp_path, range(3)), make(tmp_path, [])
    run.append(record(3, Status.INTERRUPTED))
    run.append(record(3), FILM)
    (run.folder / "arrays" / "0123456789ab.npz").write_bytes(b"stray")
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


def test_an_edited_record_stays_known_as_one(run):
    edit(run)
    run.append(record(2, started="2026-01-02"))
    prune(run.folder.parent, remove=True)
    assert any("was edited" in finding for finding in verify(run))
    with pytest.raises(BadInput, match="records that were edited"):
        merge(run, run, run.folder.parent)


def test_a_run_that_is_being_written_is_not_pruned(run):
    with run.writing(), pytest.raises(BadInput, match="is being written by process"):
        prune(run.folder.parent, remove=True)


def test_a_trial_that_ran_again_for_a_better_time_is_no_double(run):
    drifted = record(7).model_copy(update={"drifted": True})
    better = record(7, started="2026-01-02").model_copy(update={"drifted": False})
    run.append(drifted)
    run.append(better)
    assert verify(run) == []
    run.append(better)
    assert verify(run) == [f"record {better.id} is there 2 times"]


def test_a_drifted_record_that_was_copied_is_a_double(run):
    drifted = record(7).model_copy(update={"drifted": True})
    run.append(drifted)
    run.append(drifted)
    assert verify(run) == [f"record {drifted.id} is there 2 times"]
