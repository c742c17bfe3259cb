"""A sweep: what a run has not yet, run by an engine, each record stored as it comes."""

from collections.abc import Iterator, Sequence

from nodebench.run.engines.contract import Engine, Report
from nodebench.run.plan import Planned
from nodebench.run.store import Run
from nodebench.spec import Record, Status, Study


def missing(planned: Sequence[Planned], records: Sequence[Record], *, retry_failed: bool = False) -> list[Planned]:
    """The trials to run, in their order: those not finished, and with ``retry_failed`` those that failed too."""
    finished = {
        record.id
        for record in records
        if record.status is Status.OK or (record.status is not Status.INTERRUPTED and not retry_failed)
    }
    return [one for one in planned if one.trial.id not in finished]


def sweep(run: Run, study: Study, todo: Sequence[Planned], engine: Engine, report: Report) -> Iterator[Record]:
    """Run trials, store the record of each as it ends, and yield it.

    Raises:
        BadInput: the engine cannot run these trials.
        CannotGoOn: the disk or the engine has failed; what was yielded is stored.
    """
    planned = {one.trial.id: one for one in todo}
    for bare, film in engine.run([one.trial for one in todo], study.limits, study.data, report):
        one = planned[bare.id]
        place = bare.place.model_copy(update={"study": study.name or None, "groups": one.groups, "number": one.place})
        record = bare.model_copy(update={"place": place})
        run.append(record, film)
        yield record
