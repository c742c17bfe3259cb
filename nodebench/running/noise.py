"""Measuring the noise of this machine."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from nodebench.errors import RunAborted
from nodebench.running.engines.contract import Engine, Report
from nodebench.running.expand import multiply
from nodebench.spec import (
    DataSource,
    Gradient,
    Grid,
    Limits,
    Pass,
    Preset,
    Record,
    Request,
    Status,
    Trial,
)
from nodebench.spec.calibration import Calibration, Rounds
from nodebench.spec.metrics import Kind, metric

# One load is bound by the Python interpreter, the other by kernels.
LOADS = (
    Grid(task="toy/spiral", gradient=[Gradient.DIRECT], overrides={"epochs": [1]}),
    Grid(task="mnist", preset=Preset.SMOKE),
)

# No numerics pass: errors against a reference have no noise beyond that of the training loss.
_REQUEST = Request(passes=(Pass.TRAINING, Pass.MEMORY))


def loads(threads: int | None) -> list[Trial]:
    """The trials that are run again and again."""
    return [multiply(load.model_copy(update={"threads": threads}), DataSource())[0][0] for load in LOADS]


def measure_noise(
    trials: Sequence[Trial],
    rounds: int,
    replicates: int,
    pause: float,
    engine: Engine,
    report: Report,
    finished: Callable[[Record], None],
    stopped: Callable[[], object] = lambda: False,
) -> Calibration:
    """Run trials repeatedly with the same seed, and collect the values of each sampled metric.

    Args:
        trials: one trial per load.
        rounds, replicates: number of rounds, and of replicates of each trial per round.
        pause: seconds between two rounds, so that the rounds also cover slow changes of the machine.
        engine: runs one trial at a time.
        report: called with the progress of each trial.
        finished: called with each record.
        stopped: returns whether the user has interrupted the measurement.

    Raises:
        RunAborted: a trial failed, or the engine was stopped.
    """
    started, records = datetime.now(UTC), list[Record]()
    of_round = replicates * len(trials)
    every, requests = [*trials] * (rounds * replicates), {trial.id: _REQUEST for trial in trials}
    for record, _ in engine.run(every, Limits(), DataSource(), report, requests):
        if record.status is not Status.OK:
            why = record.failure.message if record.failure else record.status.sentence
            raise RunAborted(f"the load {record.trial.task} ended as {record.status}: {why}")
        records.append(record)
        finished(record)
        if len(records) % of_round == 0 and len(records) < rounds * of_round:
            _wait(pause, stopped)
    if len(records) < rounds * of_round:
        raise RunAborted("interrupted")
    found: Rounds = {}
    unequal = []
    for trial in trials:
        mine = [record for record in records if record.id == trial.id]
        names = dict.fromkeys(name for record in mine for name in _measured(record))
        values = {name: [_measured(record).get(name) for record in mine] for name in names}
        unequal += [
            f"{name} of {trial.task}"
            for name, given in values.items()
            if metric(name).kind is not Kind.SAMPLED and len(set(given)) > 1
        ]
        found[trial.task] = {
            name: [
                [float(value) for value in given[i : i + replicates] if value is not None]
                for i in range(0, len(given), replicates)
            ]
            for name, given in values.items()
            if metric(name).kind is Kind.SAMPLED
        }
    return Calibration(
        started=started.isoformat(timespec="seconds"),
        environment=records[0].environment,
        threads=trials[0].threads,
        rounds=found,
        unequal=tuple(unequal),
    )


def _wait(seconds: float, stopped: Callable[[], object]) -> None:
    until = time.monotonic() + seconds
    while not stopped() and (left := until - time.monotonic()) > 0:
        time.sleep(min(left, 0.1))


def _measured(record: Record) -> dict[str, float]:
    return {name: value for name, value in {**record.metrics, **record.costs}.items() if value is not None}
