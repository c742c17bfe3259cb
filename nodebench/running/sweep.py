"""A sweep runs the missing trials of a run on an engine and stores each record."""

from collections.abc import Iterator, Sequence

from nodebench.running.engines.contract import Engine, Report
from nodebench.running.plan import Planned
from nodebench.spec import Record, Status, Study
from nodebench.store.checkpoints import Checkpoints
from nodebench.store.run_folder import RunFolder


def missing(planned: Sequence[Planned], records: Sequence[Record], *, retry_failed: bool = False) -> list[Planned]:
    """Return the trials to run, in their order.

    These are the trials that are not finished, those whose record lacks a pass that is now asked for (they run again,
    since the trained weights are not kept), and with ``retry_failed`` those that failed.
    """
    kept = {record.id: record for record in records}
    if not kept:
        return list(planned)
    return [one for one in planned if not _is_done(one, kept.get(one.trial.id), retry_failed)]


def _is_done(one: Planned, record: Record | None, retry_failed: bool) -> bool:
    if record is None or record.status is Status.INTERRUPTED:
        return False
    return record.answers(one.request) if record.status is Status.OK else not retry_failed


def sweep(run: RunFolder, study: Study, todo: Sequence[Planned], engine: Engine, report: Report) -> Iterator[Record]:
    """Run trials, store the record of each as it ends, and yield it.

    Raises:
        BadInput: the engine cannot run these trials.
        RunAborted: the disk or the engine has failed; what was yielded is stored.
    """
    planned = {one.trial.id: one for one in todo}
    requests = {id: one.request for id, one in planned.items()}
    checkpoints = Checkpoints.of(run.folder, study.checkpoint_every)
    trials = [one.trial for one in todo]
    for bare, snapshots in engine.run(trials, study.limits, study.data, report, requests, checkpoints):
        one = planned[bare.id]
        place = bare.place.model_copy(update={"study": study.name or None, "groups": one.groups, "number": one.place})
        record = bare.model_copy(update={"place": place})
        run.append(record, snapshots)
        yield record
