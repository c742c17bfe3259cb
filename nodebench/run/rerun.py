"""Run a trial again whose machine changed speed, so that its times can be used."""

from collections.abc import Callable

from nodebench.spec import Reason, ReasonCode, Record, Status
from nodebench.spec.trajectories import Film


def run_until_steady(run: Callable[[], tuple[Record, Film]], attempts: int) -> tuple[Record, Film]:
    """Run a trial until the speed of the machine did not change during it.

    If it changed during every run, the last one is kept, and ``reasons["drifted"]`` says so. A run that fails or is
    stopped does not replace one that has finished.

    Args:
        run: runs the trial once.
        attempts: the most times that it runs.

    Returns:
        The record, whose place says how often the trial was started, and the pictures of its training.
    """
    kept = run()
    taken = 1
    while _drifted(kept[0]) and taken < attempts:
        again = run()
        taken += 1
        if again[0].status is not Status.OK:
            break
        kept = again
    record, film = kept
    if _drifted(record) and attempts > 1:
        before, after = (1000 * seconds for seconds in record.calibration)
        message = f"a fixed load took {before:.2f} ms before the trial and {after:.2f} ms after it"
        message += f"; the trial was started {taken} times"
        reasons = record.reasons | {"drifted": Reason(code=ReasonCode.DRIFTED, message=message)}
        record = record.model_copy(update={"reasons": reasons})
    place = record.place.model_copy(update={"attempts": taken})
    return record.model_copy(update={"place": place}), film


def _drifted(record: Record) -> bool:
    return record.status is Status.OK and bool(record.drifted)
