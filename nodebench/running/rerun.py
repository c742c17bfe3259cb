"""Run a trial again whose machine changed speed, so that its times can be used."""

from collections.abc import Callable

from nodebench.errors import CannotGoOn
from nodebench.spec import Reason, ReasonCode, Record, Status
from nodebench.spec.trajectories import Film
from nodebench.store.checkpoints import Checkpoints
from nodebench.trial.worker import Progress


def run_until_steady(
    run: Callable[[], tuple[Record, Film]],
    attempts: int,
    checkpoints: Checkpoints | None = None,
    report: Callable[[Progress], None] | None = None,
) -> tuple[Record, Film]:
    """Run a trial until the speed of the machine did not change during it.

    If it changed during every run, the last one is kept, and ``reasons["drifted"]`` says so. A run that fails, is
    stopped or cannot be started does not replace one that has finished. A trial that was resumed from a checkpoint is
    kept as it is: where every process is ended after some time, a trial that began anew would never finish.

    Args:
        run: runs the trial once.
        attempts: the most times that it runs.
        checkpoints: of the trial's run; the one of a finished trial is removed before the trial runs again.
        report: hears that the trial runs again.

    Returns:
        The record, whose place says how often the trial was started, and the pictures of its training.
    """
    kept = run()
    taken = 1
    while _drifted(kept[0]) and kept[0].resumed is None and taken < attempts:
        if checkpoints is not None:
            checkpoints.remove(kept[0].id)
        if report is not None:
            told = f"the speed of the machine changed, which spoils times: runs again, {taken + 1} of {attempts}"
            report(Progress("start", notice=told))
        try:
            again = run()
        except CannotGoOn:  # the next trial meets it too
            break
        taken += 1
        if again[0].status is not Status.OK:
            break
        kept = again
    record, film = kept
    if _drifted(record) and attempts > 1:
        *before, after = (f"{1000 * seconds:.2f} ms" for seconds in record.calibration)
        message = f"a fixed load took {' and '.join(before)} before the trial and {after} after it"
        message += f"; the trial was started {taken} times"
        reasons = record.reasons | {"drifted": Reason(code=ReasonCode.DRIFTED, message=message)}
        record = record.model_copy(update={"reasons": reasons})
    place = record.place.model_copy(update={"attempts": taken})
    return record.model_copy(update={"place": place}), film


def _drifted(record: Record) -> bool:
    return record.status is Status.OK and bool(record.drifted)
