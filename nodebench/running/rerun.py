"""Rerun a trial if the machine's speed changed during it, so that its times can be used."""

from collections.abc import Callable

from nodebench.errors import RunAborted
from nodebench.spec import Reason, ReasonCode, Record, Status
from nodebench.spec.trajectories import Snapshots
from nodebench.store.checkpoints import Checkpoints
from nodebench.trial.worker import Progress


def run_until_steady(
    run: Callable[[], tuple[Record, Snapshots]],
    attempts: int,
    checkpoints: Checkpoints | None = None,
    report: Callable[[Progress], None] | None = None,
) -> tuple[Record, Snapshots]:
    """Run a trial until the speed of the machine did not change during it.

    If the speed changed during every run, the last run is kept and ``reasons["drifted"]`` states it. A run that fails,
    is stopped or cannot start does not replace a finished run. A trial that was resumed from a checkpoint is not rerun:
    on a system that ends every process after some time, a rerun from the beginning would never finish.

    Args:
        run: runs the trial once.
        attempts: maximum number of runs.
        checkpoints: checkpoints of the trial's run; that of a finished trial is removed before the rerun.
        report: called when the trial is rerun.

    Returns:
        The record, with the number of runs in ``place.attempts``, and the snapshots of the training.
    """
    kept = run()
    taken = 1
    while _drifted(kept[0]) and kept[0].resumed is None and taken < attempts:
        if checkpoints is not None:
            checkpoints.remove(kept[0].id)
        if report is not None:
            notice = (
                "the machine's speed changed, so the trial's times are not usable: "
                f"rerun, attempt {taken + 1} of {attempts}"
            )
            report(Progress("start", notice=notice))
        try:
            again = run()
        except RunAborted:  # the next trial will raise the same error
            break
        taken += 1
        if again[0].status is not Status.OK:
            break
        kept = again
    record, snapshots = kept
    if _drifted(record) and attempts > 1:
        *before, after = (f"{1000 * seconds:.2f} ms" for seconds in record.calibration)
        message = f"the reference load took {' and '.join(before)} before the trial and {after} after it"
        message += f"; the trial was started {taken} times"
        reasons = record.reasons | {"drifted": Reason(code=ReasonCode.DRIFTED, message=message)}
        record = record.model_copy(update={"reasons": reasons})
    place = record.place.model_copy(update={"attempts": taken})
    return record.model_copy(update={"place": place}), snapshots


def _drifted(record: Record) -> bool:
    return record.status is Status.OK and bool(record.drifted)
