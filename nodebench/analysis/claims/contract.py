"""What a claim is: a declaration that one piece of code (``nodebench.analysis.claims.evaluate``) puts to the test.

A claim has parts. Each part measures one number a replicate, under one condition or several, and says for which
values it is supported and for which refuted. A claim is said without exception, so it is

- supported where every part is, under every condition (an intersection–union test, Berger 1982);
- refuted where any part is, under any condition, after Holm's correction over them;
- inconclusive else.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from nodebench.analysis.statistics import EVERYTHING, Range, Scale
from nodebench.spec import ReasonCode, Record
from nodebench.spec.figures import figure, short
from nodebench.spec.trial import Scalar

Wanted = Scalar | None | tuple[Scalar | None, ...]


@dataclass(frozen=True)
class Source:
    """Where a sentence was published."""

    paper: str
    place: str
    link: str


@dataclass(frozen=True)
class Reading:
    """One number of a record.

    Attributes:
        figure: the measured figure that it is of.
        get: reads it; None where the record has none.
        label: what it is, for tables and axes.
        failed: the side on which a failed trial lies: a large error or cost lies above.
        timed: whether it is wall time, which a busy machine spoils.
        exact: whether it has no noise but that of the seed's own problem: bytes, counts of what a theorem forbids.
    """

    figure: str
    get: Callable[[Record], float | None] = field(repr=False)
    label: str
    failed: float = math.inf
    timed: bool = False
    exact: bool = False


_EXACT = ("tensor_peak_bytes", "saved_bytes", "parameters", "inversions", "residual_error")


def final(name: str) -> Reading:
    """A figure at the end of a trial; a metric that was no finite number lies where a failed trial does."""
    known = figure(name)
    failed = -math.inf if known.better == "higher" else math.inf

    def get(record: Record) -> float | None:
        value = record.metrics.get(name, record.costs.get(name))
        lost = name in record.metrics and value is None and name not in record.reasons
        return failed if lost else value

    return Reading(name, get, known.label, failed, known.is_time, name in _EXACT)


def probed(name: str) -> Reading:
    """A figure of the numerics pass whose solve may fail beside a training that went well: it is then infinite."""

    def get(record: Record) -> float | None:
        reason = record.reasons.get(name)
        failed = reason is not None and reason.code is ReasonCode.PROBE_FAILED
        return math.inf if failed else record.costs.get(name)

    return Reading(name, get, figure(name).label)


def at_epoch(name: str, epoch: int) -> Reading:
    """A figure of the history; ``-1`` is the last epoch, 0 is before training."""

    def get(record: Record) -> float | None:
        rows = record.history if epoch < 0 else [row for row in record.history if row["epoch"] == epoch]
        return rows[-1].get(name) if rows else None

    when = "after training" if epoch < 0 else "before training" if epoch == 0 else f"after epoch {epoch}"
    return Reading(name, get, f"{figure(name).label} {when}")


def at_tolerance(name: str, rtol: float) -> Reading:
    """A figure of the trained network when solved at another tolerance; ``nfe`` is its evaluations a solve."""

    def get(record: Record) -> float | None:
        rows = [row for row in record.profile if math.isclose(row.get("rtol") or 0, rtol)]
        if not rows or name not in rows[0]:
            return None
        return math.inf if rows[0][name] is None else rows[0][name]  # its solve failed

    return Reading(name, get, f"{figure(name).label} at {short(rtol)}")


def axis(name: str) -> Reading:
    """A number that the trial was given."""

    def get(record: Record) -> float | None:
        value = record.trial.overrides.get(name, record.options.get(name, getattr(record.trial, name, None)))
        return float(value) if isinstance(value, int | float) else None

    return Reading(name, get, name)


def total(*parts: Reading) -> Reading:
    """The sum of readings of one record; none of them may be missing."""

    def get(record: Record) -> float | None:
        values = [part.get(record) for part in parts]
        return None if None in values else sum(value for value in values if value is not None)

    return replace(parts[0], get=get, label=" + ".join(part.label for part in parts))


def quotient(above: Reading, below: Reading) -> Reading:
    """One reading over another of the same record."""

    def get(record: Record) -> float | None:
        first, second = above.get(record), below.get(record)
        return None if first is None or not second else first / second

    return replace(above, get=get, label=f"{above.label} / {below.label}")


def change(to: Reading, since: Reading) -> Reading:
    """One reading less another of the same record."""

    def get(record: Record) -> float | None:
        first, second = to.get(record), since.get(record)
        return None if first is None or second is None else first - second

    return replace(to, get=get, label=f"{to.label} − {since.label}")


def where(reading: Reading, other: str, limit: float) -> Reading:
    """A reading of those records alone whose other figure does not lie above a limit."""

    def get(record: Record) -> float | None:
        value = final(other).get(record)
        return None if value is None or value > limit else reading.get(record)

    return replace(reading, get=get, label=f"{reading.label} with {figure(other).label} at most {short(limit)}")


def exceeds(reading: Reading, limit: float) -> Reading:
    """1 where a reading lies above a limit, else 0: a share, over replicates."""

    def get(record: Record) -> float | None:
        value = reading.get(record)
        return None if value is None else float(value > limit)

    return replace(reading, get=get, label=f"{reading.label} above {short(limit)}", failed=1.0)


@dataclass(frozen=True)
class Arm:
    """The records that one side of a comparison is made of.

    Attributes:
        name: for a person.
        where: axes and options with the value asked for, or a tuple of those allowed.
    """

    name: str
    where: Mapping[str, Wanted]

    def but(self, name: str, **where: Wanted) -> "Arm":
        """The same, otherwise on some axes."""
        return Arm(name, {**self.where, **where})


@dataclass(frozen=True)
class Fit:
    """A line through the records of one replicate along an axis; what is read off it is the number measured.

    Attributes:
        along: the axis.
        x: the reading that is the line's abscissa.
        take: ``slope``, ``r_squared``, or ``offset``, the share of the intercept in the mean.
        logs: whether both are logarithms.
    """

    along: str
    x: Reading
    take: Literal["slope", "r_squared", "offset"] = "slope"
    logs: bool = False


@dataclass(frozen=True)
class Match:
    """Two arms compared where they err equally: each is a curve of a cost over the error that it achieves.

    Nominal tolerances do not mean the same in two libraries. The number measured is the ratio of the curves,
    interpolated on logarithms, over the errors that both arms achieve in one replicate.

    Attributes:
        along: the axis that the curves run along.
        error: the error achieved.
    """

    along: str
    error: Reading


# Axes that a model without an ODE does not have.
SOLVING = ("solver", "gradient", "rtol", "atol", "step_size")


@dataclass(frozen=True)
class Part:
    """One thing that a claim says, as a number a replicate.

    Attributes:
        words: the effect in plain words, with ``{}`` for the number.
        reading: what is read off each record.
        arm: the records that are read.
        against: those of a second arm, paired with the first by seed.
        combine: the ``ratio`` or the ``difference`` of the two.
        supports: values for which the part holds; ``refutes`` those for which it does not, by default all others.
        conditions: axes that make a condition of each of their values.
        fit: a line over some axis in place of a single record.
        match: a curve over some axis, compared where both arms err equally; it needs two.
        may_differ: axes in which the arms may differ beside those that tell them apart.
        scale: on which replicates are averaged.
        within: values that it can have at all.
    """

    words: str
    reading: Reading
    arm: Arm
    against: Arm | None = None
    combine: Literal["ratio", "difference"] = "ratio"
    supports: Range = EVERYTHING
    refutes: tuple[Range, ...] | None = None
    conditions: tuple[str, ...] = ()
    fit: Fit | None = None
    match: Match | None = None
    may_differ: tuple[str, ...] = ()
    scale: Scale = "linear"
    within: Range = EVERYTHING
    unit: Literal["", "×", "points", "%"] = ""

    @property
    def along(self) -> tuple[str, ...]:
        """The axis along which a replicate has several records; empty where it has one."""
        return tuple(one.along for one in (self.fit, self.match) if one)

    @property
    def refuting(self) -> tuple[Range, ...]:
        """The values for which the part does not hold."""
        if self.refutes is not None:
            return self.refutes
        low, high = self.supports
        below, above = (-math.inf, math.nextafter(low, -math.inf)), (math.nextafter(high, math.inf), math.inf)
        return tuple(r for r, edge in ((below, low), (above, high)) if math.isfinite(edge))

    def number(self, value: float) -> str:
        """A value of it without its unit, for a person."""
        if math.isinf(value):
            return "∞" if value > 0 else "−∞"
        plain = short(100 * value if self.unit == "%" else value, 3)
        text = f"{value:+.2f}" if self.unit == "points" else plain
        return text.replace("-", "−")

    @property
    def suffix(self) -> str:
        """Its unit, as it stands behind a number."""
        return f" {self.unit}" if self.unit else ""


@dataclass(frozen=True)
class Control:
    """Something that must be looked at before a number means what it seems to.

    Attributes:
        says: what is expected.
        part: how it is put to the test; its outcome changes no verdict, but stands beside it.
    """

    says: str
    part: Part


@dataclass(frozen=True)
class Claim:
    """One published sentence at one scope.

    Attributes:
        id: with the scope, its name.
        scope: ``paper`` is at the paper's solver, scale and settings, ``default`` what
            someone who types the defaults gets today.
        sentence: in our words.
        published: the figure as published.
        published_value: the same as a number on the scale of the first part, for the figure; None if there is none.
        studies: which feed it.
        preset: the scale at which they do.
        parts: all must hold.
        failures: what is done with trials that fail.
        traps: what else could explain the figure.
    """

    id: str
    scope: Literal["paper", "default"]
    sentence: str
    source: Source
    published: str
    studies: tuple[str, ...]
    parts: tuple[Part, ...]
    controls: tuple[Control, ...] = ()
    traps: tuple[str, ...] = ()
    published_value: float | None = None
    preset: str = "quick"
    failures: str = (
        "A trial that failed by its method (time, evaluations, memory, step size, a state that is not finite) lies "
        "beyond every value; one that failed otherwise is left out and counted."
    )

    @property
    def command(self) -> str:
        """What measures it."""
        scale = "" if self.preset == "quick" else f" --preset {self.preset}"
        return "; ".join(f"nodebench study run {study}{scale}" for study in self.studies)

    @property
    def name(self) -> str:
        """The id with its scope."""
        return f"{self.id} ({self.scope})"
