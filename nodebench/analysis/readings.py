"""Readings: one number of a record, and the ways to combine several of them.

A reading states which metric it reads, whether it is a wall time, whether it is exact, and the value that a failed
trial counts as. Claims, comparisons and plots all read records through readings.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from nodebench.analysis.curves import line
from nodebench.analysis.study_membership import is_at
from nodebench.spec import Record
from nodebench.spec.metrics import metric, short
from nodebench.spec.reasons import ReasonCode
from nodebench.spec.trial import Scalar


@dataclass(frozen=True)
class Reading:
    """One number of a record.

    Attributes:
        metric: name of the metric that is read.
        get: returns the number, or None if the record does not have it.
        label: for tables and axes.
        failed: the value that a failed trial counts as; positive infinity for errors and costs.
        timed: whether it is a wall time, which other load on the machine changes.
        exact: whether it has no sampling error: bytes, parameters, counts of events that a theorem excludes.
        paired: whether it compares arms that ran interleaved in one process, in alternating blocks of steps. If the
            machine changes its speed, both arms run at the changed speed.
    """

    metric: str
    get: Callable[[Record], float | None] = field(repr=False)
    label: str
    failed: float = math.inf
    timed: bool = False
    exact: bool = False
    paired: bool = False


_EXACT = ("tensor_peak_bytes", "saved_bytes", "parameters", "inversions", "residual_error", "sensitivity")


def final(name: str) -> Reading:
    """A metric at the end of a trial; a metric that was not a finite number counts as a failed trial."""
    known = metric(name)
    failed = -math.inf if known.better == "higher" else math.inf

    def get(record: Record) -> float | None:
        value = record.metrics.get(name, record.costs.get(name))
        lost = name in record.metrics and value is None and name not in record.reasons
        return failed if lost else value

    return Reading(name, get, known.label, failed, known.is_time, name in _EXACT)


def probed(name: str) -> Reading:
    """A metric of a probe in the numerics pass; infinite if the probe's solve failed."""

    def get(record: Record) -> float | None:
        reason = record.reasons.get(name)
        failed = reason is not None and reason.code is ReasonCode.PROBE_FAILED
        return math.inf if failed else record.costs.get(name)

    return Reading(name, get, metric(name).label)


def relative(name: str = "step_seconds", /, **baseline: Scalar | Sequence[Scalar | None] | None) -> Reading:
    """A cost divided by the cost of the baseline arm that ran interleaved with it in one process.

    Args:
        name: ``step_seconds``, ``forward_seconds``, ``backward_seconds`` or ``nfe_forward``.
        baseline: axes of the baseline arm, for example ``gradient="direct"``, or several values of one of them. The
            reading of a record with another baseline is None.
    """

    def get(record: Record) -> float | None:
        paired = record.interleaved
        if paired is None or not is_at(paired.baseline.model_dump(mode="json"), baseline):
            return None
        return paired.ratios.get(name)

    known, words = metric(name), ", ".join(map(_worded, baseline.values()))
    return Reading(
        f"{name}_interleaved", get, f"{known.label} over that of {words}", timed=known.is_time, paired=known.is_time
    )


def _worded(wanted: Scalar | Sequence[Scalar | None] | None) -> str:
    return " or ".join(map(str, wanted)) if isinstance(wanted, list | tuple) else str(wanted)


def at_epoch(name: str, epoch: int) -> Reading:
    """A metric of the history; ``-1`` is the last epoch, 0 is before training."""

    def get(record: Record) -> float | None:
        rows = record.history if epoch < 0 else [row for row in record.history if row["epoch"] == epoch]
        return rows[-1].get(name) if rows else None

    when = "after training" if epoch < 0 else "before training" if epoch == 0 else f"after epoch {epoch}"
    return Reading(name, get, f"{metric(name).label} {when}")


def at_tolerance(name: str, rtol: float) -> Reading:
    """A metric of the trained network solved at another tolerance; ``nfe`` is its evaluations per solve."""
    return _in_profile(name, "rtol", rtol)


def at_step(name: str, step_size: float) -> Reading:
    """A metric of the trained network solved with fixed steps; ``nfe`` is its evaluations per solve."""
    return _in_profile(name, "step_size", step_size)


def _in_profile(name: str, control: str, value: float) -> Reading:
    def get(record: Record) -> float | None:
        rows = [row for row in record.profile if math.isclose(row.get(control) or 0, value)]
        if not rows or name not in rows[0]:
            return None
        return math.inf if rows[0][name] is None else rows[0][name]  # its solve failed

    return Reading(name, get, f"{metric(name).label} at {control} {short(value)}")


def profile_power(name: str) -> Reading:
    """The log-log slope of a metric of the trained network over the tolerance."""

    def get(record: Record) -> float | None:
        known = [(row.get("rtol"), row.get(name)) for row in record.profile]
        logs = [(math.log10(x), math.log10(y)) for x, y in known if x and y]
        return line(*zip(*logs, strict=True)).slope if len(logs) > 2 else None

    return Reading(name, get, f"power of rtol that the {metric(name).label} follows")


def axis(name: str) -> Reading:
    """The value of a numeric axis or option of the trial."""

    def get(record: Record) -> float | None:
        value = record.trial.overrides.get(name, record.options.get(name, getattr(record.trial, name, None)))
        return float(value) if isinstance(value, int | float) else None

    return Reading(name, get, name)


def total(*parts: Reading) -> Reading:
    """The sum of readings of one record; None if any of them is missing."""
    return _computed(parts, lambda *values: sum(values), " + ".join(part.label for part in parts))


def quotient(above: Reading, below: Reading) -> Reading:
    """One reading over another of the same record; None if the other is 0."""
    return _computed((above, below), lambda a, b: a / b if b else None, f"{above.label} / {below.label}")


def change(to: Reading, since: Reading) -> Reading:
    """One reading minus another of the same record."""
    return _computed((to, since), lambda a, b: a - b, f"{to.label} − {since.label}")


def scaled(reading: Reading, factor: float, label: str) -> Reading:
    """A reading times a constant."""
    return _computed((reading,), lambda value: factor * value, label)


def exceeds(reading: Reading, limit: float) -> Reading:
    """1 if a reading is above a limit, else 0; its mean over replicates is a share."""
    above = _computed((reading,), lambda value: float(value > limit), f"{reading.label} above {short(limit)}")
    return replace(above, failed=1.0)


def within(reading: Reading, limit: float) -> Reading:
    """1 if a reading is at most ``limit``, else 0; its mean over replicates is a share."""
    below = _computed((reading,), lambda value: float(value <= limit), f"{reading.label} at most {short(limit)}")
    return replace(below, failed=0.0)


def _computed(parts: Sequence[Reading], compute: Callable[..., float | None], label: str) -> Reading:
    """Return a number computed from readings of one record; None if any of them is missing.

    The other fields are those of the first reading. It is paired only if all times among the parts are paired.
    """

    def get(record: Record) -> float | None:
        values = [part.get(record) for part in parts]
        return None if None in values else compute(*values)

    return replace(parts[0], get=get, label=label, paired=parts[0].paired and all_paired(parts))


def all_paired(readings: Iterable[Reading]) -> bool:
    """Whether every time among some readings is a ratio of interleaved arms."""
    return all(one.paired for one in readings if one.timed)
