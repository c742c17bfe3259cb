"""The Dask engine: trials as tasks of a Dask cluster, which may be this machine, a scheduler, or Slurm jobs.

Dask manages the queue, the workers and their resources. Only the parent writes results. Each trial runs in a separate
process on the worker, which also enforces its limits.
"""

import multiprocessing
import signal
import socket
import threading
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from functools import partial
from importlib import metadata
from multiprocessing import resource_tracker
from queue import Empty, SimpleQueue
from typing import Any

import dask
import distributed
from distributed.comm.core import CommClosedError
from distributed.scheduler import KilledWorker

import nodebench
from nodebench.errors import BadInput, RunAborted, first_line
from nodebench.running.engines.contract import EVERY_PASS, Engine, Report, Requests
from nodebench.running.engines.dask_watch import Watch, quiet_libraries
from nodebench.running.rerun import run_until_steady
from nodebench.spec import EVERYTHING, DataSource, Failure, Limits, Record, Request, Status, Trial
from nodebench.spec.record import Place
from nodebench.spec.trajectories import Snapshots
from nodebench.store.checkpoints import Checkpoints
from nodebench.trial.devices import visible_devices
from nodebench.trial.fork_server import wait_for_fork_server
from nodebench.trial.isolation import Stop, run_isolated
from nodebench.trial.worker import Progress

# Maximum number of queries for the workers' versions, if all workers disconnect during a query.
QUERIES = 3
# A trial whose worker was lost runs again at most this often.
RERUNS = 2
# The resource that a trial on an accelerator takes; a worker offers it with ``--resources GPU=1``.
GPU = "GPU"
TOPIC = "nodebench"
POLL_SECONDS = 0.2
CONNECT_SECONDS = 10
WORKER_SECONDS = 30  # how long an existing scheduler may be without workers
# A daemonic worker cannot start child processes, and a trial is a child process.
MAY_HAVE_CHILDREN = "export DASK_DISTRIBUTED__WORKER__DAEMON=False"
# When a local cluster closes, a worker logs its failed heartbeat with a traceback.
QUIET_WORKERS = "{'distributed.worker': 'critical', 'distributed.worker.memory': 'warning'}"


class DaskEngine(Engine):
    """Runs trials on Dask workers, one in each of their threads.

    Args:
        where: ``local`` (``jobs`` workers on this machine), ``slurm`` (``jobs`` Slurm jobs, as configured for
            dask-jobqueue), or the address of a scheduler.
        jobs: number of workers to start; ignored for an address.
    """

    elsewhere = True

    def __init__(self, where: str, jobs: int = 1) -> None:
        self._where, self._jobs = where, jobs
        self._token = uuid.uuid4().hex  # separates trials of this command from those of others
        self._stopped = False
        self._open = ExitStack()
        self._client: Any = None

    def prepare(self, trials: Sequence[Trial]) -> None:
        """Connect to the workers and check them; see ``Engine``."""
        if self._client is not None or not trials:
            return
        with ExitStack() as stack:
            stack.enter_context(quiet_libraries())
            client = stack.enter_context(_connect(self._where, self._jobs, stack))
            _check_workers(client, trials)
            self._client, self._open = client, stack.pop_all()

    def run(
        self,
        trials: Sequence[Trial],
        limits: Limits,
        source: DataSource,
        report: Report,
        requests: Requests = EVERY_PASS,
        checkpoints: Checkpoints | None = None,
    ) -> Iterator[tuple[Record, Snapshots]]:
        """Yield the record and the snapshots of each trial as it ends; see ``Engine``."""
        if not trials:
            return
        self.prepare(trials)
        client = self._client
        with self._open:
            client.run_on_scheduler(_limit_reruns)
            events: SimpleQueue[distributed.Future | tuple[str, Progress]] = SimpleQueue()
            client.subscribe_topic(TOPIC, lambda event: events.put(_progress_of(event)))
            running = {trial.id: trial for trial in trials}
            for number, trial in enumerate(trials):
                resources = {GPU: 1} if trial.device != "cpu" else {}
                future = client.submit(
                    _on_worker,
                    trial,
                    limits,
                    source,
                    requests.get(trial.id, EVERYTHING),
                    checkpoints,
                    _versions(),
                    self._token,
                    key=f"nodebench-{trial.id}-{self._token}",
                    pure=False,
                    priority=-number,
                    resources=resources,
                )
                future.nodebench_trial = trial
                future.add_done_callback(events.put)
            patience = None if self._where == "slurm" else WORKER_SECONDS  # Slurm starts workers when it has room
            watch = Watch(client, self._where, patience, self.notice, lambda: _ask_to_stop(client, self._token))
            yield from self._gather(watch, events, running, limits, report)

    def _gather(
        self,
        watch: Watch,
        events: "SimpleQueue[Any]",
        running: dict[str, Trial],
        limits: Limits,
        report: Report,
    ) -> Iterator[tuple[Record, Snapshots]]:
        while running:
            if self._stopped and watch.stopped():
                return
            try:
                event = events.get(timeout=POLL_SECONDS)
            except Empty:
                watch.check()
                continue
            if isinstance(event, tuple):
                id, progress = event
                if id in running:
                    report(running[id], progress)
                continue
            trial: Trial = event.nodebench_trial
            del running[trial.id]
            found = _outcome(event, trial, limits, self._where)
            event.release()
            if found is not None:
                yield found

    def stop(self) -> None:
        """End what is running and start nothing more."""
        self._stopped = True


def _connect(where: str, jobs: int, stack: ExitStack) -> distributed.Client:
    """Return a client of the cluster; start the cluster unless ``where`` is an address. ``stack`` closes both.

    Raises:
        BadInput: the cluster does not exist.
    """
    stack.enter_context(dask.config.set({"distributed.worker.daemon": False}))
    if where == "local":
        stack.enter_context(dask.config.set({"distributed.nanny.pre-spawn-environ.DASK_LOGGING": QUIET_WORKERS}))
        return distributed.Client(stack.enter_context(_local(jobs)))
    if where == "slurm":
        return distributed.Client(stack.enter_context(_slurm(jobs)))
    try:
        return distributed.Client(where, timeout=CONNECT_SECONDS)
    except (OSError, ValueError, TypeError) as error:
        raise BadInput(
            f"--dask {where}: no scheduler answers there ({first_line(error)}). Allowed: local, slurm, tcp://HOST:PORT"
        ) from None


def _local(jobs: int) -> distributed.LocalCluster:
    """Start a cluster on this machine whose processes never receive SIGINT, so that only the parent handles Ctrl-C.

    The processes inherit the signal mask of the thread that starts them. Ctrl-C during the start closes the cluster.
    """
    started: Future[distributed.LocalCluster] = Future()

    def start() -> None:
        try:
            started.set_result(distributed.LocalCluster(n_workers=jobs, threads_per_worker=1, dashboard_address=None))
        except BaseException as error:  # it is raised in the caller's thread
            started.set_exception(error)

    resource_tracker.ensure_running()  # its start would unblock the signal
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        threading.Thread(target=start, daemon=True).start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    try:
        return started.result()
    except KeyboardInterrupt:
        started.result().close()
        raise


def _slurm(jobs: int) -> Any:
    try:
        import dask_jobqueue
    except ImportError as error:
        raise BadInput("--dask slurm needs dask-jobqueue: pip install 'nodebench[cluster]'") from error
    prologue = dask.config.get("jobqueue.slurm.job-script-prologue", None) or []
    try:
        cluster = dask_jobqueue.SLURMCluster(
            job_script_prologue=[*prologue, MAY_HAVE_CHILDREN], scheduler_options={"dashboard_address": ":0"}
        )
    except (ValueError, TypeError) as error:
        raise BadInput(f"--dask slurm: {first_line(error)}; see docs/cluster.md for its configuration") from error
    cluster.scale(jobs=jobs)
    return cluster


def _check_workers(client: distributed.Client, trials: Sequence[Trial]) -> None:
    """Check that all workers have the parent's versions and can start child processes, and one offers a needed GPU.

    Raises:
        BadInput: a check fails, or there is no worker.
    """
    for address, answer in _ask_workers(client).items():
        if isinstance(answer, Exception):  # it lacks nodebench, or a library that it needs
            raise BadInput(
                f"worker {address} cannot run nodebench ({first_line(answer)}): install the parent's versions there"
            )
        versions, daemon = answer
        if different := _difference(_versions(), versions):
            raise BadInput(f"worker {address}: {different}")
        if daemon:
            raise BadInput(
                f"worker {address} cannot start child processes; start it with --no-nanny, "
                "or with DASK_DISTRIBUTED__WORKER__DAEMON=False"
            )
    offers = [worker["resources"] for worker in client.scheduler_info(n_workers=-1)["workers"].values()]
    if any(trial.device != "cpu" for trial in trials) and not any(offer.get(GPU, 0) >= 1 for offer in offers):
        raise BadInput(f"no worker offers {GPU}=1; start one with --resources '{GPU}=1'")


def _ask_workers(client: distributed.Client) -> dict[str, Any]:
    """Return the description of each worker, or its exception, by address; skip workers that disconnect.

    Raises:
        BadInput: there is no worker, or all workers disconnect at each query.
    """
    for _ in range(QUERIES):
        try:
            client.wait_for_workers(1, timeout=None if client.cluster else WORKER_SECONDS)
        except TimeoutError:
            raise BadInput(f"the scheduler {client.scheduler.address} has no worker") from None
        said = client.run(_describe_worker, on_error="return")
        there = client.scheduler_info(n_workers=-1)["workers"]
        if answers := {where: one for where, one in said.items() if not _has_left(one, where in there)}:
            return answers
    raise BadInput(f"the workers of {client.scheduler.address} disconnect when asked for their versions")


def _has_left(answer: Any, is_there: bool) -> bool:
    """Whether an answer shows that its worker disconnected; an OSError does so only if the worker is not listed."""
    return isinstance(answer, CommClosedError) or (isinstance(answer, OSError) and not is_there)


def _ask_to_stop(client: distributed.Client, token: str) -> None:
    client.run(_stop_trials, token, on_error="ignore")


def _versions() -> dict[str, str]:
    return {"nodebench": nodebench.__version__, **{name: metadata.version(name) for name in ("torch", "torchdiffeq")}}


def _difference(ours: dict[str, str], theirs: dict[str, str]) -> str:
    return ", ".join(
        f"it has {name} {theirs[name]}, the parent {ours[name]}" for name in ours if ours[name] != theirs[name]
    )


def _limit_reruns(dask_scheduler: Any) -> None:
    dask_scheduler.allowed_failures = RERUNS


def _progress_of(event: tuple[Any, dict[str, Any]]) -> tuple[str, Progress]:
    content = event[1]
    return content["id"], Progress(content["phase"], content["epochs"], content["row"], notice=content["notice"])


def _outcome(future: distributed.Future, trial: Trial, limits: Limits, where: str) -> tuple[Record, Snapshots] | None:
    """Return the record and snapshots of a Dask task; None if it was stopped before it began.

    Raises:
        RunAborted: the scheduler is lost, or a worker that joined later has different versions.
    """
    if future.status == "finished":
        try:
            found: tuple[Record, Snapshots] | None = future.result()
        except OSError as lost:  # during the transfer of the result
            raise RunAborted(f"the Dask scheduler at {where} is gone") from lost
        return found
    if future.status != "error":
        raise RunAborted(f"the Dask scheduler at {where} is gone")
    error = future.exception()
    if isinstance(error, KilledWorker):
        failure = Failure(message=f"its worker was lost {RERUNS + 1} times, the last one {error.last_worker.address}")
        return _lost(trial, limits, Status.CRASHED, failure, RERUNS + 1), {}
    if isinstance(error, BadInput):  # a worker that came later has other versions
        raise RunAborted(str(error))
    if isinstance(error, ImportError):  # a worker that came later has no nodebench
        raise RunAborted(f"a worker cannot run nodebench ({first_line(error)}): install the parent's versions there")
    message = f"the worker failed: {type(error).__name__}: {first_line(error)}"
    return _lost(trial, limits, Status.ERROR, Failure(message=message)), {}


def _lost(trial: Trial, limits: Limits, status: Status, failure: Failure, attempts: int = 1) -> Record:
    """Return the record of a trial whose worker returned none."""
    return Record(
        id=trial.id,
        trial=trial,
        status=status,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        duration_seconds=0.0,
        limits=limits,
        failure=failure,
        place=Place(attempts=attempts),
    )


# --- on the worker

_running: dict[Stop, str] = {}  # running trials of this worker, with the tokens of their commands
_stopped: set[str] = set()


def _describe_worker() -> tuple[dict[str, str], bool]:
    return _versions(), multiprocessing.current_process().daemon


def _stop_trials(token: str) -> None:
    _stopped.add(token)
    for stop, of in list(_running.items()):
        if of == token:
            stop.ask()


def _on_worker(
    trial: Trial,
    limits: Limits,
    source: DataSource,
    request: Request,
    checkpoints: Checkpoints | None,
    versions: dict[str, str],
    token: str,
) -> tuple[Record, Snapshots] | None:
    """Run a trial in a separate process on this worker and report its progress; None if stopped before it began."""
    worker = distributed.get_worker()
    if different := _difference(versions, _versions()):
        raise BadInput(f"worker {worker.address}: {different}")
    stop = Stop()
    _running[stop] = token  # from here on, a stop request reaches the trial

    def report(progress: Progress) -> None:
        with suppress(ValueError):  # the worker is closing
            content = {"phase": progress.phase, "epochs": progress.epochs, "row": progress.row}
            worker.log_event(TOPIC, content | {"id": trial.id, "notice": progress.notice})

    try:
        wait_for_fork_server()
        if stop.asked or token in _stopped:
            return None
        shared = worker.state.nthreads > 1
        if checkpoints is not None and not checkpoints.are_shared():
            checkpoints = None
        run = partial(run_isolated, trial, limits, source, report, stop, request=request, checkpoints=checkpoints)
        record, snapshots = run_until_steady(run, 1 if shared else request.attempts, checkpoints, report)
    finally:
        del _running[stop]
    here = {"host": socket.gethostname(), "shared": shared, "visible_devices": visible_devices()}
    return record.model_copy(update={"place": record.place.model_copy(update=here)}), snapshots
