"""Rerun trials from their records, without a grid."""

from collections.abc import Callable, Iterator, Sequence

from nodebench.running.engines.contract import Engine, Report
from nodebench.running.plan import Planned
from nodebench.running.sweep import sweep
from nodebench.spec import DataSource, Grid, Record, Request, Trial
from nodebench.store.run_folder import RunFolder


class Repetition:
    """Reruns the trials of records, each with its original limits, and stores the new records in a run.

    Args:
        run: receives the new records.
        data: location of the data sets.
        make_engine: creates an engine. Trials with different limits need separate engines, since an engine runs once.
    """

    def __init__(self, run: RunFolder, data: DataSource, make_engine: Callable[[], Engine]) -> None:
        self._run = run
        self._data = data
        self._make_engine = make_engine
        self._engine: Engine | None = None
        self._stopped = False

    def again(self, records: Sequence[Record], report: Report) -> Iterator[tuple[Record, Record]]:
        """Rerun the trials; yield each original record with its new record."""
        groups: dict[tuple[str, str], list[Record]] = {}
        for record in records:
            groups.setdefault((record.place.study or "", record.limits.model_dump_json()), []).append(record)
        for (name, _), group in groups.items():
            self._engine = self._make_engine()
            if self._stopped:  # checked last: a stop that comes later finds the engine
                return
            changes = {"name": name, "limits": group[0].limits, "data": self._data}
            study = self._run.study().model_copy(update=changes)
            known = {record.id: record for record in group}
            todo = [
                Planned(one.trial, one.trial.seed, one.place.groups, one.place.number or 0, _request(one))
                for one in group
            ]
            for again in sweep(self._run, study, todo, self._engine, report):
                yield known[again.id], again

    def stop(self) -> None:
        """End what is running, and start nothing more."""
        self._stopped = True
        if self._engine is not None:
            self._engine.stop()


def _request(record: Record) -> Request:
    """Return the request that repeats the measurements of a record."""
    return Request(passes=record.passes, against=record.interleaved.baseline if record.interleaved else None)


def grid_of(trial: Trial) -> Grid:
    """Return a grid that contains only this trial, to be stored in the run."""
    return Grid.model_validate(trial.model_dump(mode="json", exclude_none=True))
