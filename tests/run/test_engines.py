"""What every engine promises, the local ones and Dask alike."""

import os
import threading
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import dask
import distributed
import psutil
import pytest
from distributed.comm.core import CommClosedError

from nodebench.cores import usable_cores
from nodebench.errors import BadInput
from nodebench.running.engines import dask as dask_engine
from nodebench.running.engines.dask import DaskEngine
from nodebench.running.engines.local import LocalEngine, _slots
from nodebench.running.expand import multiply
from nodebench.spec import DataSource, Grid, Limits, Request, Status, Study
from nodebench.store.checkpoints import Checkpoints, checkpoint_files
from nodebench.store.run_folder import RunFolder
from nodebench.trial.fork_server import start_fork_server
from nodebench.trial.isolation import run_isolated


@contextmanager
def workers(number):
    """A Dask scheduler and worker processes; they may have children, as the documentation asks."""
    with (
        dask.config.set({"distributed.worker.daemon": False}),
        distributed.LocalCluster(n_workers=number, threads_per_worker=1, dashboard_address=None) as cluster,
    ):
        yield cluster.scheduler_address


@pytest.fixture(scope="module")
def cluster():
    with workers(1) as address:
        yield address


@pytest.fixture(scope="module")
def pair():
    with workers(2) as address:
        yield address


@pytest.fixture(params=["local", "local-2", "dask"])
def engine(request):
    if request.param == "dask":
        return DaskEngine(request.getfixturevalue("cluster"))
    start_fork_server()
    return LocalEngine(2 if request.param == "local-2" else 1)


def trials(*seeds: int, fault: str = "none", seconds: float = 0.0):
    overrides = {"fault": fault, "seconds": seconds}
    return multiply(
        Grid(task="test/faults", preset="smoke", solver="rk4", seed=list(seeds), overrides=overrides, threads=1),
        DataSource(),
    )[0]


def run(engine, trials, limits=None, report=lambda trial, progress: None):
    return [record for record, _ in engine.run(trials, limits or Limits(), DataSource(), report)]


def test_a_trial_has_the_passes_and_the_baseline_that_are_requested(engine):
    asked = trials(0, 1)
    requests = {asked[0].id: Request(passes=["training"], against=asked[0])}
    found = engine.run(asked, Limits(), DataSource(), lambda trial, progress: None, requests)
    records = {record.id: record for record, _ in found}
    first, second = (records[trial.id] for trial in asked)
    assert (first.passes, second.passes) == (("training",), ("training", "memory", "numerics"))
    assert first.costs["tensor_peak_bytes"] is None
    assert second.costs["tensor_peak_bytes"] > 0
    assert first.interleaved.ratios["nfe_forward"] == 1.0
    assert second.interleaved is None


def test_every_trial_ends_in_one_record_whatever_happens_to_it(engine):
    asked = trials(0, 1) + trials(0, fault="nan") + trials(0, fault="abort") + trials(0, fault="raise")
    records = run(engine, asked)
    assert Counter(record.id for record in records) == Counter(trial.id for trial in asked)
    statuses = {record.trial.overrides.get("fault", "none"): record.status for record in records}
    assert statuses == {
        "none": Status.OK,
        "nan": Status.NON_FINITE,
        "abort": Status.CRASHED,
        "raise": Status.ERROR,
    }


def test_limits_hold_where_the_trial_runs(engine):
    asked = trials(0, 1)
    records = run(engine, asked, Limits(max_nfe=39, timeout=30))
    assert {record.status for record in records} == {Status.NFE_BUDGET}
    assert {record.failure.nfe for record in records} == {39}


def test_progress_is_heard_in_the_callers_thread(engine):
    heard: list[tuple[int, str, str]] = []
    asked = trials(0, 1)
    run(engine, asked, report=lambda t, p: heard.append((threading.get_ident(), t.id, p.phase)))
    assert {thread for thread, _, _ in heard} == {threading.get_ident()}
    assert {id for _, id, _ in heard} == {trial.id for trial in asked}
    assert {"setup", "timed", "memory", "numerics"} <= {phase for _, _, phase in heard}


def test_a_stop_leaves_a_record_of_what_ran_and_none_of_what_did_not(engine):
    asked = trials(*range(6), seconds=0.01)
    began: set[str] = set()

    def report(trial, progress):
        if progress.phase == "timed":
            began.add(trial.id)
            engine.stop()

    start = time.monotonic()
    records = run(engine, asked, report=report)
    assert {record.status for record in records} == {Status.INTERRUPTED}
    assert began <= {record.id for record in records}
    assert len(records) <= 2
    assert time.monotonic() - start < 30


def test_nothing_is_left_running(engine):
    run(engine, trials(0))
    names = [" ".join(process.cmdline()) for process in psutil.Process().children(recursive=True)]
    assert not [name for name in names if "nodebench-grandchild" in name]
    if not isinstance(engine, DaskEngine):
        servers = [p for p in psutil.Process().children() if "forkserver" in " ".join(p.cmdline())]
        assert not [child for server in servers for child in server.children()]


def test_the_next_trial_waits_until_the_record_was_taken():
    """One slot: while the caller holds a record, nothing is begun."""
    start_fork_server()
    begun: list[str] = []
    engine = LocalEngine(1)
    for record, _ in engine.run(trials(0, 1), Limits(), DataSource(), lambda t, p: begun.append(t.id)):
        seen = set(begun)
        time.sleep(0.5)
        servers = [p for p in psutil.Process().children() if "forkserver" in " ".join(p.cmdline())]
        assert not [child for server in servers for child in server.children()]
        assert record.id in seen


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core only")
def test_several_trials_have_cores_of_their_own_or_say_that_they_share():
    start_fork_server()
    records = run(LocalEngine(2), trials(*range(4)))
    cores = {record.place.cores for record in records}
    assert len(cores) == 2
    assert all(len(one) == 1 for one in cores)
    assert not any(record.place.shared for record in records)
    assert {record.environment["cores"]["usable"] for record in records} == {1}
    many = len(os.sched_getaffinity(0)) + 1
    assert all(record.place.shared and record.place.cores is None for record in run(LocalEngine(many), trials(0)))
    (alone,) = run(LocalEngine(1), trials(0))
    assert (alone.place.shared, alone.place.cores) == (False, None)


def test_trials_that_run_at_once_on_one_accelerator_share_it():
    assert [slot.shared for slot in _slots(2, 1, one_accelerator=False)] == [usable_cores() < 2] * 2
    assert [slot.shared for slot in _slots(2, 1, one_accelerator=True)] == [True, True]
    assert [slot.shared for slot in _slots(1, 1, one_accelerator=True)] == [False]


# --- what Dask adds


@pytest.mark.slow
def test_a_trial_that_takes_its_workers_with_it_is_a_crashed_record(pair):
    """Started again twice on other workers; the trials beside it lose nothing."""
    asked = trials(0, fault="kill-worker") + trials(0, 1)
    records = {record.id: record for record in run(DaskEngine(pair), asked)}
    fatal, *others = (records[trial.id] for trial in asked)
    assert fatal.status is Status.CRASHED
    assert fatal.place.attempts == 3
    assert "its worker was lost 3 times" in fatal.failure.message
    assert {record.status for record in others} == {Status.OK}


def test_other_versions_are_refused_by_name(cluster, monkeypatch):
    ours = dask_engine._versions() | {"torch": "1.0", "nodebench": "0.0"}
    monkeypatch.setattr(dask_engine, "_versions", lambda: ours)
    with pytest.raises(BadInput, match=r"worker tcp://.*: it has nodebench .*, the parent 0\.0, it has torch .*, the"):
        run(DaskEngine(cluster), trials(0))


@pytest.mark.slow
def test_a_worker_that_leaves_while_it_is_asked_is_left_out(tmp_path, monkeypatch):
    describe, marker = dask_engine._describe_worker, tmp_path / "left"

    def leave_once():
        try:
            marker.touch(exist_ok=False)
        except FileExistsError:
            return describe()
        os._exit(1)

    monkeypatch.setattr(dask_engine, "_describe_worker", leave_once)
    monkeypatch.setattr(dask_engine, "WORKER_SECONDS", 120)  # a busy machine takes long to start another worker
    with (
        dask.config.set({"distributed.worker.daemon": False}),
        distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster,
    ):
        (record,) = run(DaskEngine(cluster.scheduler_address), trials(0))
    assert marker.exists()
    assert record.status is Status.OK


@pytest.mark.parametrize(
    ("answer", "is_there", "left"),
    [
        (CommClosedError("closed"), True, True),
        (OSError("Timed out trying to connect"), False, True),
        (OSError("libcudart.so: cannot open shared object file"), True, False),
        (ImportError("no module"), False, False),
        (({"torch": "2"}, False), True, False),
    ],
)
def test_a_worker_that_cannot_load_its_libraries_has_not_left(answer, is_there, left):
    assert dask_engine._has_left(answer, is_there) is left


def test_an_accelerator_is_asked_of_the_workers(cluster):
    (trial,) = trials(0)
    with pytest.raises(BadInput, match="no worker offers GPU=1"):
        run(DaskEngine(cluster), [trial.model_copy(update={"device": "cuda:0"})])


def test_a_worker_that_claims_one_and_has_none_gives_a_record():
    start_fork_server()
    (trial,) = trials(0)
    (record,) = run(LocalEngine(1), [trial.model_copy(update={"device": "cuda:7"})])
    assert record.status is Status.NO_DEVICE
    assert "cuda:7" in record.failure.message


def test_each_worker_runs_its_trials_on_the_accelerator_that_it_sees():
    """Two workers pretend to have one accelerator each. A trial names the one that its own process sees."""
    asked = [trial.model_copy(update={"device": "cuda:0"}) for trial in trials(0, 1)]
    with (
        dask.config.set({"distributed.worker.daemon": False}),
        distributed.SpecCluster(
            scheduler={"cls": distributed.Scheduler, "options": {"dashboard_address": None}},
            workers={
                name: {
                    "cls": distributed.Nanny,
                    "options": {"nthreads": 1, "resources": {"GPU": 1}, "env": {"CUDA_VISIBLE_DEVICES": f"9{name}"}},
                }
                for name in (0, 1)
            },
        ) as cluster,
    ):
        records = run(DaskEngine(cluster.scheduler_address), asked)
    assert {record.status for record in records} == {Status.NO_DEVICE}
    assert {record.place.visible_devices for record in records} == {"90", "91"}
    for record in records:
        assert f"CUDA_VISIBLE_DEVICES is '{record.place.visible_devices}'" in record.failure.message


def test_workers_that_may_have_no_children_are_refused_with_the_cure():
    with (
        dask.config.set({"distributed.worker.daemon": True}),
        distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster,
        pytest.raises(BadInput, match="start it with --no-nanny"),
    ):
        run(DaskEngine(cluster.scheduler_address), trials(0))


TRAINING = Request(passes=("training",))


def long_trial(tmp_path):
    """A trial that has left a checkpoint in a run of its own, and the checkpoints of that run."""
    grid = Grid(task="test/random", preset="smoke", solver="rk4", overrides={"seconds": 0.005}, threads=1)
    (trial,), _ = multiply(grid, DataSource())
    checkpoints = Checkpoints.of(RunFolder.create(tmp_path, Study(groups={"typed": grid}), {}).folder, 0.02)
    run_isolated(trial, Limits(), DataSource(), lambda progress: None, request=TRAINING, checkpoints=checkpoints)
    assert list(checkpoint_files(checkpoints.folder).values()) == [trial.id]
    return trial, checkpoints


def resume(engine, trial, checkpoints):
    """Run a trial once; return its record and the notices that it gave."""
    notices: list[str] = []
    requests = {trial.id: TRAINING}
    found = engine.run(
        [trial], Limits(), DataSource(), lambda t, p: notices.append(p.notice), requests, checkpoints=checkpoints
    )
    ((record, _),) = found
    return record, [notice for notice in notices if notice]


def test_a_trial_goes_on_from_its_checkpoint_and_says_so(engine, tmp_path):
    record, notices = resume(engine, *long_trial(tmp_path))
    assert record.status is Status.OK
    assert record.resumed.times == 1
    assert len(notices) == 1
    assert notices[0].startswith("resumes from its checkpoint")


@pytest.mark.slow
def test_a_worker_that_does_not_see_the_folder_of_the_run_uses_no_checkpoint(cluster, tmp_path):
    trial, checkpoints = long_trial(tmp_path)
    before = os.listdir(checkpoints.folder / "checkpoints")
    record, notices = resume(DaskEngine(cluster), trial, replace(checkpoints, run="of another machine"))
    assert record.status is Status.OK
    assert record.resumed is None
    assert notices == []
    assert os.listdir(checkpoints.folder / "checkpoints") == before


def test_a_local_worker_whose_scheduler_closes_writes_no_traceback(capfd):
    async def heartbeat_without_scheduler(dask_worker):  # sent by value: a worker cannot import this file
        async def unreachable(**_):
            raise CommClosedError("ConnectionPool closing.")

        dask_worker.scheduler.heartbeat_worker = unreachable
        await dask_worker.heartbeat()

    with ExitStack() as stack:
        client = stack.enter_context(dask_engine._connect("local", 1, stack))
        client.run(heartbeat_without_scheduler)
    assert "Traceback" not in capfd.readouterr().err
