"""Trials run again from their records, outside any grid."""

from collections.abc import Callable, Iterator, Sequence

from nodebench.running.engines.contract import Engine, Report
from nodebench.running.plan import Planned
from nodebench.running.sweep import sweep
from nodebench.spec import DataSource, Grid, Record, Request, Trial
from nodebench.store.run_folder import RunFolder


class Repetition:
    """Runs the trials of records again, each within the limits that it had, and stores what they give in a run.

    Args:
        run: where the new records go.
        data: where the data sets lie.
        make_engine: an engine runs once, and trials of other limits need another.
    """

    def __init__(self, run: RunFolder, data: DataSource, make_engine: Callable[[], Engine]) -> None:
        self._run = run
        self._data = data
        self._make_engine = make_engine
        self._engine: Engine | None = None
        self._stopped = False

    def again(self, records: Sequence[Record], report: Report) -> Iterator[tuple[Record, Record]]:
        """Yield each record with the one that its trial gave again."""
        groups: dict[tuple[str, str], list[Record]] = {}
        for record in records:
            groups.setdefault((record.place.study or "", record.limits.model_dump_json()), []).append(record)
        for (name, _), group in groups.items():
            if self._stopped:
                return
            self._engine = self._make_engine()
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
    """What was measured of a record."""
    return Request(passes=record.passes, against=record.interleaved.baseline if record.interleaved else None)


def grid_of(trial: Trial) -> Grid:
    """The grid of one trial, for a run that keeps what it was made from."""
    return Grid.model_validate(trial.model_dump(mode="json", exclude_none=True))
